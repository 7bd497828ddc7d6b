"""Shards of portraits: what is written is read back, the same bytes each time, and a broken file is one clear error."""

import numpy as np
import pytest

from recon.errors import SceneError
from recon.perception.portrait_maps import HAIR, SKIN
from recon.synth.portraits.shards import (
    MAPS,
    STEP_MM,
    Shard,
    decode_light,
    encode_light,
    packed,
    unpacked,
    write_shard,
)
from tests.support.toy_portraits import ball_shot

PEOPLE = [{"name": "a", "seed": 0, "family": "long", "held_out": False, "renderer": "full"}]


@pytest.fixture
def shots():
    return [ball_shot(48, yaw) for yaw in (0.0, 60.0, -170.0)]


@pytest.mark.parametrize("kind, channels", [("u1", 1), ("i1", 3), ("<i2", 1), ("<i2", 3)])
def test_any_whole_numbers_come_back(kind, channels):
    info = np.iinfo(kind)
    rng = np.random.default_rng(1)
    values = rng.integers(info.min, info.max, (20, 20, channels), dtype=np.dtype(kind), endpoint=True)
    values = values[..., 0] if channels == 1 else values
    np.testing.assert_array_equal(unpacked(packed(values), 20, kind, channels), values)


def test_light_comes_back_to_the_jpeg(tmp_path):
    ramp = np.linspace(0, 1, 64, dtype=np.float32)
    light = np.stack([np.tile(ramp, (64, 1))] * 3, axis=2)
    np.testing.assert_allclose(np.sqrt(decode_light(encode_light(light), 64)), np.sqrt(light), atol=0.02)


def test_portraits_are_read_as_they_were_written(tmp_path, shots):
    path = tmp_path / "shard.safetensors"
    backdrop = np.full((48, 48, 3), 0.25, np.float32)
    write_shard(path, shots, [backdrop], PEOPLE, twins=True)
    shard = Shard(path)
    assert len(shard) == 3 and shard.backdrop_count == 1 and shard.people == PEOPLE and shard.size == 48
    np.testing.assert_allclose(shard.backdrop(0), 0.25, atol=0.01)
    for number, shot in enumerate(shots):
        read, wrote = shard.read(number), shot.portrait
        np.testing.assert_array_equal(read.parts, wrote.parts)
        np.testing.assert_allclose(read.alpha, wrote.alpha, atol=0.5 / 255 + 1e-6)
        np.testing.assert_allclose(read.canonical, wrote.canonical, atol=STEP_MM / 2 + 1e-4)
        np.testing.assert_allclose(read.depth, wrote.depth, atol=STEP_MM / 2 + 1e-4)
        np.testing.assert_allclose(read.normals, wrote.normals, atol=0.5 / 127 + 1e-6)
        np.testing.assert_allclose(read.strand, wrote.strand, atol=0.013)
        assert (read.parts == SKIN).any() and (read.parts == HAIR).any()
        light, alpha = shard.twin(number)
        np.testing.assert_allclose(np.sqrt(light), np.sqrt(np.clip(wrote.twin_light, 0, 1)), atol=0.1)
        np.testing.assert_allclose(alpha, wrote.twin_alpha, atol=0.5 / 255 + 1e-6)
        np.testing.assert_allclose(shard.camera_from_canonical[number], shot.camera_from_canonical)
        np.testing.assert_allclose(shard.angles[number], shot.angles)


def test_the_same_portraits_are_the_same_bytes(tmp_path, shots):
    for name in ("a", "b"):
        write_shard(tmp_path / name, shots, [], PEOPLE)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(SceneError, match="made without twins"):
        Shard(tmp_path / "a").twin(0)


def test_a_broken_shard_is_one_error_that_names_it(tmp_path, shots):
    path = tmp_path / "shard.safetensors"
    write_shard(path, shots, [], PEOPLE)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        SceneError, match=r"shard.safetensors cannot be read as a shard of portraits .*make it anew"
    ):
        Shard(path)
    path.write_bytes(b"")
    with pytest.raises(SceneError, match=r"shard.safetensors cannot be read"):
        Shard(path)
    middle = whole.index(b"\xff\xd8")  # the first JPEG, and the maps after it
    path.write_bytes(whole[:middle] + b"\0" * 3000 + whole[middle + 3000 :])
    broken = Shard(path)
    with pytest.raises(SceneError, match=r"shard.safetensors cannot be read"):
        broken.read(0)


def test_fields_of_a_record_are_those_that_are_read():
    assert set(MAPS) == {"cover", "alpha", "parts", "normals", "canonical", "strand", "depth"}
