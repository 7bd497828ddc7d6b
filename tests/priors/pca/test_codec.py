import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from recon.errors import PriorError
from recon.priors import CanonicalFrame, ShapePrior, load_shape_prior
from recon.priors.pca.codec import Blocks, pack, packed_bits, unpacked_bits, unpacked_rows
from recon.priors.pca.packing import DATA_START
from recon.priors.pca.shape_model import nearest_rows
from recon.priors.shipped import PCA, hash_of
from recon.priors.shipped import shipped as shipped_file
from recon.priors.weights import save_packed_prior
from tests.support.pca_shape_models import CELLS, CODE, HIGH, LATENT, LOW, banded_ball, points_of

SHAPE, CHANNELS = (21, 18, 12), 6


def band():
    """Nodes between two ellipsoids, with smooth rows as components have them."""
    x = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"), -1)
    inside = np.abs(np.linalg.norm(x, axis=-1) - 0.7) < 0.25
    waves = np.stack(
        [np.sin((k + 1) * x[..., 0] + k * x[..., 1] * x[..., 2]) * 8 / (k + 1) for k in range(CHANNELS)], -1
    )
    return inside, waves[inside].astype(np.float32)


def blocks_of(inside):
    return Blocks.from_band(np.pad(inside, 1), nearest_rows(inside))


@pytest.mark.parametrize("step", [0.5, 0.05])
def test_rows_come_back_within_a_step(step):
    inside, rows = band()
    blocks = blocks_of(inside)
    streams = pack(rows, blocks, np.full(len(blocks.rows), step))
    found = unpacked_rows(streams, blocks, CHANNELS, torch.float32, 1.0).numpy()
    assert np.sqrt(((found - rows) ** 2).mean()) < 0.5 * step
    assert np.abs(found - rows).max() < 5 * step
    assert step < 0.5 or sum(stream.nbytes for stream in streams.values()) < 0.25 * rows.nbytes


def test_noise_of_any_size_comes_back():
    inside, rows = band()
    rows = np.random.default_rng(0).normal(size=rows.shape).astype(np.float32) * np.array(
        [3000, 30, 3, 0.3, 0, 0]
    )
    blocks = blocks_of(inside)
    streams = pack(rows.astype(np.float32), blocks, np.full(len(blocks.rows), 0.2))
    found = unpacked_rows(streams, blocks, CHANNELS, torch.float32, 1.0).numpy()
    np.testing.assert_allclose(found, rows, atol=0.8, rtol=1e-6)
    assert (found[:, 4:] == 0).all()


def test_steps_of_blocks_count():
    inside, rows = band()
    blocks = blocks_of(inside)
    near = blocks.centres[:, 0] < SHAPE[0] / 2
    streams = pack(rows, blocks, np.where(near, 0.02, 0.5))
    found = unpacked_rows(streams, blocks, CHANNELS, torch.float32, 1.0).numpy()
    error, x = np.abs(found - rows).mean(axis=1), np.argwhere(inside)[:, 0]
    assert error[x < SHAPE[0] / 2 - 8].mean() < 0.1 * error[x > SHAPE[0] / 2 + 8].mean()


def test_bits_come_back():
    inside, _ = band()
    assert (unpacked_bits(packed_bits(inside), inside.shape) == inside).all()


def test_broken_streams_are_refused():
    inside, rows = band()
    blocks = blocks_of(inside)
    streams = pack(rows, blocks, np.full(len(blocks.rows), 0.1))
    streams["values.0"] = streams["values.0"][: len(streams["values.0"]) // 2]
    with pytest.raises(ValueError):
        unpacked_rows(streams, blocks, CHANNELS, torch.float32, 1.0)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A shape model in its compressed file, and a cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shape_model, inside = banded_ball()
    shape_model.rows[:] = torch.linspace(-0.03, 0.03, len(shape_model.rows))[:, None].half()
    arguments = {
        "latent_size": LATENT, "low": LOW, "high": HIGH, "cells": CELLS,
        "band": len(shape_model.rows), "landmarks": list(shape_model.landmark_names),
    }  # fmt: skip
    prior = ShapePrior(shape_model, CanonicalFrame((0.0, 0.0, 0.0), 330.0), "pca", arguments, {"heads": 3})
    path = tmp_path / "prior.safetensors"
    return path, save_packed_prior(path, prior, inside, step_mm=0.05), shape_model


def test_a_shipped_shape_model_is_nearly_the_one_that_was_packed(shipped):
    path, digest, shape_model = shipped
    found = load_shape_prior(path, digest)
    points = points_of()
    error = (found.network.shape_of(CODE).sdf(points) - shape_model.shape_of(CODE).sdf(points)).abs() * 330
    assert error.max() < 1.0 and error.mean() < 0.15  # mm
    torch.testing.assert_close(found.network.landmarks(CODE), shape_model.landmarks(CODE), atol=0.02, rtol=0)
    assert found.kind == "pca" and found.about == {"heads": 3}


def test_it_is_decoded_once(shipped, tmp_path, monkeypatch):
    path, digest, _ = shipped
    first = load_shape_prior(path, digest)
    assert (tmp_path / "cache" / "headrecon" / f"{digest}.safetensors").is_file()
    monkeypatch.setattr("recon.priors.pca.codec.unpack", lambda *_: pytest.fail("decoded again"))
    second = load_shape_prior(path)
    for name, value in first.network.state_dict().items():
        assert torch.equal(second.network.state_dict()[name], value), name


def test_decoded_tensors_begin_where_they_always_did(shipped):
    """Last digits of products depend on it: neither names nor a first run may change them."""
    path, digest, _ = shipped
    for _ in range(2):
        state = load_shape_prior(path, digest).network.state_dict()
        assert state["coarse.mean.values"].data_ptr() % 64 == DATA_START
        ends = {name: value.data_ptr() + value.nbytes for name, value in state.items()}
        assert state["landmark_basis"].data_ptr() == ends["coarse.mean.values"]
        assert state["rows"].data_ptr() == ends["coarse.rows"]


def test_a_broken_cache_is_made_anew(shipped, tmp_path):
    path, digest, _ = shipped
    rows = load_shape_prior(path, digest).network.rows.clone()  # it is mapped from the file
    kept = tmp_path / "cache" / "headrecon" / f"{digest}.safetensors"
    kept.write_bytes(kept.read_bytes()[:-100])
    assert torch.equal(load_shape_prior(path, digest).network.rows, rows)
    assert set(load_file(kept)) >= {"rows", "row_of"}


def test_without_a_cache_every_process_decodes(shipped, tmp_path, monkeypatch):
    path, digest, _ = shipped
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_shape_prior(path, digest).network.latent_size == LATENT


def test_the_shipped_shape_model_is_small_and_says_what_it_is():
    path = shipped_file(PCA)
    assert path.stat().st_size <= 15e6
    assert hashlib.sha256(path.read_bytes()).hexdigest() == hash_of(path)
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["about"])
        assert {"inside", "rows.gaps.0", "mean.gaps.0", "landmark_basis"} <= set(file.keys())
    assert about["heads"] >= 400 and "USC Institute for Creative" in about["notice"]
    measured = about["measured"]
    assert (
        measured["truth_to_mesh_face_mm"] < measured["full"]["truth_to_mesh_face_mm"] + 0.03
    )  # by compression


def test_a_broken_file_is_refused(shipped):
    path, _, _ = shipped
    content = bytearray(path.read_bytes())
    content[-300:-200] = bytes(100)
    at = content.index(b"dct8-1")
    other = bytes(content[:at]) + b"dct9-9" + bytes(content[at + 6 :])
    path.write_bytes(other)
    with pytest.raises(PriorError, match="dct9-9"):
        load_shape_prior(path)
