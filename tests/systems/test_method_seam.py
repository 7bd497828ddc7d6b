"""A method is one yaml; one with other losses is one file more, which the yaml names."""

import csv

import pytest
import torch
from hydra import compose, initialize_config_dir

from recon.systems import config, run, stages
from recon.systems.objective import Objective, StepTerms
from tests.support import ellipsoid
from tests.support.seams import add_module, add_yaml

config.register_resolvers()

LOSSES = '''
from dataclasses import dataclass

from recon.systems.objective import Objective, StepTerms


@dataclass(frozen=True)
class MasksOnly(Objective):
    """The mask loss alone, times a factor."""

    factor: float = 1.0

    def terms(self, rendered, in_mask, photograph, alpha, codes=()):
        found = super().terms(rendered, in_mask, photograph, alpha, codes)
        mask = self.factor * self.mask_weight * found.shown["loss_mask"]
        total = found.total - found.shown["loss_colour"] - found.total.detach() + mask
        return StepTerms(total, {**found.shown, "loss_silhouette": mask})
'''
METHOD = """
defaults:
  - idr
  - _self_
name: masks_only
objective:
  _target_: recon.systems.masks_only.MasksOnly
  factor: 2.0
"""


@pytest.fixture
def masks_only(tmp_path, monkeypatch):
    """The two files of the new method: its losses, as if they lay in recon/systems/, and its yaml."""
    add_module(monkeypatch, "recon.systems.masks_only", LOSSES)
    return add_yaml(tmp_path, "method", "masks_only", METHOD)


def test_a_method_with_losses_of_its_own(tmp_path, masks_only):
    scene = ellipsoid.write_idr_scene(tmp_path / "scene", 4)
    small = [
        "trainer.accelerator=cpu", "field.sdf.width=32", "field.sdf.depth=2", "field.sdf.skip=[]",
        "field.sdf.feature_size=8", "field.colour.width=16", "field.colour.depth=1", "data.sampler.rays=64",
        "steps=2", "trainer.log_every=1",
    ]  # fmt: skip
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        overrides = [masks_only, "method=masks_only", f"scene={scene}", *small]
        cfg = compose("train", overrides=overrides)
    cfg = config.settle(cfg, [])
    prepared = run.prepare(cfg, tmp_path / "run")
    assert prepared.system.objective.factor == 2.0 and prepared.system.objective.mask_weight == 100.0
    assert isinstance(prepared.system.objective, Objective)
    terms = prepared.system.losses(prepared.data.sampler(0), 0)
    assert isinstance(terms, StepTerms)
    torch.testing.assert_close(terms.shown["loss_silhouette"], 200.0 * terms.shown["loss_mask"])
    run.record(cfg, [], tmp_path / "run")
    assert stages.train(prepared)
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2"]
    for row in rows:
        assert float(row["loss_silhouette"]) == pytest.approx(200 * float(row["loss_mask"]), rel=1e-4)
