import pytest
import torch
from omegaconf import OmegaConf

from recon.errors import ConfigError
from recon.systems.options.building import build, check_targets
from tests.support.runs import composed


def part(**content):
    return OmegaConf.create(content)


@pytest.mark.parametrize(
    "target", ["os.system", "logging.os.system", "reconx.evil", "builtins.eval", "recon.nowhere.Thing",
               "recon.scene.camera.np.testing.runstring", "recon.priors.weights.torch.load",
               "recon.files.Path.write_text", "pytorch_lightning.loggers.base.os.system",
               "pytorch_lightning.loggers.csv_logs.CSVLogger", "", None, 3],
)  # fmt: skip
def test_only_classes_of_the_registry_are_built(target):
    with pytest.raises(ConfigError, match="refusing to build"):
        build(part(_target_=target))
    with pytest.raises(ConfigError, match="refusing to build"):  # nor as a part of another
        build(part(_target_="recon.fields.GridFeature", grid={"_target_": target}, feature_size=4))
    with pytest.raises(ConfigError, match="refusing to build"):
        check_targets(part(a=[{"b": {"_target_": target}}]))


@pytest.mark.parametrize("name", ["_args_", "_convert_", "_partial_", "_recursive_", "_x"])
def test_hydras_own_arguments_are_refused(name):
    with pytest.raises(ConfigError, match=name):
        build(part(_target_="recon.rendering.TracingSettings", **{name: []}))
    with pytest.raises(ConfigError, match=name):
        check_targets(part(settings={name: []}))


def test_a_place_takes_its_own_kind():
    with pytest.raises(ConfigError, match="a class of recon that is a prior"):
        build(part(_target_="recon.rendering.TracingSettings"), kind="prior")
    with pytest.raises(ConfigError, match="TensorBoardLogger"):
        build(part(_target_="recon.rendering.TracingSettings"), kind="logger")
    assert build(composed().renderer, kind="renderer").steps == 10


def test_arguments_that_a_class_does_not_take_are_one_clear_error():
    with pytest.raises(ConfigError, match=r"recon\.rendering\.TracingSettings: .*'stpes'"):
        build(part(_target_="recon.rendering.TracingSettings", stpes=3))


def test_a_missing_value_is_named():
    with pytest.raises(ConfigError, match="path"):
        build(part(_target_="recon.perception.onnx.OnnxPersonSegmenter", path="???"))


def test_parts_are_built_first_and_lists_are_plain():
    feature = build(
        part(
            _target_="recon.fields.GridFeature",
            grid={
                "_target_": "recon.fields.HashGrid",
                "levels": 2, "features": 2, "log2_size": 6, "coarsest": 2, "finest": 4,
            },
            feature_size=3,
        )
    )  # fmt: skip
    assert isinstance(feature, torch.nn.Module) and type(feature.grid).__name__ == "HashGrid"
    objective = build(
        part(alpha_milestones=[0.1]), default="recon.systems.objective.Objective", kind="objective"
    )
    assert type(objective.alpha_milestones) is list and objective.alpha_milestones == [0.1]


@pytest.mark.parametrize(
    "given", [{"settings": {"base_url": "https://elsewhere"}}, {"host": "x"}, {"dir": "/"}, {"log_model": True},
              {"name": "../../x"}, {"name": "/etc"}, {"version": "a/b"}],
)  # fmt: skip
def test_loggers_take_no_arguments_that_lead_elsewhere(given):
    with pytest.raises(ConfigError, match=next(iter(given))):
        build(part(_target_="pytorch_lightning.loggers.WandbLogger", **given), kind="logger")


def test_missing_logger_package_names_the_install_command(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "wandb", None)
    import pytorch_lightning.loggers.wandb as module

    monkeypatch.setattr(module, "_WANDB_AVAILABLE", False)
    cfg = part(_target_="pytorch_lightning.loggers.WandbLogger")
    with pytest.raises(ConfigError, match=r"headrecon\[wandb\]"):
        build(cfg)
