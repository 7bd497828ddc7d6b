"""What a report needs is found broken before training, not after it."""

import shutil

import numpy as np
import pytest
from PIL import Image

from recon import scene as scenes
from recon.errors import SceneError
from recon.resources import ASSETS
from recon.systems import run
from recon.systems.report.inputs import check_inputs, heldout_views
from tests.support import ellipsoid
from tests.support.runs import TINY, composed, configured

VIEWS = [0, 1]


@pytest.fixture
def six_views(tmp_path):
    return ellipsoid.write_idr_scene(tmp_path / "scene", 6)


@pytest.fixture
def with_truth(tmp_path):
    """A scene with ground truth, the demo head; its photographs are not looked at."""
    folder = tmp_path / "head"
    shutil.copytree(ASSETS / "heads/demo", folder)
    return folder


def broken(path):
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, []), (1, [2]), (2, [2, 4]), (4, [2, 3, 4, 5]), (9, [2, 3, 4, 5]), (None, [2, 3, 4, 5])],
)
def test_held_out_views_are_spread_over_the_others(six_views, count, expected):
    assert heldout_views(scenes.open(six_views), VIEWS, count) == expected


def test_held_out_views_of_a_partial_copy_are_those_that_are_there(six_views):
    (six_views / "image/002.png").unlink()
    (six_views / "mask/004.png").unlink()
    scene = scenes.open(six_views)
    assert heldout_views(scene, VIEWS, None) == [3, 5]
    check_inputs(composed("render.heldout=null"), scene, VIEWS)


@pytest.mark.parametrize("folder", ["image", "mask"])
def test_a_broken_held_out_picture_stops_the_run_before_training(six_views, tmp_path, folder):
    broken(six_views / folder / "004.png")
    cfg, out = configured(six_views, tmp_path / "run", *TINY, "render.heldout=2")
    with pytest.raises(SceneError, match=rf"held-out view 4: .*{folder}.*004\.png.*render\.heldout=0"):
        run.prepare(cfg, out)
    cfg.render.heldout = 0
    check_inputs(cfg, scenes.open(six_views), VIEWS)


def test_a_held_out_mask_of_another_size_is_named(six_views):
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(six_views / "mask/003.png")
    with pytest.raises(SceneError, match=r"held-out view 3: mask .*003\.png is 7x5"):
        check_inputs(composed("render.heldout=null"), scenes.open(six_views), VIEWS)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("full_head.obj", "no mesh", "full_head"),
        ("landmarks.txt", "nose_tip three\n", "landmarks"),
        ("landmarks.txt", "nose_tip 99999999\n", "99999999"),
        ("regions/face_sphere.txt", "1\n99999999\n", "face_sphere"),
        ("regions/face_sphere.txt", "one\n", "face_sphere"),
    ],
)
def test_a_broken_ground_truth_stops_the_run_before_training(with_truth, name, content, said):
    (with_truth / name).write_text(content)
    scene = scenes.open(with_truth)
    with pytest.raises(SceneError, match=rf"ground truth: .*{said}.*evaluate=false"):
        check_inputs(composed("render.heldout=0"), scene, VIEWS)
    check_inputs(composed("render.heldout=0", "evaluate=false"), scene, VIEWS)


def test_a_sound_scene_passes(with_truth):
    check_inputs(composed("render.heldout=3"), scenes.open(with_truth), VIEWS)
