"""Surface points of a fixed geometry: a ball of known colours, seen from one side."""

import numpy as np
import pytest
import torch

from recon import scene as scenes
from recon.errors import ReconError
from recon.fields import Field, FieldSample
from recon.rendering import CameraBundle, PixelStore, SurfaceSampler, TracingSettings
from recon.rendering.surface_samples import detail, harmonic
from tests.support import ellipsoid


class Ellipsoid(Field):
    """The tests' ellipsoid as a field of unit space."""

    def __init__(self) -> None:
        super().__init__()
        self.axes = torch.tensor(ellipsoid.SEMI_AXES_MM / ellipsoid.RADIUS_MM).float()

    def sdf(self, points: torch.Tensor) -> torch.Tensor:
        scaled = points / self.axes
        length = scaled.norm(dim=1)
        return (length - 1) * length / (scaled / self.axes).norm(dim=1).clamp_min(1e-6)

    def forward(self, points: torch.Tensor) -> FieldSample:
        return FieldSample(self.sdf(points), points.new_zeros(len(points), 1))


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    scene = scenes.open(ellipsoid.write_idr_scene(tmp_path_factory.mktemp("samples") / "scene", 4))
    return scene, scene.views[0]


def sampler(view, field: Field, **options) -> SurfaceSampler:
    scene, first = view
    cameras = CameraBundle([first.camera], scene.scale_mat)
    return SurfaceSampler(PixelStore([first]), cameras, field, TracingSettings(), 400, 0, **options)


def world(points: torch.Tensor) -> np.ndarray:
    return points.numpy() * ellipsoid.RADIUS_MM + ellipsoid.CENTRE_MM


def test_points_lie_on_the_surface_and_have_its_colours(view):
    batch = sampler(view, Ellipsoid(), unseen=0.0)(3)
    assert len(batch) == 400
    assert ellipsoid.distance_mm(world(batch.points)).max() < 0.05
    shown = (batch.colour.numpy() + 1) / 2
    assert np.abs(shown - ellipsoid.colour_at(world(batch.points))).mean() < 0.02
    centre = torch.from_numpy((view[1].camera.centre - ellipsoid.CENTRE_MM) / ellipsoid.RADIUS_MM).float()
    towards = torch.nn.functional.normalize(centre - batch.points, dim=1)
    torch.testing.assert_close(batch.to_camera, towards, atol=1e-4, rtol=0)


def test_draws_are_functions_of_the_step(view):
    draw = sampler(view, Ellipsoid())
    torch.testing.assert_close(draw(5).points, draw(5).points)
    assert not torch.equal(draw(5).points, draw(6).points)


def test_detail_is_the_deviation_of_brightness_within_the_mask():
    """A plain part, broad stripes, stripes finer than what colours can learn, and a backdrop that must not leak in."""
    columns = np.arange(90)
    image = np.tile(
        np.select([columns < 30, columns < 60], [0.0, 0.5 * (columns % 20 >= 10)], columns % 2), (30, 1)
    )
    mask = np.ones((30, 90), bool)
    mask[:5] = False
    image[:5] = 9.0
    found = detail(image, mask)
    assert (found[:5] == 0).all()
    assert np.abs(found[5:, :20]).max() < 1e-6
    edge = found[10:, 40]  # between two broad stripes: half 0, half 0.5, and blurred
    assert ((edge > 0.1) & (edge < 0.25)).all()
    assert found[10:, 68:82].max() < 0.1 * edge.min()


def test_points_are_drawn_by_their_detail(view):
    draw = sampler(view, Ellipsoid(), unseen=0.0)
    weights = torch.diff(draw._weights, prepend=torch.zeros(1).double())
    rich = weights > weights.median()
    expected = float(weights[rich].sum() / weights.sum())
    places = {tuple(point) for point in draw.seen.subset(rich.nonzero()[:, 0]).points.tolist()}
    drawn = [tuple(point) in places for step in range(25) for point in draw(step).points.tolist()]
    assert expected > 0.55
    assert np.mean(drawn) == pytest.approx(expected, abs=0.02)  # 10,000 draws: a deviation of 0.005


def test_points_seen_in_no_photograph_take_colours_between_those_that_are(view):
    draw = sampler(view, Ellipsoid(), unseen=0.25)
    interpolated = draw(0).subset(torch.arange(300, 400))
    towards = torch.from_numpy(view[1].camera.centre - ellipsoid.CENTRE_MM).float()
    # the camera looks from one side; all these points are behind the rim that it sees
    facing = (torch.nn.functional.normalize(interpolated.gradient, dim=1) * interpolated.to_camera).sum(1)
    assert (facing > 0.99).all()
    assert ((interpolated.points @ towards) / towards.norm() < 0.35).all()
    # what is seen at a grazing angle is no source
    straight = (torch.nn.functional.normalize(draw.seen.gradient, dim=1) * draw.seen.to_camera).sum(1) > 0.35
    sources = draw.seen.subset(straight.nonzero()[:, 0])
    assert (interpolated.colour <= sources.colour.amax(0)).all() and (
        interpolated.colour >= sources.colour.amin(0)
    ).all()
    assert (interpolated.colour.std(0) < sources.colour.std(0)).all()


def test_colours_are_harmonic_between_sources():
    """On a flat strip with one colour at each end they rise evenly; a piece apart takes the middle."""
    x, y = np.meshgrid(np.linspace(0, 1, 101)[1:-1], np.linspace(0, 0.1, 11))
    ends = np.array([[end, y, 0.0] for end in (0.0, 1.0) for y in np.linspace(0, 0.1, 11)])
    island = np.array([[5.0, 5.0, 0.0]]) + 0.01 * np.random.default_rng(0).random((30, 3))
    strip = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
    found = harmonic(np.concatenate([strip, island]), ends, ends[:, :1])
    np.testing.assert_allclose(found[: len(strip), 0], strip[:, 0], atol=0.03)
    np.testing.assert_allclose(found[len(strip) :], 0.5, atol=0.02)


def test_masks_that_miss_the_head_are_refused(view):
    class Nothing(Ellipsoid):
        def sdf(self, points: torch.Tensor) -> torch.Tensor:
            return points.norm(dim=1) + 5.0

    with pytest.raises(ReconError, match="masks or cameras"):
        sampler(view, Nothing())
