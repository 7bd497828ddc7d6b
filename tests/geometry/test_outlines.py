import numpy as np
import pytest

from recon.geometry.outlines import agreement, inner, mask_outlines


def disc(radius, size=200, centre=(100.0, 100.0)):
    y, x = np.mgrid[:size, :size] + 0.5
    return np.hypot(x - centre[0], y - centre[1]) < radius


def test_the_outline_of_a_disc_is_its_circle():
    (curve,) = mask_outlines(disc(60.0, centre=(90.0, 104.0)))
    away = np.hypot(*(curve - [90.0, 104.0]).T)
    assert abs(away.mean() - 60.0) < 0.1 and np.abs(away - 60.0).max() < 0.5
    np.testing.assert_array_equal(curve[0], curve[-1])


def test_concentric_discs_are_apart_by_the_difference_of_their_radii():
    found = agreement(disc(60.0), disc(53.0))
    assert found.median_px == pytest.approx(7.0, abs=0.15) and found.p90_px == pytest.approx(7.0, abs=0.5)
    assert found.iou == pytest.approx(53**2 / 60**2, abs=0.005)
    same = agreement(disc(60.0), disc(60.0))
    assert same.median_px == 0 and same.iou == 1


def test_a_part_that_only_one_has_counts_whichever_has_it():
    with_part = disc(60.0)
    with_part[30:50, 20:180] = True
    a, b = agreement(with_part, disc(60.0)), agreement(disc(60.0), with_part)
    assert a.p90_px == b.p90_px > 10 and a.median_px < 1


def test_the_pictures_border_is_no_outline():
    mask = np.zeros((100, 120), bool)
    mask[40:, 30:90] = True
    points = inner(mask_outlines(mask), (100, 120))
    assert points[:, 1].max() < 96 and 39 < points[:, 1].min() < 41 and len(points) > 100
    empty = agreement(mask, np.zeros_like(mask))
    assert empty.median_px == float("inf") and empty.iou == 0


def test_what_is_ignored_makes_no_outlines_agree():
    ignored = np.zeros((200, 200), bool)
    ignored[80:] = True  # cuts both discs off along the same line
    found = agreement(disc(60.0), disc(53.0), ignored)
    assert found.median_px == pytest.approx(7.0, abs=0.3)
    assert found.iou == pytest.approx((disc(53.0) & ~ignored).sum() / (disc(60.0) & ~ignored).sum(), abs=1e-9)
