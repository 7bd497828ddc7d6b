"""The trial among starts: it finds the head that is in the photographs, and leaves no trace."""

import copy

import pytest
import torch

from recon.fields import RenderingNetwork, SDFNetwork
from recon.priors import Start
from recon.rendering import CameraBundle, PixelStore, SceneSampler, TracingSettings
from recon.scene import open as open_scene
from recon.systems.objective import Objective
from recon.systems.reconstruction import Reconstruction
from recon.systems.trial import choose, compare
from tests.support import ellipsoid

STEPS = 9


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return open_scene(ellipsoid.write_idr_scene(tmp_path_factory.mktemp("scenes") / "ellipsoid", 3))


@pytest.fixture
def make_system(scene):
    """As run.prepare does: all systems share one set of cameras, which training would refine."""
    cameras = CameraBundle([view.camera for view in scene.views], scene.scale_mat, refine=True)
    objective = Objective(learning_rate=5e-4)

    def system(start):
        return Reconstruction(start, cameras, TracingSettings(samples=16), objective, 1000, seed=0)

    return system


@pytest.fixture
def sampler(scene):
    return SceneSampler(PixelStore(scene.views), 256, seed=0)


def sphere(radius, offset=0.25):
    torch.manual_seed(1)
    field = SDFNetwork(width=48, depth=3, skip=[2], octaves=3, feature_size=8, radius=radius)
    return Start(field, RenderingNetwork(width=24, depth=2, feature_size=8), offset)


def state(start):
    return {**start.field.state_dict(), **start.colour.state_dict()}


@pytest.mark.slow
def test_the_sphere_of_the_right_size_wins_wherever_it_stands(make_system, sampler):
    right = ellipsoid.SEMI_AXES_MM.mean() / ellipsoid.RADIUS_MM
    wrong = {"small": sphere(0.25), "large": sphere(0.9)}
    for order in ({"right": sphere(right), **wrong}, {**wrong, "right": sphere(right)}):
        assert choose(order, make_system, sampler, STEPS) == "right"


@pytest.mark.slow
def test_the_same_trial_gives_the_same_scores(make_system, sampler):
    starts = {"a": sphere(0.5), "b": sphere(0.7)}
    first = compare(starts, make_system, sampler, STEPS)
    torch.rand(5)  # what was drawn between plays no part
    assert compare(starts, make_system, sampler, STEPS) == first
    assert compare({"b": starts["b"]}, make_system, sampler, STEPS)["b"] == first["b"]


def test_candidates_and_cameras_stay_as_they_are(make_system, sampler):
    start = sphere(0.5)
    system = make_system(start)
    optimizer = system.configure_optimizers()["optimizer"]
    system.losses(sampler(0), 0).total.backward()
    optimizer.step()
    moments = {
        name: optimizer.state[parameter]
        for name, parameter in system.named_parameters()
        if "cameras" not in name
    }
    start = Start(start.field, start.colour, 0.25, optimizer_state=moments)
    before, cameras = copy.deepcopy(start), copy.deepcopy(system.cameras.state_dict())
    random = torch.get_rng_state()
    compare({"a": start, "b": sphere(0.7)}, make_system, sampler, STEPS)
    assert all(torch.equal(value, state(before)[name]) for name, value in state(start).items())
    for name, theirs in before.optimizer_state.items():
        assert all(torch.equal(start.optimizer_state[name][key], value) for key, value in theirs.items())
    assert all(torch.equal(value, cameras[name]) for name, value in system.cameras.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.requires_grad for parameter in start.field.parameters())


def test_all_are_compared_at_the_same_alpha(make_system, sampler):
    """α divides the mask loss: the later in the schedule, the better the same sphere would look."""
    scores = compare({"early": sphere(0.5, 0.0), "late": sphere(0.5, 0.6)}, make_system, sampler, STEPS)
    assert scores["early"] == scores["late"]


def test_a_candidate_that_diverges_never_wins(make_system, sampler, caplog):
    broken = sphere(0.55)
    with torch.no_grad():
        next(broken.colour.parameters()).fill_(float("nan"))
    with caplog.at_level("INFO"):
        assert choose({"broken": broken, "small": sphere(0.3)}, make_system, sampler, STEPS) == "small"
    assert "trial of broken" in caplog.text and "trial of small" in caplog.text
