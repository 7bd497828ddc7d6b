"""Many scenes: resumed, listed with hashes, refused when settings differ. The people are toys without a head model."""

import dataclasses
import json

import numpy as np
import pytest

import recon.scene
from recon.errors import ConfigError, SceneError
from recon.synth.datasets import batch
from tests.support.toy_subject import toy_subject

SETTINGS = batch.SceneSettings(
    views=3, size=64, passes=("rgb", "mask", "depth", "normals", "labels"), truth_vertices=None
)


def recipes(*names: str) -> list[dict]:
    return [{"name": name, "seed": n, "split": "train", "hair": None} for n, name in enumerate(names)]


@pytest.fixture
def toys(monkeypatch):
    """Subjects come from the toy; the list records who was built."""
    built = []

    def build(recipe):
        built.append(recipe["name"])
        return dataclasses.replace(toy_subject(recipe["seed"]), name=recipe["name"])

    monkeypatch.setattr(batch, "build_subject", build)
    return built


@pytest.mark.slow
def test_scenes_are_made_once_and_listed(toys, tmp_path):
    first = list(batch.make_scenes(tmp_path, recipes("ann", "bob"), SETTINGS))
    assert [(made.name, made.new, made.done, made.total) for made in first] == [
        ("ann", True, 1, 2),
        ("bob", True, 2, 2),
    ]
    again = list(batch.make_scenes(tmp_path, recipes("ann", "bob", "cem"), SETTINGS))
    assert [(made.name, made.new) for made in again] == [("ann", False), ("bob", False), ("cem", True)]
    assert toys == ["ann", "bob", "cem"]
    manifest = batch.read_manifest(tmp_path)
    for name in ("ann", "bob", "cem"):
        assert manifest[name]["files"] == batch.file_hashes(tmp_path / name)
        scene = recon.scene.open(tmp_path / name)
        assert len(scene.views) == 3
        assert (tmp_path / name / "depth" / "depth_0002.png").is_file()


@pytest.mark.slow
def test_a_scene_that_was_stopped_half_way_is_made_again(toys, tmp_path):
    list(batch.make_scenes(tmp_path, recipes("ann"), SETTINGS))
    hashes = batch.file_hashes(tmp_path / "ann")
    # Finished by a worker, but the caller died before it was listed; and damaged since.
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "ann" / "image" / "img_0000.jpg").write_bytes(b"half")
    assert [made.new for made in batch.make_scenes(tmp_path, recipes("ann"), SETTINGS)] == [True]
    assert batch.file_hashes(tmp_path / "ann") == hashes


def test_scenes_of_before_are_given_their_ears_and_nothing_else_changes(toys, tmp_path):
    list(batch.make_scenes(tmp_path, recipes("ann"), SETTINGS))
    new = batch.read_manifest(tmp_path)["ann"]["files"]
    ears = tmp_path / "ann" / "regions" / "ears.txt"
    ears.unlink()
    (made,) = batch.make_scenes(tmp_path, recipes("ann"), SETTINGS)
    assert not made.new and toys == ["ann", "ann"]
    assert batch.file_hashes(tmp_path / "ann") == new == batch.read_manifest(tmp_path)["ann"]["files"]
    list(batch.make_scenes(tmp_path, recipes("ann"), SETTINGS))
    assert len(toys) == 2  # they are there
    ears.unlink()
    face = tmp_path / "ann" / "regions" / "face.txt"
    face.write_text(face.read_text().partition("\n")[2])  # of another mesh
    with pytest.raises(SceneError, match="builds another surface today"):
        list(batch.make_scenes(tmp_path, recipes("ann"), SETTINGS))
    assert not ears.exists()


def test_other_settings_are_refused(toys, tmp_path):
    list(batch.make_scenes(tmp_path, recipes("ann"), SETTINGS))
    with pytest.raises(SceneError, match="ann was made"):
        list(batch.make_scenes(tmp_path, recipes("ann"), dataclasses.replace(SETTINGS, views=4)))
    (tmp_path / "manifest.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(SceneError, match="format"):
        batch.read_manifest(tmp_path)


def test_passes_on_disk_hold_what_was_rendered(toys, tmp_path):
    from PIL import Image

    list(batch.make_scenes(tmp_path, recipes("ann"), SETTINGS))
    scene = recon.scene.open(tmp_path / "ann")
    view = scene.views[1]
    depth = np.asarray(Image.open(tmp_path / "ann" / "depth" / "depth_0001.png")).astype(float) / 50.0
    normals = (
        np.asarray(Image.open(tmp_path / "ann" / "normals" / "normals_0001.png")).astype(float) / 127.5 - 1
    )
    labels = np.asarray(Image.open(tmp_path / "ann" / "labels" / "labels_0001.png"))
    shown = depth > 0
    np.testing.assert_array_equal(shown, labels > 0)
    centre = scene.scale_mat[:3, 3]
    away = np.linalg.norm(view.camera.centre - centre)
    assert np.abs(depth[shown] - away).max() < 250
    np.testing.assert_allclose(np.linalg.norm(normals[shown], axis=1), 1.0, atol=0.02)
    assert normals[shown][:, 2].mean() < -0.4  # towards the camera


def test_bad_settings_are_named():
    with pytest.raises(ConfigError, match="strand_map"):
        batch.SceneSettings(passes=("rgb", "strand_map"))
    with pytest.raises(ConfigError, match="views"):
        batch.SceneSettings(views=0)
    with pytest.raises(ConfigError, match="split"):
        batch.split_recipes("holiday", 1)
