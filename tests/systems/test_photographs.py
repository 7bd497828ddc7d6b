"""Plain photographs at the door of a run: what counts as such, and which views are taken."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from recon import scene as scenes
from recon.calibration import read_pose
from recon.errors import ConfigError, SceneError
from recon.perception.masks import mask_paths
from recon.systems import config
from recon.systems.photographs import plain_photographs
from recon.systems.stages import observe, select_views
from tests.support import ellipsoid
from tests.support.runs import ROOT, composed

config.register_resolvers()
DEMO = ROOT / "recon" / "assets" / "heads" / "demo"


def photographs(scene):
    return [path.name for path in plain_photographs(composed(f"scene={scene}"))]


def test_a_folder_of_pictures_is_photographs_in_their_natural_order(tmp_path):
    for number in (10, 9, 1):
        shutil.copy(DEMO / "image" / "img_0014.jpg", tmp_path / f"IMG_{number}.JPG")
    (tmp_path / "notes.txt").write_text("not a photograph")
    assert photographs(tmp_path) == ["IMG_1.JPG", "IMG_9.JPG", "IMG_10.JPG"]
    assert photographs(tmp_path / "IMG_9.JPG") == ["IMG_9.JPG"]


@pytest.mark.slow
def test_scenes_and_names_are_no_plain_photographs(tmp_path):
    assert photographs(DEMO) == photographs("demo") == photographs("nowhere") == []
    assert photographs(ellipsoid.write_idr_scene(tmp_path / "scene", 3)) == []


def test_what_is_no_folder_of_photographs_is_left_to_the_readers_and_their_errors(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("nothing to see")
    scenes_root = tmp_path / "root"
    scene = ellipsoid.write_idr_scene(scenes_root / "scene", 3)
    assert photographs(tmp_path / "notes") == photographs(scenes_root) == []
    (scene / "image").rename(scene / "pictures")
    shutil.copy(DEMO / "image" / "img_0014.jpg", scene / "sheet.jpg")
    assert photographs(scene) == []  # a scene that lacks its images, with a picture beside them


def test_two_photographs_of_one_stem_are_refused(tmp_path):
    for suffix in ("jpg", "png"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / f"a.{suffix}")
    with pytest.raises(SceneError, match=r"a\.(jpg|png)"):
        photographs(tmp_path)


def test_without_a_word_three_views_of_a_scene_are_taken_and_all_of_photographs(tmp_path):
    scene = scenes.open(ellipsoid.write_idr_scene(tmp_path / "scene", 5))
    assert len(select_views(scene, None)) == 3
    assert select_views(scene, None, all_by_default=True) == [0, 1, 2, 3, 4]
    assert select_views(scene, [4, 0]) == [4, 0]
    with pytest.raises(ConfigError, match="views=three"):
        select_views(scene, "three")


def test_the_pose_that_calibration_found_is_what_a_prior_begins_with(tmp_path):
    scene = scenes.open(ellipsoid.write_idr_scene(tmp_path / "scene", 3))
    assert observe(scene, [0, 1]).canonical_from_world is None
    pose = np.diag([2.0, 2.0, 2.0, 1.0])
    report = scene.root / "calibration.json"
    report.write_text(json.dumps({"canonical_from_world": pose.tolist()}))
    np.testing.assert_array_equal(observe(scene, [0, 1]).canonical_from_world, pose)
    report.write_text('{"canonical_from_world": [1, 2]}')
    with pytest.raises(SceneError, match=r"calibration.json cannot be read"):
        read_pose(scene.root)


def test_masks_that_are_no_folder_are_named(tmp_path):
    with pytest.raises(SceneError, match=r"masks=.*expected auto, alpha, or a folder"):
        mask_paths(tmp_path / "none", [tmp_path / "a.jpg"])
