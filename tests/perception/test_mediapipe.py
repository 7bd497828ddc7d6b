from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import recon.scene
from recon.perception import read_photograph
from recon.perception.landmark_noise import H3DS_LANDMARKS, JAW, LIPS, sigma_mm
from recon.perception.mediapipe import anchors, one_each, windows
from recon.perception.networks import Face

DEMO = Path(__file__).parents[2] / "recon/assets/heads/demo"


@pytest.fixture(scope="module")
def demo():
    return recon.scene.open(DEMO)


def square(x, y, side, score=0.9):
    box = np.array([x, y, x + side, y + side], float)
    return Face(box, np.zeros((6, 2)), score)


def test_anchors():
    assert anchors().shape == (896, 2)
    assert anchors()[[0, 1, 2, 512, 895]].tolist() == [[4, 4], [4, 4], [12, 4], [8, 8], [120, 120]]


def test_windows_cover_the_picture():
    found = windows(1600, 900, (0.5,))
    assert found[0].side == 1600 and {w.side for w in found} == {1600, 900, 800}
    covered = np.zeros((900, 1600), bool)
    for w in found[1:]:
        covered[
            int(w.y - w.side / 2) : int(w.y + w.side / 2), int(w.x - w.side / 2) : int(w.x + w.side / 2)
        ] = True
    assert covered.all()


def test_each_face_once():
    faces = one_each([square(0, 0, 100), square(4, 0, 100, 0.3), square(60, 60, 30), square(300, 0, 50)])
    assert [round(face.box[0]) for face in faces] == [1, 300]
    assert faces[0].box[0] == pytest.approx(4 * 0.3 / 1.2)


def test_noise_grows_with_yaw_and_where_faces_move():
    assert not set(LIPS) & set(JAW)
    assert sigma_mm(0.0)[[4, 13, 152]] == pytest.approx([0.6, 1.5, 0.9])
    assert sigma_mm(-45.0)[4] == pytest.approx(1.9)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "yaw", "most_mm"), [(14, 0, 1.5), (9, 45, 2.2), (19, -45, 2.2)])
def test_landmarks_are_where_the_demo_head_has_them(networks, demo, number, yaw, most_mm):
    view, truth = demo.views[number], demo.ground_truth
    observation = networks.see(read_photograph(view.image_path))
    vertices = np.asarray(truth.mesh().vertices)
    pixels, depths = view.camera.project(
        np.stack([vertices[truth.landmarks[name]] for name in H3DS_LANDMARKS])
    )
    found = observation.landmarks.points[list(H3DS_LANDMARKS.values())]
    scale = view.camera.intrinsics[0, 0] / depths.mean()
    assert np.linalg.norm(found - pixels, axis=1).mean() / scale < most_mm
    assert observation.landmarks.score > 0.99
    assert observation.landmarks.yaw_deg == pytest.approx(yaw, abs=8)
    assert observation.face.yaw_deg == pytest.approx(yaw, abs=8)
    assert observation.landmarks.px_per_mm == pytest.approx(scale, rel=0.08)
    assert [w.kind for w in observation.warnings] == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [6, 9, 14, 19])
def test_masks_are_those_of_the_demo_head_above_the_chin(networks, demo, number):
    view = demo.views[number]
    observation = networks.see(read_photograph(view.image_path))
    truth, mask = view.mask(), observation.mask
    y, x = np.mgrid[: truth.shape[0], : truth.shape[1]] + 0.5
    above = np.stack([x, y], axis=-1) @ observation.face.down < observation.face.chin
    assert (mask.mask & truth & above).sum() / ((mask.mask | truth) & above).sum() > 0.993
    assert (mask.ignore & above).mean() < 0.01 and mask.ignore[-1].all()


@pytest.mark.slow
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_faces_in_turned_photographs_are_found(networks, quarters):
    upright = read_photograph(DEMO / "image/img_0014.jpg")
    plain = networks.see(upright).landmarks.points
    turned = networks.see(replace(upright, image=np.ascontiguousarray(np.rot90(upright.image, -quarters))))
    width, height = upright.size
    expected = plain
    for _ in range(quarters):
        expected, height, width = np.stack([height - expected[:, 1], expected[:, 0]], axis=1), width, height
    assert np.linalg.norm(turned.landmarks.points - expected, axis=1).mean() < 2
    assert np.degrees(turned.face.roll) % 360 == pytest.approx(90 * quarters, abs=8)
    assert abs(turned.face.yaw_deg) < 8
    assert "turned" in [w.kind for w in turned.warnings]


@pytest.mark.slow
def test_profiles_have_a_face_without_landmarks_and_backs_have_none(networks):
    profile = networks.see(read_photograph(DEMO / "image/img_0005.jpg"))
    assert profile.landmarks is None and abs(profile.face.yaw_deg) > 75
    assert "profile" in [w.kind for w in profile.warnings]
    back = networks.see(read_photograph(DEMO / "image/img_0000.jpg"))
    assert back.face is None and "no face" in [w.kind for w in back.warnings] and back.mask.mask.any()
