"""The demo subject that ships: complete, small, and its masks are the silhouettes of its ground truth."""

from pathlib import Path

import numpy as np
import pytest

import recon
import recon.scene
from recon.synth.render.zbuffer import draw

ROOT = Path(recon.__file__).parent / "assets" / "heads"


@pytest.fixture(scope="module")
def demo():
    return recon.scene.open(ROOT / "demo")


def test_it_is_small_and_says_where_it_comes_from():
    assert sum(path.stat().st_size for path in ROOT.rglob("*") if path.is_file()) < 4 * 2**20
    assert "make_demo.py" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "Permission is hereby granted" in (ROOT / "LICENSE-ICT-FaceKit.txt").read_text(encoding="utf-8")
    assert (ROOT / "demo" / "recipe.json").is_file()


def test_views_and_lists(demo):
    assert len(demo.views) >= 20
    assert {1, 3, 4, 6, 8, 16} <= set(demo.default_views)
    for number, views in demo.default_views.items():
        assert len(set(views)) == number
    recon.scene.validate(demo, range(len(demo.views)))


@pytest.mark.slow
def test_masks_are_the_silhouettes_of_the_truth(demo):
    truth = demo.ground_truth.mesh()
    assert truth.is_watertight and truth.volume > 0
    assert 18_000 <= len(truth.vertices) <= 22_000
    for view in demo.views:
        shape = draw(np.asarray(truth.vertices), np.asarray(truth.faces), view.camera).coverage() > 0.5
        mask = view.mask()
        assert (shape & mask).sum() / (shape | mask).sum() > 0.98, view.name


def test_landmarks_and_regions_are_where_they_should_be(demo):
    truth = demo.ground_truth.mesh()
    at = {name: truth.vertices[index] for name, index in demo.ground_truth.landmarks.items()}
    assert len(at) == 6
    # Inner eye corners of adults are 25 to 42 mm apart, mouth corners 40 to 65 mm.
    assert 25 < np.linalg.norm(at["left_eye"] - at["right_eye"]) < 42
    assert 40 < np.linalg.norm(at["left_lips"] - at["right_lips"]) < 65
    sphere = demo.ground_truth.region("face_sphere")
    assert np.linalg.norm(truth.vertices[sphere] - at["nose_tip"], axis=1).max() < 97
    assert set(demo.ground_truth.regions()) == {"face", "face_sphere", "nose"}


def test_photographs_look_lit(demo):
    brightness = [view.image()[view.mask()].mean() for view in demo.views]
    assert 0.15 < min(brightness) and max(brightness) < 0.75
