"""Passes of a toy head against what its geometry says."""

import numpy as np
import pytest

from recon.errors import ConfigError
from recon.scene import Camera
from recon.synth.datasets import cameras
from recon.synth.parts import CLOTH, EYE, HAIR, SKIN
from recon.synth.render import passes
from recon.synth.render.appearance import draw_appearance
from recon.synth.render.photograph import expose
from recon.synth.render.prepared import prepare
from tests.support.toy_subject import CENTRE, toy_subject

INTRINSICS = np.array([[440.0, 0, 128], [0, 440, 128], [0, 0, 1]])


@pytest.fixture(scope="module")
def exposure():
    prepared = prepare(toy_subject(), draw_appearance(1))
    return expose(prepared, Camera(INTRINSICS, cameras.look_at(CENTRE, 0.0, 0.0, 800.0), 256, 256))


@pytest.fixture(scope="module")
def shown(exposure):
    return passes.render_passes(exposure, passes.PASSES)


def test_every_pass_has_its_shape_and_type(shown):
    kinds = {
        "rgb": ((256, 256, 3), np.uint8), "mask": ((256, 256), bool), "hair_mask": ((256, 256), bool),
        "depth": ((256, 256), np.float32), "normals": ((256, 256, 3), np.float32),
        "labels": ((256, 256), np.uint8), "albedo": ((256, 256, 3), np.uint8),
    }  # fmt: skip
    assert set(kinds) == set(passes.PASSES)
    for name, (shape, dtype) in kinds.items():
        assert shown[name].shape == shape and shown[name].dtype == dtype, name


def test_depth_and_normals_are_the_balls(shown):
    # The skin ball of radius 100, seen along its axis from 800: depth 700 in the middle.
    skin = shown["labels"] == SKIN
    assert shown["depth"][128, 128] == pytest.approx(700.0, abs=0.5) and skin[128, 128]
    row, column = np.nonzero(skin & (np.abs(np.indices((256, 256))[0] - 128) < 30))
    z = shown["depth"][row, column].astype(float)
    local = np.stack([(column + 0.5 - 128) / 440 * z, (row + 0.5 - 128) / 440 * z, z - 800.0], axis=1)
    np.testing.assert_allclose(np.linalg.norm(local, axis=1), 100.0, atol=0.6)
    agree = np.einsum("ij,ij->i", shown["normals"][row, column], local / 100.0)
    assert agree.min() > 0.99


def test_masks_and_labels_agree(exposure, shown):
    assert set(np.unique(shown["labels"])) >= {0, SKIN, EYE, HAIR, CLOTH}
    covered = shown["labels"] > 0
    assert (covered != shown["mask"]).mean() < 0.003  # centre against majority: only at the outline
    assert shown["mask"][128, 128] and not shown["mask"][5, 5]
    assert not (shown["hair_mask"] & ~shown["mask"]).any()
    np.testing.assert_array_equal(shown["depth"] > 0, covered)
    assert (exposure.hair_coverage <= exposure.coverage + 1e-5).all()


def test_a_photograph_is_skin_coloured_before_a_room(shown):
    skin = shown["rgb"][105:120, 118:138].reshape(-1, 3).astype(float).mean(axis=0)
    assert skin[0] > skin[1] > skin[2] > 20
    assert shown["albedo"][5, 5].max() == 0
    eye = shown["albedo"][shown["labels"] == EYE].astype(float)
    assert eye.max() > 190 and eye.min() < 40  # white and pupil


def test_two_views_of_a_point_have_one_albedo(exposure):
    prepared = exposure.prepared
    first = exposure
    second = expose(prepared, Camera(INTRINSICS, cameras.look_at(CENTRE, 25.0, 8.0, 780.0), 256, 256))
    skin = prepared.subject.part("skin")
    points = skin.vertices[(skin.vertices[:, 2] > 95) & (np.abs(skin.vertices[:, 1] - 10) < 30)]
    seen = []
    for shot in (first, second):
        pixels, depth = shot.camera.project(points)
        at = np.floor(pixels).astype(int)
        visible = np.abs(passes.depth(shot)[at[:, 1], at[:, 0]] - depth) < 2.0
        visible &= passes.labels(shot)[at[:, 1], at[:, 0]] == SKIN
        seen.append((visible, shot.albedo[at[:, 1], at[:, 0]]))
    both = seen[0][0] & seen[1][0]
    assert both.sum() > 100
    difference = np.abs(seen[0][1] - seen[1][1])[both].mean(axis=1)
    assert np.median(difference) < 0.02


def test_an_unknown_pass_is_named(exposure):
    with pytest.raises(ConfigError, match="strand_map"):
        passes.render_passes(exposure, ("rgb", "strand_map"))
