"""The config.yaml of a run folder may come from a stranger: nothing of it is built but classes of the registry."""

import subprocess
import sys

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from recon.errors import ConfigError, PriorError
from recon.priors.source_subjects import load_source_subject, source_subject_of_run
from recon.systems import config, run
from recon.systems.options.stored import override, read_config
from tests.support import ellipsoid
from tests.support.runs import ROOT, TINY, composed, configured

PROOF = "proof"
EXPLOITS = {
    "prior": {
        "_target_": "recon.scene.camera.np.testing.runstring",
        "astr": "open('proof', 'w')",
        "dict": {},
    },
    "renderer": {"_target_": "recon.files.Path.write_text", "self": "proof", "data": "x"},
    "method.objective": {"_target_": "recon.files.os.system", "command": "touch proof"},
    "logger": {"loggers": [{"_target_": "recon.systems.config.os.system", "command": "touch proof"}]},
    "field.sdf": {"_target_": "recon.priors.weights.torch.load", "f": "weights.pt", "weights_only": False},
    "perception.detector": {"_target_": "recon.fields.SDFNetwork", "_args_": [1]},
    "data.sampler": {"_target_": "recon.rendering.SceneSampler", "_partial_": True},
    "init": {"x": {"_target_": "builtins.exec"}},
    "scenes": {"x": "${oc.env:HOME}"},
    "masks": "${oc.decode:${oc.env:HOME}}",
    "trainer": {"precision": "${hydra:runtime.cwd}"},
}


@pytest.fixture
def folder(tmp_path):
    """A run folder as `record` writes it."""
    scene = ellipsoid.write_idr_scene(tmp_path / "scene", 4)
    cfg, folder = configured(scene, tmp_path / "run", *TINY)
    run.record(cfg, [], folder)
    return folder


def with_exploit(folder, place):
    content = yaml.safe_load((folder / "config.yaml").read_text())
    *parents, last = place.split(".")
    node = content
    for name in parents:
        node = node[name]
    node[last] = EXPLOITS[place]
    (folder / "config.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.parametrize("place", EXPLOITS)
def test_a_strangers_run_folder_is_refused_before_anything_is_built(folder, place, monkeypatch):
    monkeypatch.chdir(folder)
    read_config(folder / "config.yaml")  # as it was written it is fine
    with_exploit(folder, place)
    with pytest.raises(ConfigError, match=r"refusing|plain values") as caught:
        config.settle(composed(f"resume={folder}"), [f"resume={folder}"])
    assert "config.yaml" in str(caught.value) and "\n" not in str(caught.value)
    assert not (folder / PROOF).exists()


@pytest.mark.slow
def test_no_code_of_a_strangers_run_folder_runs_through_the_command(folder):
    with_exploit(folder, "prior")
    result = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), f"resume={folder}"],
        capture_output=True, text=True, cwd=folder, timeout=300,
    )  # fmt: skip
    assert result.returncode == 1 and "refusing to build" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr and not (folder / PROOF).exists()


@pytest.mark.parametrize("place", ["field.sdf", "scenes"])
def test_a_strangers_source_subject_is_refused(folder, place):
    (folder / "checkpoints").mkdir()
    torch.save(
        {"state_dict": {}, "global_step": 1, "optimizer_states": [{"state": {}, "param_groups": []}]},
        folder / "checkpoints/last.ckpt",
    )
    with_exploit(folder, place)
    with pytest.raises(PriorError, match=r"expected one of recon\.fields|plain values"):
        source_subject_of_run(folder)
    with pytest.raises(PriorError):
        load_source_subject(folder)


@pytest.mark.parametrize("text", ["", "3", "[1, 2]", "a b c", "1: x\n2: y\n"])
def test_what_is_no_mapping_of_options_is_refused(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        config.settle(composed(f"resume={tmp_path}"), [])


def test_overrides_have_hydras_grammar():
    stored = OmegaConf.create({"rate": 0.1, "views": 3, "name": "x", "group": {"a": 1}})
    OmegaConf.set_struct(stored, True)
    override(stored, ["rate=1e-3", "views=[1,2]", "name='a b'", "group.a=null", "+new=2", "hydra.run.dir=x"])
    assert stored == {"rate": 1e-3, "views": [1, 2], "name": "a b", "group": {"a": None}, "new": 2}
    for text, named in (
        ("nome=3", "nome"),
        ("group=x", "keeps its group"),
        ("views=1,2", "one value"),
        ("a[=", "a"),
    ):
        with pytest.raises(ConfigError, match=named):
            override(stored, [text])


def test_a_method_to_fall_back_to_is_a_choice_not_a_path(tmp_path):
    (tmp_path / "evil.yaml").write_text("name: evil\n")
    cfg = config.settle(composed("method=idr"), [])
    with pytest.raises(ConfigError, match="fallback="):
        config.without_prior(cfg, f"../../../../../../{tmp_path}/evil")


@pytest.mark.parametrize(
    "line", ["trainer: 3", "trainer: {}", "method: null", "renderer: [1]", "prior: text"]
)
def test_a_stored_configuration_that_is_not_whole_is_named(folder, line):
    content = yaml.safe_load((folder / "config.yaml").read_text()) | yaml.safe_load(line)
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=line.partition(":")[0]):
        config.settle(composed(f"resume={folder}"), [f"resume={folder}"])


def test_loggers_of_a_strangers_run_folder_write_into_it(folder, tmp_path, caplog):
    content = yaml.safe_load((folder / "config.yaml").read_text())
    targets = [f"pytorch_lightning.loggers.{name}" for name in ("TensorBoardLogger", "WandbLogger")]
    content["logger"] = {"loggers": [{"_target_": target, "save_dir": "/etc/x"} for target in targets]}
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    cfg = config.settle(composed(f"resume={folder}"), [f"resume={folder}"])
    assert [each.save_dir for each in cfg.logger.loggers] == [str(folder / "tensorboard"), str(folder)]
    assert "/etc/x" in caplog.text
    moved = [f"resume={folder}", f"logger.loggers=[{{_target_: {targets[0]}, save_dir: {tmp_path}}}]"]
    assert config.settle(composed(f"resume={folder}"), moved).logger.loggers[0].save_dir == str(tmp_path)
