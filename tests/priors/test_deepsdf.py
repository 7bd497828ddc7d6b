"""A shape model made by hand: the ellipsoid of tests/support/ellipsoid.py and what a code adds to its size."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recon import scene as scenes
from recon.errors import PriorError
from recon.fields import FeatureNetwork, RenderingNetwork, SDFNetwork
from recon.priors import DeepSDFPrior, MeanHeadPrior, Networks, SceneObservations, SpherePrior
from tests.support.ellipsoid import CENTRE_MM, RADIUS_MM, SEMI_AXES_MM, write_idr_scene
from tests.support.prior_shape_models import LANDMARKS, write_ellipsoids

NETWORKS = Networks(
    lambda: SDFNetwork(64, 2, (), 2, 8),
    lambda: FeatureNetwork(16, 1, 2, 8),
    lambda: RenderingNetwork(16, 1, 8),
)


@pytest.fixture(scope="module")
def prior_file(tmp_path_factory):
    return write_ellipsoids(tmp_path_factory.mktemp("prior") / "shapes.safetensors")


@pytest.fixture(scope="module")
def observations(tmp_path_factory):
    scene = scenes.open(write_idr_scene(tmp_path_factory.mktemp("scene"), 4))
    views = scene.views
    return SceneObservations(
        [view.camera for view in views], [view.mask() for view in views], scene.scale_mat
    )


def surface(count: int = 500) -> torch.Tensor:
    """Points of the ellipsoid in the scene's unit space."""
    direction = np.random.default_rng(0).normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return torch.from_numpy(direction * SEMI_AXES_MM / RADIUS_MM).float()


@pytest.mark.slow
def test_the_head_of_the_shape_model_is_found_where_the_masks_show_it(prior_file, observations):
    ((name, start),) = DeepSDFPrior(str(prior_file)).starts(NETWORKS, observations).items()
    assert name == "shapes"
    error_mm = start.field.sdf(surface()).abs() * RADIUS_MM
    assert error_mm.mean() < 1.0
    assert set(start.field.parameter_groups()) == {"geometry", "appearance", "pose", "code"}
    sample = start.field(surface(5))
    colours = start.colour(surface(5), surface(5), surface(5), sample.feature)
    assert colours.shape == (5, 3)


def test_a_bar_before_the_head_that_the_evidence_marks_leaves_it_alone(prior_file, observations):
    bar = np.zeros_like(observations.masks[0])
    bar[:, 66:84] = True
    turn = np.diag([-1.0, 1.0, -1.0])
    world = {name: turn @ np.array(at) + CENTRE_MM for name, at in LANDMARKS.items()}
    masks = [mask & ~bar for mask in observations.masks]
    cut = replace(observations, masks=masks, landmarks=lambda: world)
    marked = replace(cut, ignored=[bar] * len(masks))
    prior = DeepSDFPrior(str(prior_file), pose="landmarks", out_of_distribution_mm=None)
    errors_mm = []
    for given in (marked, cut):
        (start,) = prior.starts(NETWORKS, given).values()
        errors_mm.append(start.field.sdf(surface()).abs().mean().item() * RADIUS_MM)
    assert errors_mm[0] < 1.0 and errors_mm[1] > 3 * errors_mm[0]


@pytest.mark.slow
def test_the_mean_head_has_no_code_to_learn(prior_file, observations):
    start = MeanHeadPrior(str(prior_file)).starts(NETWORKS, observations)["shapes"]
    assert "code" not in start.field.parameter_groups()
    assert start.field.code.abs().sum() == 0


def test_landmarks_give_the_pose_to_begin_with(prior_file, observations):
    # the canonical head stands at the scene's centre, turned half about y
    turn = np.diag([-1.0, 1.0, -1.0])
    world = {name: turn @ np.array(at) + CENTRE_MM for name, at in LANDMARKS.items()}
    with_landmarks = SceneObservations(
        observations.cameras, observations.masks, observations.world_from_unit, landmarks=lambda: world
    )
    start = DeepSDFPrior(str(prior_file), pose="landmarks").starts(NETWORKS, with_landmarks)["shapes"]
    linear, _ = start.field.canonical_from_unit()
    assert np.allclose(linear.detach() / linear.detach().norm(dim=1), turn, atol=0.03)
    with pytest.raises(PriorError, match="pose=masks"):
        DeepSDFPrior(str(prior_file), pose="landmarks").starts(NETWORKS, observations)


def marks_on(cameras, turn):
    """Where photographs show the landmarks of a head that stands turned in the scene's middle."""
    world = np.stack([turn @ np.array(at) + CENTRE_MM for at in LANDMARKS.values()])
    return [dict(zip(LANDMARKS, camera.project(world)[0], strict=True)) for camera in cameras]


@pytest.mark.slow
def test_landmarks_of_a_user_bring_a_wrong_heading_home(prior_file, observations):
    # Outlines of the ellipsoid say nothing of front and back or of up and down.
    turn = np.eye(3)  # upside down, and it looks at the third camera
    photographs = [2, 3]
    seen = replace(
        observations,
        cameras=[observations.cameras[i] for i in photographs],
        masks=[observations.masks[i] for i in photographs],
    )
    found = []
    for marked in ((), marks_on(seen.cameras, turn)):
        (start,) = DeepSDFPrior(str(prior_file)).starts(NETWORKS, replace(seen, marked=marked)).values()
        linear = start.field.canonical_from_unit()[0].detach().numpy()
        cosine = (np.trace(linear / np.cbrt(np.linalg.det(linear)) @ turn) - 1) / 2
        found.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    assert found[0] > 30 and found[1] < 5, found


def test_marked_landmarks_of_names_that_the_prior_does_not_know(prior_file, observations):
    prior = DeepSDFPrior(str(prior_file))
    unknown = replace(observations, marked=[{"left_ear": np.array([3.0, 4.0])}] + [{}] * 3)
    with pytest.raises(PriorError, match="'left_ear', which the prior does not know; it knows left_eye"):
        prior.starts(NETWORKS, unknown)


def test_unknown_choices_and_missing_files_are_refused(prior_file, observations):
    with pytest.raises(PriorError, match="landmarks"):
        DeepSDFPrior(str(prior_file), pose="guess")
    with pytest.raises(PriorError, match="headrecon-pretrain"):
        DeepSDFPrior(str(prior_file.with_name("no.safetensors"))).starts(NETWORKS, observations)
    with pytest.raises(PriorError, match="SHA-256"):
        DeepSDFPrior(str(prior_file), sha256="0" * 64).starts(NETWORKS, observations)


def test_sphere_is_the_configured_network(observations):
    start = SpherePrior().starts(NETWORKS, observations)["sphere"]
    assert isinstance(start.field, SDFNetwork) and start.schedule_offset == 0
