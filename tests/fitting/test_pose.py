"""Heads of a closed-form shape model, found by their masks."""

import numpy as np
import pytest
import torch

from recon.errors import PriorError
from recon.fitting import contour_rays, fit_head
from recon.scene import Camera
from tests.support.fit_shape_models import SIZE, UNIT_MM, BallWithNose, camera, placed


def photograph(shape_model: BallWithNose, code: torch.Tensor, pose: np.ndarray, camera: Camera) -> np.ndarray:
    """The mask that a camera sees, by dense samples along the rays."""
    x, y = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    origins, directions = camera.rays(np.column_stack([x.ravel(), y.ravel()]))
    depths = np.linspace(900, 1500, 240)
    mask = np.zeros(SIZE * SIZE, dtype=bool)
    for depth in depths:
        points = (origins + depth * directions) @ pose[:3, :3].T + pose[:3, 3]
        mask |= shape_model.shape_of(code).sdf(torch.from_numpy(points).float()).numpy() < 0
    return mask.reshape(SIZE, SIZE)


def error(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Angle in degrees and distance of the centres in mm between two poses."""
    a, b = (p[:3, :3] / np.cbrt(np.linalg.det(p[:3, :3])) for p in (found, true))
    angle = np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1)))
    centre = np.linalg.inv(found)[:3, 3] - np.linalg.inv(true)[:3, 3]
    return float(angle), float(np.linalg.norm(centre))


@pytest.mark.slow
def test_pose_size_and_shape_come_back_from_three_masks_without_any_start():
    shape_model, code = BallWithNose(), torch.tensor([0.8, -0.7])
    centre = np.array([40.0, -30.0, 25.0])
    pose = placed((40.0, 8.0, -5.0), 1.04, centre)
    cameras = [camera(azimuth, np.zeros(3)) for azimuth in (-50, 10, 70)]
    masks = [photograph(shape_model, code, pose, c) for c in cameras]
    fit = fit_head(shape_model, cameras, masks, np.zeros(3), UNIT_MM)
    angle, offset = error(fit.canonical_from_world, pose)
    assert angle < 3.0 and offset < 3.0
    # size of the ball and scale of the pose say the same thing of it: their product must come back
    size = (1 + 0.1 * float(fit.code[0])) / np.cbrt(np.linalg.det(fit.canonical_from_world[:3, :3]))
    assert size == pytest.approx(1.08 * UNIT_MM * 1.04, rel=0.01)
    assert fit.overlap > 0.97 and fit.outline_mm < 1.5


@pytest.mark.slow
def test_a_given_start_is_refined_and_headings_are_not_searched():
    shape_model, code = BallWithNose(), torch.zeros(2)
    pose = placed((0.0, 0.0, 0.0), 1.0, np.zeros(3))
    cameras = [camera(azimuth, np.zeros(3)) for azimuth in (-40, 40)]
    masks = [photograph(shape_model, code, pose, c) for c in cameras]
    start = placed((8.0, -4.0, 3.0), 1.03, np.array([12.0, -8.0, 5.0]))
    fit = fit_head(shape_model, cameras, masks, np.zeros(3), UNIT_MM, start=start)
    angle, offset = error(fit.canonical_from_world, pose)
    assert angle < 1.5 and offset < 3.0


def test_outlines_at_the_border_are_left_out():
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[100:, :] = True  # everything below a horizontal line: three of its four sides are the picture's
    view = camera(0.0, np.zeros(3))
    rays = contour_rays([view], [mask])
    pixels, _ = view.project(rays.origins + 1000 * rays.directions)
    assert np.abs(pixels[:, 1] - 100).max() < 0.6  # the line runs between the rows 99 and 100
    assert pixels[:, 0].min() > 4 and pixels[:, 0].max() < SIZE - 4
    assert rays.inside.mean() == pytest.approx(60 / SIZE, abs=0.05)


def test_masks_without_an_outline_are_refused():
    with pytest.raises(PriorError, match="no outline"):
        fit_head(
            BallWithNose(),
            [camera(0.0, np.zeros(3))],
            [np.ones((SIZE, SIZE), dtype=bool)],
            np.zeros(3),
            330.0,
        )


@pytest.mark.slow
def test_one_mask_of_a_large_head_does_not_bring_it_nearer():
    # One photograph cannot tell a head 8 % larger than the mean from one 90 mm nearer: the centre decides.
    shape_model, code = BallWithNose(), torch.tensor([0.8, 0.0])
    pose = placed((25.0, 0.0, 0.0), 1.0, np.zeros(3))
    view = camera(0.0, np.zeros(3))
    fit = fit_head(shape_model, [view], [photograph(shape_model, code, pose, view)], np.zeros(3), UNIT_MM)
    _, offset = error(fit.canonical_from_world, pose)
    assert offset < 15.0


def barred(mask: np.ndarray, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """A mask out of which an upright bar before the head was cut, and the bar."""
    bar = np.zeros_like(mask)
    bar[:, first:last] = True
    return mask & ~bar, bar


@pytest.mark.parametrize("cut_out", [True, False])
def test_outlines_and_pixels_of_an_ignored_bar_are_left_out(cut_out):
    view = camera(0.0, np.zeros(3))
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    ball = (rows - 80) ** 2 + (columns - 80) ** 2 < 50**2
    cut, bar = barred(ball, 90, 110)
    mask = cut if cut_out else ball | bar
    marked = contour_rays([view], [mask], [bar])
    pixels, _ = view.project(marked.origins + 1000 * marked.directions)
    assert np.abs(np.hypot(*(pixels - 80).T) - 50).max() < 1.0  # nothing but the ball's outline
    assert ((pixels[:, 0] < 87.5) | (pixels[:, 0] > 112.5)).all()
    assert (pixels[:, 0] > 112.5).sum() > 30  # beyond the bar too
    lattice, _ = view.project(marked.inside_origins + 1000 * marked.inside_directions)
    assert ((lattice[:, 0] < 90) | (lattice[:, 0] > 110)).all()
    np.testing.assert_array_equal(marked.inside, np.hypot(*(lattice - 80).T) < 50)
    # unmarked, the bar's edges are taken for the head's outline
    unmarked = contour_rays([view], [mask])
    edges, _ = view.project(unmarked.origins + 1000 * unmarked.directions)
    assert (np.abs(np.hypot(*(edges - 80).T) - 50) > 5).sum() > 50


def test_marks_that_ignore_nothing_change_nothing():
    view = camera(0.0, np.zeros(3))
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[40:120, 50:100] = True
    plain = contour_rays([view], [mask])
    for none in ([], [np.zeros_like(mask)]):
        marked = contour_rays([view], [mask], none)
        for name in ("origins", "directions", "inside_origins", "inside_directions", "inside"):
            np.testing.assert_array_equal(getattr(marked, name), getattr(plain, name))


@pytest.mark.slow
def test_a_bar_that_is_marked_leaves_the_pose_alone():
    shape_model, code = BallWithNose(), torch.tensor([0.8, -0.7])
    pose = placed((40.0, 8.0, -5.0), 1.04, np.array([40.0, -30.0, 25.0]))
    cameras = [camera(azimuth, np.zeros(3)) for azimuth in (-50, 10, 70)]
    masks = [photograph(shape_model, code, pose, c) for c in cameras]
    free = fit_head(shape_model, cameras, masks, np.zeros(3), UNIT_MM)
    cut, bars = zip(*(barred(mask, 95, 115) for mask in masks), strict=True)
    marked = fit_head(shape_model, cameras, cut, np.zeros(3), UNIT_MM, ignored=bars)
    unmarked = fit_head(shape_model, cameras, cut, np.zeros(3), UNIT_MM)
    angle, offset = error(marked.canonical_from_world, free.canonical_from_world)
    assert angle < 0.5 and offset < 0.5
    assert marked.overlap > 0.97
    angle, _ = error(unmarked.canonical_from_world, free.canonical_from_world)
    assert angle > 5.0
