"""Files of earlier versions: read with one warning, and converted without loss."""

import json
import logging

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from recon.errors import PriorError
from recon.files import sha256_of
from recon.priors import (
    CanonicalFrame,
    DeepSDFNetwork,
    FeatureGridSDFNetwork,
    PCAPrior,
    PCAShapeModel,
    convert_file,
    load_shape_prior,
    load_source_subject,
)
from recon.priors.shipped import RETIRED, SHA256, hash_of, located, shipped

CANONICAL = {
    "centre_mm": [0.0, -25.0, -5.0],
    "radius_mm": 330.0,
    "landmarks_mm": {"nose_tip": [0.0, 4.0, 130.5]},
}
FEATURE_GRID = {
    "latent_size": 3, "width": 8, "depth": 1, "low": [-0.6] * 3, "high": [0.6] * 3, "mean_cells": [3, 3, 3],
    "grids": [[4, 4, 4, 2]],
}  # fmt: skip
MLP = {"latent_size": 2, "width": 16, "depth": 1, "skip": [], "octaves": 1}
PCA = {
    "latent_size": 2, "low": [-0.5] * 3, "high": [0.5] * 3, "cells": [3, 3, 3], "band": 5, "landmarks": ["chin"],
    "brightness_model": [4, 2, 1],
}  # fmt: skip


def written(path, old_kind, network, arguments, old_names=None):
    """A file as earlier versions wrote it: old kind, and old names of arguments and tensors."""
    torch.manual_seed(0)
    tensors = {
        name: torch.rand_like(value) if value.is_floating_point() else torch.zeros_like(value)
        for name, value in network.state_dict().items()
    }
    for old, new in (old_names or {}).items():
        arguments = {name.replace(f"{new}_model", old): value for name, value in arguments.items()}
        tensors = {name.replace(f"{new}_", f"{old}_"): value for name, value in tensors.items()}
    metadata = {
        "format": "headrecon-shape-prior-1",
        "kind": old_kind,
        "arguments": json.dumps(arguments),
        "canonical": json.dumps(CANONICAL),
        "about": json.dumps({"heads": 480}),
    }
    save_file(tensors, path, metadata)
    return path


def old_files(folder):
    feature_grid, mlp, pca = (
        FeatureGridSDFNetwork(**FEATURE_GRID),
        DeepSDFNetwork(**MLP),
        PCAShapeModel(**PCA),
    )
    return {
        "feature_grid": written(folder / "a.safetensors", "linear", feature_grid, FEATURE_GRID),
        "mlp": written(folder / "b.safetensors", "deepsdf", mlp, MLP),
        "pca": written(folder / "c.safetensors", "grid", pca, PCA, {"likeness": "brightness"}),
    }


def content(path):
    with safe_open(path, framework="pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}


@pytest.mark.parametrize("kind", ["feature_grid", "mlp", "pca"])
def test_an_old_prior_is_read_with_one_warning_that_says_how_to_convert_it(kind, tmp_path, caplog):
    path = old_files(tmp_path)[kind]
    with caplog.at_level(logging.WARNING):
        prior = load_shape_prior(path)
        load_shape_prior(path)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(path) in caplog.text and "convert_file" in caplog.text
    assert prior.kind == kind and prior.canonical.centre_mm == (0.0, -25.0, -5.0)
    assert prior.canonical == CanonicalFrame((0.0, -25.0, -5.0), 330.0, {"nose_tip": (0.0, 4.0, 130.5)})
    assert (kind == "pca") == (prior.network.brightness_model is not None)


@pytest.mark.parametrize("kind", ["feature_grid", "mlp", "pca"])
def test_a_converted_prior_is_the_same_without_a_warning(kind, tmp_path, caplog):
    path, new = old_files(tmp_path)[kind], tmp_path / "new.safetensors"
    before = load_shape_prior(path)
    assert convert_file(path, new) == sha256_of(new)
    caplog.clear()
    after = load_shape_prior(new)
    assert not caplog.records
    assert content(new)[0]["kind"] == kind and (after.kind, after.arguments) == (
        before.kind,
        before.arguments,
    )
    assert after.about == before.about
    old_tensors, new_tensors = content(path)[1], content(new)[1]
    old_tensors = {name.replace("likeness_", "brightness_"): value for name, value in old_tensors.items()}
    assert old_tensors.keys() == new_tensors.keys()
    assert all(torch.equal(value, new_tensors[name]) for name, value in old_tensors.items())
    for name, value in before.network.state_dict().items():
        assert torch.equal(after.network.state_dict()[name], value), name
    assert convert_file(new, tmp_path / "again.safetensors") == sha256_of(new)  # nothing is left to convert


def test_an_old_source_subject_is_read_with_one_warning(tmp_path, caplog):
    metadata, tensors = content(shipped("source_subjects/short.safetensors"))
    path = tmp_path / "old.safetensors"
    save_file(tensors, path, {**metadata, "format": "headrecon-donor-1"})
    with caplog.at_level(logging.WARNING):
        found = load_source_subject(path)
        load_source_subject(path)
    assert len(caplog.records) == 1 and "convert_file" in caplog.text
    assert torch.equal(found.weights["sdf.layers.0.bias"], tensors["sdf.layers.0.bias"])
    convert_file(path, tmp_path / "new.safetensors")
    assert content(tmp_path / "new.safetensors")[0] == metadata


def test_shipped_files_have_their_hashes_and_no_old_names(caplog):
    for name, digest in SHA256.items():
        assert sha256_of(shipped(name)) == digest == hash_of(shipped(name))
    load_shape_prior(shipped("deepsdf-synth-v1.safetensors"))
    for name in ("short", "long"):
        load_source_subject(shipped(f"source_subjects/{name}.safetensors"))
    assert not caplog.records


@pytest.mark.parametrize("old", sorted(RETIRED))
def test_a_file_that_no_longer_ships_is_named_with_what_took_its_place(tmp_path, old):
    for path in (f"/elsewhere/priors/{old}", shipped(old)):
        with pytest.raises(PriorError, match=f"{old} no longer ships, {RETIRED[old]} took its place"):
            PCAPrior(str(path))
    own = tmp_path / "priors" / old
    own.parent.mkdir()
    own.touch()
    assert located(own) == own  # a file that is there is meant
    with pytest.raises(PriorError, match="does not exist"):
        load_shape_prior(tmp_path / old)
    with pytest.raises(PriorError, match=f"{own.parent} is a folder, expected a file"):
        load_shape_prior(own.parent)
