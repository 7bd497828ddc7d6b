"""A scene from photographs of the demo head; landmarks are made from its mean head's points, so that no network is
needed.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from recon import scene as scenes
from recon.calibration import LandmarkModel, scene_from_photographs
from recon.calibration.photographs import SHEET
from recon.calibration.report import REPORT
from recon.errors import SceneError
from recon.geometry.frames import similarity
from recon.perception import FaceLandmarks, PersonMask, PhotographObservation, read_photograph
from recon.priors.shipped import PCA, shipped
from recon.priors.weights import load_shape_prior

DEMO = Path(__file__).parents[2] / "recon" / "assets" / "heads" / "demo"
VIEWS = (14, 9, 19)


@pytest.fixture(scope="module")
def prior():
    return load_shape_prior(shipped(PCA))


def observations(prior, faces=True, lure=False):
    """The demo's views with their masks, and landmarks where the prior's points are on its true head."""
    scene, model = scenes.open(DEMO), LandmarkModel.from_prior(prior)
    truth = scene.ground_truth
    names = prior.canonical.landmarks_mm
    vertices = np.asarray(truth.mesh().vertices)
    true = np.stack([vertices[truth.landmarks[name]] for name in names])
    world = similarity(np.stack([np.array(place) for place in names.values()]), true)
    result = []
    for index in VIEWS:
        view = scene.views[index]
        mask = view.mask()
        centre = view.camera.transformed(np.linalg.inv(world)).centre
        places = model.places + model.offset(float(np.arctan2(centre[0], centre[2])))[0]
        points, _ = view.camera.project(places @ world[:3, :3].T + world[:3, 3])
        seen = FaceLandmarks(points, np.zeros(468), 1.0 if faces else 0.2, np.full(468, 2.0), 0.0, 1.5)
        mask = mask.copy()
        mask[:60, :60] = lure  # a thing that the network takes for the person
        person = PersonMask(mask, np.zeros_like(mask), mask.astype(np.float32), "network")
        result.append(PhotographObservation(read_photograph(view.image_path), None, seen, person))
    return result, [scene.views[index].camera for index in VIEWS]


@pytest.mark.slow
def test_cameras_of_the_demo_are_found_and_written(prior, tmp_path):
    seen, true = observations(prior, lure=True)
    found = scene_from_photographs(seen, tmp_path / "me", prior, interpupillary_mm=60.0, long_side=400)
    scene = scenes.open(tmp_path / "me")
    assert len(scene.views) == 3 and max(scene.views[0].camera.width, scene.views[0].camera.height) <= 400
    cameras = [view.camera for view in scene.views]
    for one in (1, 2):
        turns = [c[one].world_from_camera[:3, :3].T @ c[0].world_from_camera[:3, :3] for c in (cameras, true)]
        away = np.degrees(np.arccos(np.clip((np.trace(turns[0].T @ turns[1]) - 1) / 2, -1, 1)))
        assert away < 4
    assert scene.views[0].landmarks()["nose_tip"].shape == (2,)
    assert scene.views[0].ignored()[-1].all() and not scene.views[0].ignored()[0].any()
    for view in scene.views[:2]:  # the third is cut to the bust, which leaves a line of the lure
        assert not view.mask()[:30, :30].any() and view.mask().any()
    report = json.loads((tmp_path / "me" / REPORT).read_text())
    assert [each["how"] for each in report["photographs"]] == ["landmarks"] * 3
    assert "60 mm" in report["size"] and (tmp_path / "me" / SHEET).is_file()
    assert found.outline_mm < 2 and len(found.lines()) == 5


def test_photographs_without_a_face_make_no_scene(prior, tmp_path):
    seen, _ = observations(prior, faces=False)
    with pytest.raises(SceneError, match=r"img_0014.jpg: its face shows too little"):
        scene_from_photographs(seen, tmp_path / "me", prior)
    assert not (tmp_path / "me").exists()
