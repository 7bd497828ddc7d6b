"""A bump that no code of a closed-form shape model can make, found from photographs."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch

from recon.fitting import InstantFit, SolverSettings
from recon.fitting.comparisons import CovisiblePixels, Photographs
from recon.fitting.observations import Pinhole, ViewObservation
from recon.fitting.sdf_offset import NarrowBand, SDFOffsetSettings, fit_sdf_offset, gate, held_out
from recon.fitting.shape_model import OffsetShape, lattice
from recon.fitting.tracing import trace
from recon.scene import Camera
from recon.scene.images import log_luminance
from tests.support.fit_shape_models import SIZE, UNIT_MM, BallWithNose, camera, placed

CODE, POSE = torch.zeros(2), placed((0.0, 0.0, 0.0), 1.0, np.zeros(3))
HEIGHT_MM, WIDTH_MM = 2.5, 22.0
BROW = torch.nn.functional.normalize(torch.tensor([[0.35, 0.45, 1.0]]), dim=1)[0]
SAME = ((0.3, 0.5, 0.8),) * 3
MOVING = ((-0.6, 0.4, 0.7), (0.2, 0.6, 0.8), (0.8, 0.2, 0.6))


@dataclass
class Bumped:
    """The ball with a nose, and a round bump on its brow."""

    height_mm: float

    def bump(self, points: torch.Tensor) -> torch.Tensor:
        away = (points - 0.35 * BROW).square().sum(1) * UNIT_MM**2
        return -self.height_mm / UNIT_MM * torch.exp(-away / (2 * WIDTH_MM**2))

    def sdf(self, points):
        return BallWithNose().shape_of(CODE).sdf(points) + self.bump(points)

    def sdf_and_gradient(self, points):
        x = points.detach().requires_grad_(True)
        sdf = self.sdf(x)
        return sdf.detach(), torch.autograd.grad(sdf.sum(), x)[0]

    def basis(self, points):
        raise NotImplementedError  # no code makes the bump


def photograph(head: Bumped, view: Camera, light, noise: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Photograph and mask of a head painted finely, or with noise of a seed in its place; sRGB."""
    pinhole = Pinhole.from_camera(view, POSE)
    x, y = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    pixels = torch.from_numpy(np.column_stack([x.ravel(), y.ravel()])).float()
    hits = trace(head, pinhole.centre.expand(len(pixels), 3), pinhole.directions(pixels))
    p = hits.points
    paint = 0.5 + 0.25 * torch.sin(80 * p[:, 0]) * torch.cos(70 * p[:, 1] + 9 * p[:, 2])
    if noise is not None:
        paint = 0.5 + 0.1 * torch.randn(len(p), generator=torch.Generator().manual_seed(noise))
    normal = torch.nn.functional.normalize(hits.gradient, dim=1)
    shade = 0.6 + 0.4 * normal @ torch.nn.functional.normalize(torch.tensor(light), dim=0)
    image, mask = np.full((SIZE * SIZE, 3), 0.2, np.float32), np.zeros(SIZE * SIZE, bool)
    image[hits.rays] = (paint * shade).clamp(0.02, 1).numpy()[:, None] ** (1 / 2.2)
    mask[hits.rays] = True
    return image.reshape(SIZE, SIZE, 3), mask.reshape(SIZE, SIZE)


@cache
def found(height_mm: float, lights=SAME, noise=False, azimuths=(-30.0, 0.0, 30.0), **settings):
    """The SDF offset of photographs of a bumped head whose code, pose and cameras are known."""
    cameras = [camera(azimuth, np.zeros(3)) for azimuth in azimuths]
    shots = [
        photograph(Bumped(height_mm), view, light, seed if noise else None)
        for seed, (view, light) in enumerate(zip(cameras, lights, strict=False))
    ]
    fit = InstantFit(POSE, CODE, cameras, torch.eye(9), 0.0, None)
    return fit_sdf_offset(
        BallWithNose().shape_of(CODE),
        fit,
        [mask for _, mask in shots],
        [image for image, _ in shots],
        UNIT_MM,
        SDFOffsetSettings(pixels=4000),
        SolverSettings(**settings),
    )


def surface(towards: tuple[float, float, float], spread: float = 0.5) -> torch.Tensor:
    """Points on the ball about a direction."""
    generator = torch.Generator().manual_seed(3)
    direction = torch.tensor(towards) + spread * torch.randn(400, 3, generator=generator)
    return 0.35 * torch.nn.functional.normalize(direction, dim=1)


def offset_mm(offset, points: torch.Tensor) -> torch.Tensor:
    return offset.offset(points)[:, 0] * UNIT_MM


@pytest.mark.slow
@pytest.mark.parametrize("lights", [SAME, MOVING])
def test_a_bump_is_found_where_it_is_seen_under_fixed_and_moving_light(lights):
    offset = found(HEIGHT_MM, lights)
    top = offset_mm(offset, 0.35 * BROW[None])
    assert -1.3 * HEIGHT_MM < float(top) < -0.6 * HEIGHT_MM  # the surface rises where distances fall
    front = surface((0.0, 0.35, 1.0), 0.3)
    true = Bumped(HEIGHT_MM).bump(front) * UNIT_MM
    assert float((offset_mm(offset, front) - true).abs().mean()) < 0.45 * float(true.abs().mean())
    assert offset.kept > 0.5 and offset.rms_mm > 0.2


@pytest.mark.slow
def test_nothing_changes_where_nothing_is_seen():
    back = surface((0.0, 0.1, -1.0), 0.2)
    assert offset_mm(found(HEIGHT_MM), back).abs().max() == 0.0


@pytest.mark.slow
def test_a_head_without_a_bump_is_left_alone():
    change = offset_mm(found(0.0), surface((0.0, 0.35, 1.0))).abs()
    assert change.mean() < 0.08 and change.max() < 0.8  # a pixel is 2.4 mm here


@pytest.mark.slow
def test_noise_in_place_of_paint_moves_little():
    offset = found(HEIGHT_MM, noise=True)
    front = surface((0.0, 0.35, 1.0), 0.3)
    assert offset_mm(offset, front).abs().mean() < 0.25
    assert offset_mm(offset, front).abs().max() < 0.4 * HEIGHT_MM


def test_one_photograph_has_only_its_outline():
    offset = found(0.0, azimuths=(0.0,))
    assert offset.rms_mm < 0.3
    assert offset_mm(offset, surface((0.0, 0.35, 1.0), 0.2)).abs().max() < 0.3


def test_photographs_without_outlines_and_pairs_change_nothing():
    offset = found(HEIGHT_MM, azimuths=(0.0,), photometric=False, outline_points=0)
    assert offset.kept == 0.0 and not offset.offset.values.any()


@pytest.mark.parametrize("second", [None, 1])
def test_rows_are_the_derivatives_by_the_values_of_the_lattice(second):
    views = [camera(azimuth, np.zeros(3)) for azimuth in (-20.0, 15.0)]
    pinholes = [Pinhole.from_camera(view, POSE) for view in views]
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    image = np.repeat((0.5 + 0.2 * np.sin(x / 9) * np.cos(y / 11))[..., None], 3, axis=2)
    mask = np.ones((SIZE, SIZE), bool)
    prepared = [
        replace(
            ViewObservation.from_photograph(view, mask, image, ~mask, SolverSettings()),
            picture=log_luminance(image),
        )
        for view in views
    ]
    photographs = Photographs(prepared, pinholes, UNIT_MM, SolverSettings())
    head = BallWithNose().shape_of(CODE)
    pixels = torch.tensor([[88.0, 60.0], [95.0, 72.0], [80.0, 85.0]])
    if second is None:
        pixels = torch.tensor([[130.0, 75.0], [60.0, 40.0], [36.0, 80.0]])
        points = torch.zeros(3, 3)
    else:
        origins = pinholes[0].centre.expand(3, 3)
        points = trace(head, origins, pinholes[0].directions(pixels)).points
    covisible = CovisiblePixels(0, second, pixels, points, torch.ones(3))

    grid = lattice(0.03)
    rows = photographs.compared(OffsetShape(head, grid), [covisible], 1.0)[0]
    band = NarrowBand.from_points(grid, rows.points)
    jacobian = torch.from_numpy(band.rows(rows.points, rows.by_field).toarray())
    strongest = jacobian.abs().sum(0).topk(12).indices
    step = 5e-4
    for column in strongest.tolist():
        sides = []
        for sign in (1, -1):
            moved = lattice(0.03)
            moved.values[band.nodes[column]] = sign * step
            sides.append(photographs.compared(OffsetShape(head, moved), [covisible], 1.0)[0].residual)
        difference = (sides[0] - sides[1]).double() / (2 * step)
        torch.testing.assert_close(
            jacobian[:, column], difference, rtol=0.03, atol=0.02 * float(jacobian.abs().max())
        )


def test_the_prior_has_its_standard_deviation_on_a_surface():
    grid = lattice(0.1)
    x, y = torch.meshgrid(torch.linspace(-0.9, 0.9, 60), torch.linspace(-0.9, 0.9, 60), indexing="ij")
    sheet = torch.stack([x, y, torch.full_like(x, 0.02)], dim=-1).reshape(-1, 3)
    band = NarrowBand.from_points(grid, sheet)
    covariance = np.linalg.inv(band.precision(2.0, 0.7).toarray())
    middle = torch.tensor([[0.0, 0.0, 0.02], [0.4, 0.0, 0.02], [0.8, 0.0, 0.02]])
    taps = band.rows(middle, torch.ones(3)).toarray()
    spread = taps @ covariance @ taps.T
    sigma = np.sqrt(np.diag(spread))
    assert sigma[0] == pytest.approx(0.7, rel=0.3)
    correlation = spread[0] / sigma[0] / sigma
    assert 0.1 < correlation[1] < 0.5 and abs(correlation[2]) < 0.15  # 2 and 4 lengths away


def test_a_fifth_of_space_is_held_out_evenly():
    points = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    held = held_out(points, 0.05)
    assert float(held.float().mean()) == pytest.approx(0.2, abs=0.02)
    for part in (points[:, 0] < 0, points[:, 1] < 0.3, points[:, 2] > 0.5):
        assert float(held[part].float().mean()) == pytest.approx(0.2, abs=0.03)


def test_the_gate_opens_where_gains_are_clear_and_only_there():
    generator = torch.Generator().manual_seed(0)
    left, right = torch.rand(2, 300, 3, generator=generator) * 0.4
    left, right = left - torch.tensor([0.8, 0.2, 0.2]), right + torch.tensor([0.4, -0.2, -0.2])
    noise = torch.randn(600, generator=generator) * 0.2
    gain = torch.cat([torch.full((300,), 0.3), torch.full((300,), -0.3)]) + noise
    grid = lattice(0.05)
    open_to = gate(torch.cat([left, right]), gain, grid, 0.05, 0.1, (0.0, 1.0))

    def at(*place: float) -> float:
        node = ((torch.tensor(place) - grid.low) / grid.cell).floor().long() + 1
        return float(open_to[tuple(node.tolist())])

    assert at(-0.6, 0.0, 0.0) == 1.0  # gains
    assert at(0.6, 0.0, 0.0) == 0.0  # losses
    assert at(0.0, 0.0, 0.95) == 0.0  # nobody knows
    assert not gate(torch.zeros(0, 3), torch.zeros(0), grid, 0.05, 0.1, (0.0, 1.0)).any()
