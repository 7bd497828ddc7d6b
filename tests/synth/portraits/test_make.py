"""Folders of portraits: the same seed the same bytes, resumed, people held apart; and things on a real head."""

import json
import subprocess
import sys

import numpy as np
import pytest

from recon.errors import ConfigError, SceneError
from recon.perception.portrait_maps import (
    BROWS,
    EAR,
    EYES,
    EYEWEAR,
    HAIR,
    HAIRS,
    LIPS,
    NECK,
    OCCLUDER,
    SKIN,
    SKINS,
)
from recon.scene import Camera
from recon.synth.datasets.cameras import look_at
from recon.synth.hair.styles import WIDE_SHARES
from recon.synth.portraits.framing import Framing
from recon.synth.portraits.held import hand, microphone
from recon.synth.portraits.make import PortraitSettings, make_portraits, make_shard, read_manifest
from recon.synth.portraits.people import draw_person, seat, sit
from recon.synth.portraits.portrait import shoot
from recon.synth.portraits.shards import Shard
from recon.synth.portraits.worn import glasses, hat, scarf, surgical_mask
from tests.support.head_model import needs_model

CLAIM = """
import sys
from pathlib import Path
from recon.run_folders import claimed
with claimed(Path(sys.argv[1]), resumed=True):
    print("claimed", flush=True)
    sys.stdin.readline()
"""
SETTINGS = PortraitSettings(views=2, size=64, people_per_shard=1)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="families are bald, buzz"):
        PortraitSettings(held_out=("mohawk",))
    with pytest.raises(ConfigError, match="a size of at least 32 that 4 divides"):
        PortraitSettings(size=66)
    with pytest.raises(ConfigError, match="split must be one of"):
        next(make_portraits("nowhere", "all", range(1), SETTINGS))


def test_a_folder_in_which_another_process_is_at_work_is_left_alone(tmp_path):
    (tmp_path / "train").mkdir()
    held = subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(tmp_path / "train")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert held.stdout.readline() == "claimed\n"
        with pytest.raises(ConfigError, match=rf"^{tmp_path}/train: its run is at work: process {held.pid}"):
            next(make_portraits(tmp_path, "train", range(1), SETTINGS))
    finally:
        held.communicate("\n", timeout=60)


@pytest.mark.slow
@needs_model
def test_families_held_out_are_not_for_training():
    held_out = ("afro", "ponytail")
    seen = {"train": [], "val": []}
    for split, families in seen.items():
        for seed in range(30):
            recipe = draw_person(seed, split, held_out)
            families.append(recipe["hair"]["style"]["family"] if recipe["hair"] else "bald")
            assert recipe["renderer"] == "full" or split == "val"
    assert not set(held_out) & set(seen["train"]) and set(held_out) <= set(seen["val"])
    assert set(seen["train"]) <= set(WIDE_SHARES)
    assert draw_person(7, "val", held_out) == draw_person(7, "val", held_out)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("portraits")
    shards = list(make_portraits(root, "train", range(1), SETTINGS))
    return root, shards


@pytest.mark.slow
@needs_model
def test_the_same_seed_is_the_same_bytes_and_a_stopped_call_is_resumed(made, tmp_path):
    root, shards = made
    assert [(shard.portraits, shard.done, shard.total) for shard in shards] == [(2, 1, 1)]
    path = root / "train" / "shard-00000.safetensors"
    entry = make_shard(tmp_path, "train", SETTINGS, (path.name, (0,)))
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    manifest = read_manifest(root / "train")
    assert manifest["shards"][0]["sha256"] == entry["sha256"]
    before = path.stat().st_mtime_ns
    assert list(make_portraits(root, "train", range(1), SETTINGS)) == []
    assert path.stat().st_mtime_ns == before
    with pytest.raises(SceneError, match="was made with other settings"):
        list(make_portraits(root, "train", range(1), PortraitSettings(views=3, size=64, people_per_shard=1)))
    assert json.loads((root / "train" / "manifest.json").read_text())["settings"]["views"] == 2


@pytest.mark.slow
@needs_model
def test_canonical_maps_on_disk_give_the_camera(made):
    root, _ = made
    shard = Shard(root / "train" / "shard-00000.safetensors")
    for number in range(2):
        stored = shard.read(number)
        hair = np.isin(stored.parts, HAIRS)
        points = stored.canonical[hair].astype(np.float64)
        pose = shard.camera_from_canonical[number]
        seen = (points @ pose[:3, :3].T + pose[:3, 3]) @ shard.intrinsics[number].T
        rows, columns = np.nonzero(hair)
        apart = np.linalg.norm(seen[:, :2] / seen[:, 2:] - np.stack([columns, rows], axis=1) - 0.5, axis=1)
        assert apart.max() < 0.3  # pixels of 64: half a step of the file
        skin = np.isin(stored.parts, SKINS)
        if skin.any():  # where a mean head's point lies, the person's is near
            local = stored.canonical[skin] @ pose[:3, :3].T + pose[:3, 3]
            pixels = local @ shard.intrinsics[number].T
            rows, columns = np.nonzero(skin)
            scale = np.cbrt(np.linalg.det(pose[:3, :3])) * shard.intrinsics[number, 0, 0] / local[:, 2]
            apart = np.linalg.norm(
                pixels[:, :2] / pixels[:, 2:] - np.stack([columns, rows], axis=1) - 0.5, axis=1
            )
            assert np.median(apart / scale) < 12.0  # mm


@pytest.mark.slow
@needs_model
def test_things_lie_where_they_are_worn():
    person = seat(draw_person(2, "train"))
    sitting = sit(person, (0, 2, 0))
    size = 128
    focal = size * 700.0 / 380.0
    pose = look_at(np.array([0.0, 10.0, 0.0]), 0.0, 0.0, 700.0)
    camera = Camera(np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]]), pose, size, size)
    view = Framing(camera, 0.0, 0.0, 0.0, 50.0)
    bare = shoot(sitting, view, [])
    assert {SKIN, EYES, LIPS, BROWS, EAR, NECK, HAIR} <= set(np.unique(bare.parts))
    height = {part: np.nonzero(bare.parts == part)[0].mean() for part in (HAIR, BROWS, EYES, LIPS, NECK)}
    assert height[HAIR] < height[BROWS] < height[EYES] < height[LIPS] < height[NECK]
    x = bare.canonical[..., 0]
    assert x[bare.parts == EAR].max() > 60 and np.all(
        x[:, : size // 2 - 8][bare.parts[:, : size // 2 - 8] == EAR] < 0
    )

    def shown(thing, label):
        seen = shoot(sitting, view, [thing])
        changed = (seen.parts == label) & (bare.parts != label)
        assert changed.sum() > 25
        return seen, changed

    rng = np.random.default_rng(0)
    _, rims = shown(glasses(person, rng), EYEWEAR)
    assert abs(np.nonzero(rims)[0].mean() - height[EYES]) < 0.06 * size
    seen, masked = shown(surgical_mask(person, rng), OCCLUDER)
    assert masked[bare.parts == LIPS].mean() > 0.95 and not masked[bare.parts == BROWS].any()
    np.testing.assert_array_equal(
        seen.alpha >= 0.99, np.maximum(seen.alpha, bare.alpha) >= 0.99
    )  # it is worn
    _, covered = shown(hat(person, rng), OCCLUDER)
    assert covered[bare.parts == HAIR].mean() > 0.5 and not covered[bare.parts == LIPS].any()
    _, wound = shown(scarf(person, rng), OCCLUDER)
    assert wound[bare.parts == NECK].mean() > 0.3 and not wound[bare.parts == EYES].any()
    for make in (hand, microphone):
        seen, hidden = shown(make(sitting, camera, rng), OCCLUDER)
        inner = hidden & (seen.cover > 0.999) & (bare.alpha > 0.999)
        assert np.median(seen.alpha[inner]) == 0
