"""A toy subject written as a scene and read back."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

import recon.scene
from recon.synth.datasets import cameras, scenes
from recon.synth.render.appearance import draw_appearance
from tests.support.toy_subject import toy_subject


def write(root: Path) -> Path:
    subject = toy_subject(4)
    orbit = cameras.draw_orbit(9, np.asarray(subject.truth.vertices), np.random.default_rng(4), size=128)
    placement = scenes.draw_placement(np.random.default_rng(5))
    return scenes.write_subject_scene(root, subject, draw_appearance(4), orbit, placement)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("root"))


def test_the_scene_reads_back(folder):
    scene = recon.scene.open(folder)
    assert len(scene.views) == 9
    assert set(scene.default_views) == {1, 3, 4, 6, 8}
    truth = scene.ground_truth.mesh()
    assert len(truth.vertices) == len(toy_subject().truth.vertices)
    unit = (truth.vertices - scene.scale_mat[:3, 3]) / scene.scale_mat[0, 0]
    assert np.linalg.norm(unit, axis=1).max() < 1.0
    for view in scene.views:
        pixels, depth = view.camera.project(truth.vertices)
        at = np.floor(pixels).astype(int)
        assert depth.min() > 0 and at.min() >= 0 and at.max() < 128
        # Every vertex falls on the mask; the outline itself may miss it by half a pixel.
        mask = view.mask()
        grown = mask.copy()
        for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            grown |= np.roll(mask, shift, (0, 1))
        assert grown[at[:, 1], at[:, 0]].mean() > 0.999


def test_the_world_is_not_canonical(folder):
    truth = recon.scene.open(folder).ground_truth.mesh()
    # The toy's collar is below its head: y grows downwards in the world.
    assert truth.vertices[-100:, 1].mean() > truth.vertices[:100, 1].mean() + 60


def test_same_seed_same_bytes(folder, tmp_path):
    again = write(tmp_path)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            twin = again / path.relative_to(folder)
            assert digest(path) == digest(twin), path.name


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
