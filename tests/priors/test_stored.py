"""Priors from strangers: what their headers claim, their numbers, and their frame."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from recon.errors import PriorError
from recon.priors import load_shape_prior, load_source_subject
from tools.fuzzing import seeds


def rewritten(path, metadata=lambda m: m, tensors=lambda t: t):
    """The file with its metadata (JSON decoded) and tensors changed."""
    with safe_open(path, "pt") as file:
        held = {name: file.get_tensor(name) for name in file.keys()}
        about = {
            name: json.loads(text) if text[:1] in "{[" else text for name, text in file.metadata().items()
        }
    changed = metadata(about) or about
    kept = tensors(held) or held
    save_file(
        kept,
        path,
        {name: value if isinstance(value, str) else json.dumps(value) for name, value in changed.items()},
    )
    return path


WRITERS = {
    "mlp": seeds.write_mlp_prior,
    "feature_grid": seeds.write_feature_grid_prior,
    "pca": seeds.write_pca_prior,
    "packed": lambda path: seeds.write_pca_prior(path, compressed=True),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(params=list(WRITERS))
def prior(request, tmp_path):
    return WRITERS[request.param](tmp_path / "prior.safetensors")


def refused(path, match):
    with pytest.raises(PriorError, match=match) as raised:
        load_shape_prior(path)
    assert str(path) in str(raised.value)


def test_a_sound_one_loads(prior):
    assert load_shape_prior(prior).canonical.radius_mm == 330.0


@pytest.mark.parametrize("radius", [0, -1.0, "330", None, float("nan"), [330.0]])
def test_a_ball_without_extent_is_refused(prior, radius):
    refused(rewritten(prior, lambda m: m["canonical"].update(radius_mm=radius)), "radius_mm")


@pytest.mark.parametrize("centre", [[0, 0], [0, 0, float("inf")], "origin", None])
def test_a_centre_that_is_none_is_refused(prior, centre):
    refused(rewritten(prior, lambda m: m["canonical"].update(centre_mm=centre)), "centre_mm")


def test_numbers_that_are_not_finite_are_refused(prior):
    def spoilt(tensors):
        name = next(
            name for name, value in sorted(tensors.items()) if value.is_floating_point() and value.numel()
        )
        tensors[name] = tensors[name].clone()
        tensors[name].view(-1)[0] = float("nan")

    refused(rewritten(prior, tensors=spoilt), "not finite")


@pytest.mark.parametrize(
    "claim",
    [
        {"latent_size": 60_000},
        {"latent_size": 10**12},
        {"width": 60_000},
        {"depth": 10**6},
        {"cells": [1200, 1200, 1200]},
        {"mean_cells": [1200, 1200, 1200]},
        {"grids": [[900, 900, 900, 16]]},
        {"band": 10**9},
        {"brightness_model": [100_000, 1000, 1000]},
        {"landmarks": ["chin"] * 100_000},
        {"low": [0, 0, 0], "high": [0, 0, 0]},
        {"cells": [0, 0, 0], "mean_cells": [0, 0, 0], "width": 0},
    ],
)
def test_a_small_file_that_claims_much_is_refused_before_memory_is_taken(prior, claim):
    def claims(metadata):
        known = {name: value for name, value in claim.items() if name in metadata["arguments"]}
        metadata["arguments"].update(known or {"latent_size": 60_000})

    import resource

    rewritten(prior, claims)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(prior, "shape prior of this project")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10, "kB"


def test_streams_that_swell_are_refused(tmp_path):
    from recon.priors.pca.codec import _compressed

    path = WRITERS["packed"](tmp_path / "prior.safetensors")
    bomb = torch.from_numpy(_compressed(b"\1" * (50 << 20)))
    refused(rewritten(path, tensors=lambda t: t.update({"rows.gaps.0": bomb})), "no end within")


def test_rows_that_are_not_there_are_refused(tmp_path):
    path = WRITERS["pca"](tmp_path / "prior.safetensors")
    refused(
        rewritten(path, tensors=lambda t: t.update(row_of=t["row_of"] + 10_000)),
        "row_of must be numbers from 0",
    )


@pytest.mark.parametrize("kind", ["elephant", "", "torch.load"])
def test_kinds_that_are_not_known_are_named(prior, kind):
    refused(rewritten(prior, lambda m: m.update(kind=kind)), "expected one of mlp, feature_grid, pca")


def test_source_subjects_are_held_against_their_weights(tmp_path):
    path = seeds.write_source_subject(tmp_path / "subject.safetensors")
    assert load_source_subject(path).about["scene"] == "demo"
    for part, change in (
        ("sdf", {"width": 60_000}),
        ("colour", {"depth": 60}),
        ("sdf", {"_target_": "recon.fields.x"}),
    ):
        broken = seeds.write_source_subject(tmp_path / "broken.safetensors")
        rewritten(broken, lambda m, part=part, change=change: m["fields"][part].update(change))
        with pytest.raises(PriorError, match=r"broken\.safetensors: "):
            load_source_subject(broken)
    broken = seeds.write_source_subject(tmp_path / "broken.safetensors")
    rewritten(
        broken,
        tensors=lambda t: t.update({"sdf.layers.0.bias": torch.full_like(t["sdf.layers.0.bias"], torch.nan)}),
    )
    with pytest.raises(PriorError, match="not finite"):
        load_source_subject(broken)
