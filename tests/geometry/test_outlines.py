import numpy as np
import pytest

from recon.geometry.outlines import agreement, excess, inner, mask_outlines


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


def test_the_edge_of_what_is_ignored_is_no_outline_that_agrees():
    a, b, ignored = disc(60.0), disc(53.0), np.zeros((200, 200), bool)
    ignored[90:] = True  # the discs would both end there, 0 px apart
    found = agreement(a, b, ignored)
    assert found.median_px == pytest.approx(7.0, abs=0.2) and 0.3 < found.counted < 0.5
    assert found.iou == pytest.approx((b & ~ignored).sum() / (a & ~ignored).sum(), abs=0.02)
    nothing = agreement(a, b, np.ones_like(ignored))
    assert np.isnan(nothing.median_px) and np.isnan(nothing.iou) and nothing.counted == 0


def test_what_reaches_beyond_is_told_with_its_side_and_depth():
    head, mask = disc(50.0), disc(50.0)
    mask[60:80, 20:100] = True  # a bar to the left, its middle 30 px above that of the disc
    found = excess(mask, head, 3.0)
    assert found.place in ("on the left", "at the upper left") and found.px == pytest.approx(35, abs=6)
    assert 0.1 < found.share < 0.5 and not found.around
    assert excess(head, mask, 3.0) is None
    everywhere = excess(disc(60.0), head, 3.0)
    assert everywhere.place == "all around" and everywhere.px == pytest.approx(10, abs=0.3)
    assert everywhere.share == 1.0 and excess(disc(60.0), head, 11.0) is None
    ignored = np.zeros_like(mask)
    ignored[50:90, :70] = True
    assert excess(mask, head, 3.0, ignored) is None


@pytest.mark.parametrize(
    "centre, place",
    [
        ((100, 70), "at the top"),
        ((100, 130), "at the bottom"),
        ((130, 100), "on the right"),
        ((125, 75), "at the upper right"),
    ],
)
def test_sides_have_their_names(centre, place):
    assert excess(disc(60.0, centre=centre), disc(60.0), 15.0).place == place
