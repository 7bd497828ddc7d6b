from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from recon.errors import SceneError
from recon.perception import read_photograph
from recon.perception.networks import AVERAGE_POINTS_MM, Face
from recon.perception.observation import mouth_opening, warnings_of
from tests.perception.conftest import drawn


def kinds(observation):
    return [warning.kind for warning in observation.warnings]


@pytest.mark.parametrize(("yaw", "roll"), [(0, 0), (40, 0), (-70, 20), (0, 180), (10, -90)])
def test_turn_of_a_face_by_its_six_points(yaw, roll):
    a, b = np.radians([yaw, roll])
    turn = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    points = (AVERAGE_POINTS_MM @ turn.T)[:, :2] @ np.array([[np.cos(b), np.sin(b)], [-np.sin(b), np.cos(b)]])
    face = Face(np.array([-1.0, -1, 1, 1]), points, 1.0)
    assert face.yaw_deg == pytest.approx(yaw, abs=1e-6)
    assert (np.degrees(face.roll) - roll + 180) % 360 == pytest.approx(180, abs=1e-6)


def test_a_good_picture_gives_no_warning(stand_in, photograph_of):
    noise = np.random.default_rng(0).normal(0, 0.03, (800, 640, 3))
    seen = stand_in.see(photograph_of(np.clip(drawn(640, 800, ((320, 300, 100),)) + noise, 0, 1)))
    assert kinds(seen) == [] and seen.landmarks.points.shape == (468, 2)
    assert seen.mask.source == "network"


def test_warnings_name_what_is_wrong(stand_in, photograph_of):
    assert "no face" in kinds(stand_in.see(photograph_of(np.full((200, 200, 3), 0.6))))
    assert {"no face", "black-and-white"} <= set(
        kinds(stand_in.see(photograph_of(drawn().mean(2)[..., None] + [0, 0, 0])))
    )
    assert "cut off" in kinds(stand_in.see(photograph_of(drawn(heads=((160, 35, 60),)))))
    small = stand_in.see(photograph_of(drawn()))
    assert {"small", "blurred"} == set(kinds(small)) or "small" in kinds(small)
    assert all(message.startswith("a.png: ") for _, message in small.warnings)


def test_another_person_can_be_asked_for_and_one_who_is_not_there_is_an_error(stand_in, photograph_of):
    photograph = photograph_of(drawn(600, 400, ((150, 120, 40), (400, 130, 50))))
    assert stand_in.see(photograph, 2).face.centre[0] == pytest.approx(150, abs=2)
    with pytest.raises(SceneError, match="2 faces"):
        stand_in.see(photograph, 3)


def test_masks_of_the_user_win(stand_in, photograph_of, tmp_path):
    mine = np.zeros((400, 320), np.float32)
    mine[:30, :30] = 1
    seen = stand_in.see(photograph_of(drawn(), alpha=mine))
    assert seen.mask.source == "alpha" and (seen.mask.mask == (mine > 0)).all()
    with pytest.raises(SceneError, match="no alpha"):
        stand_in.see(photograph_of(drawn()), masks="alpha")
    Image.fromarray(np.uint8(mine * 255)).save(tmp_path / "a.png")
    seen = stand_in.see(photograph_of(drawn(), alpha=1 - mine), masks=tmp_path)
    assert (seen.mask.mask == (mine > 0)).all() and seen.mask.source.endswith("a.png")


DEMO = Path(__file__).parents[2] / Path("recon/assets/heads/demo")


def test_blur_is_noticed(networks):
    photograph = read_photograph(DEMO / "image/img_0014.jpg")
    object.__setattr__(photograph, "image", ndimage.gaussian_filter(photograph.image, (3, 3, 0)))
    assert "blurred" in kinds(networks.see(photograph))


def test_a_small_face_of_a_large_photograph_is_read_again_at_more_pixels(stand_in, saved):
    noise = np.random.default_rng(0).normal(0, 0.03, (1800, 2400, 3))
    picture = np.clip(drawn(2400, 1800, ((1700, 600, 90),)) + noise, 0, 1)
    seen = stand_in.see(read_photograph(saved(picture), 800))
    photograph, face = seen.photograph, seen.face
    assert photograph.scale == pytest.approx((1, 1))  # the part is smaller than a working picture
    assert face.size == pytest.approx(180, abs=8)
    corner = np.array(photograph.part[:2]) * photograph.original_size
    assert face.centre + corner == pytest.approx([1700, 600], abs=4)
    assert photograph.principal_point + corner == pytest.approx([1200, 900])
    assert seen.mask.mask.shape == photograph.image.shape[:2]
    assert not {"small", "scaled"} & set(kinds(seen))


def test_a_photograph_with_a_mask_of_the_user_is_not_read_again(stand_in, saved, tmp_path):
    path = saved(drawn(1200, 900, ((800, 300, 45),)))
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.full((900, 1200), 255, np.uint8)).save(tmp_path / "masks" / "a.png")
    photograph = read_photograph(path, 600)
    assert stand_in.see(photograph, masks=tmp_path / "masks").photograph is photograph


@pytest.mark.parametrize(("gap", "yaw", "said"), [(2.0, 0, False), (9.0, 0, True), (9.0, 50, False)])
def test_an_open_mouth_is_said(stand_in, photograph_of, gap, yaw, said):
    seen = stand_in.see(photograph_of(drawn(640, 800, ((320, 300, 100),))))
    points = seen.landmarks.points.copy()
    points[[61, 291]] = [[300, 340], [350, 340]]
    points[[13, 14]] = [[325, 338], [325, 338 + gap]]
    a = np.radians(yaw)
    turn = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    face = replace(seen.face, points=(AVERAGE_POINTS_MM @ turn.T)[:, :2])
    landmarks = replace(seen.landmarks, points=points)
    assert mouth_opening(landmarks) == pytest.approx(gap / 50)
    found = [w.kind for w in warnings_of(seen.photograph, face, landmarks, (), 1, seen.mask)]
    assert ("open mouth" in found) == said
