"""A prior is one file and one yaml, and so is its training: here a ball whose radius is the mean of a list of radii."""

import pytest
import torch
import yaml

from recon.systems import config, run
from recon.systems.pretraining import config as pretraining_config
from tests.support import ellipsoid
from tests.support.runs import SMALL, composed
from tests.support.seams import add_module, add_yaml

config.register_resolvers()
pretraining_config.register_resolvers()

TRAINING = """
import json
from pathlib import Path

from recon.errors import PriorError


class BallTraining:
    name = "ball"

    def check(self, cfg):
        pass

    def run(self, cfg, folder, record):
        radii = json.loads(Path(cfg.data).read_text())
        if not radii:
            raise PriorError(f"{cfg.data}: no radii")
        record()
        (folder / "ball.json").write_text(json.dumps(sum(radii) / len(radii)))
        return True
"""
TRAINING_YAML = "_target_: recon.systems.pretraining.ball.BallTraining\n"
PRIOR = """
import json
from pathlib import Path

import torch
from torch import nn

from recon.fields import Field, FieldSample
from recon.priors.prior import Start


class Ball(Field):
    def __init__(self, radius, feature_size):
        super().__init__()
        self.radius, self.feature_size = nn.Parameter(torch.tensor(radius)), feature_size

    def sdf(self, points):
        return points.norm(dim=-1) - self.radius

    def forward(self, points):
        return FieldSample(self.sdf(points), points.new_zeros(len(points), self.feature_size))


class BallPrior:
    def __init__(self, path, feature_size):
        self.radius, self.feature_size = json.loads(Path(path).read_text()), feature_size

    def starts(self, networks, observations, fitted=None):
        return {"ball": Start(Ball(self.radius, self.feature_size), networks.colour(), life_size=1.5)}
"""
PRIOR_YAML = """
_target_: recon.priors.ball.BallPrior
path: ???
feature_size: ${field.sdf.feature_size}
"""


@pytest.fixture
def found(tmp_path, monkeypatch):
    """The override with which Hydra finds the new yamls, while the two new modules can be imported."""
    add_module(monkeypatch, "recon.systems.pretraining.ball", TRAINING)
    add_module(monkeypatch, "recon.priors.ball", PRIOR)
    add_yaml(tmp_path, "pretraining", "ball", TRAINING_YAML)
    return add_yaml(tmp_path, "prior", "ball", PRIOR_YAML)


def pretrained(folder, found, radii):
    """The folder in which the command's steps leave a prior."""
    folder.mkdir()
    (folder / "radii.json").write_text(radii)
    cfg = composed(found, "pretraining@training=ball", f"data={folder / 'radii.json'}", name="pretrain")
    cfg = pretraining_config.settle(cfg, [])
    training = config.build(cfg.training)
    assert training.run(cfg, folder, lambda: run.record(cfg, [], folder))
    return folder


def test_a_prior_of_ones_own_is_trained_and_then_begun_with(tmp_path, found):
    folder = pretrained(tmp_path / "prior", found, "[0.3, 0.5]")
    assert yaml.safe_load((folder / "config.yaml").read_text())["training"] == {
        "_target_": "recon.systems.pretraining.ball.BallTraining"
    }
    scene = ellipsoid.write_idr_scene(tmp_path / "scene", 3)
    options = ["prior=ball", f"prior.path={folder / 'ball.json'}", f"scene={scene}", "views=2", "steps=2"]
    cfg = config.settle(composed(found, *SMALL, *options), [])
    prepared = run.prepare(cfg, tmp_path / "run")
    assert prepared.start_name == "ball" and prepared.start.life_size == 1.5
    points = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    torch.testing.assert_close(prepared.system.sdf.sdf(points), torch.tensor([-0.4, 0.6]))
    assert "sdf.radius" in dict(prepared.system.named_parameters())  # it learns as any field does


def test_an_unknown_prior_is_refused_with_those_that_are_known(tmp_path, found):
    with pytest.raises(Exception, match="ball") as error:
        composed(found, "prior=bull")
    assert "sphere" in str(error.value)
