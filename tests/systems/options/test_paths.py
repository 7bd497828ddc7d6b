"""Paths among options: the user's home by its sign, and runs that can be resumed from another folder."""

import pytest
from omegaconf import OmegaConf

from recon.commands.command_line import hydra_arguments
from recon.errors import ConfigError
from recon.resources import CONF
from recon.systems import config
from recon.systems.options.paths import expand_paths, keep_paths
from recon.systems.options.schema import SCHEMAS, check
from recon.systems.pretraining import config as pretraining_config
from tests.support.runs import composed

config.register_resolvers()
pretraining_config.register_resolvers()
COMMANDS = sorted(path.stem for path in CONF.glob("[a-z]*.yaml"))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "my home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "my home"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_path_of_every_command_may_be_in_the_users_home(home, command):
    names = [name for name, rule in SCHEMAS[command].items() if rule.path]
    assert names
    tree = OmegaConf.create()
    for name in names:
        OmegaConf.update(tree, name, "~/here", force_add=True)
    expand_paths(tree, command)
    assert {OmegaConf.select(tree, name) for name in names} == {str(home / "here")}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_path_is_empty(command):
    for name, rule in SCHEMAS[command].items():
        for empty in ("", " ") if rule.path else ():
            with pytest.raises(ConfigError, match=f"^{name}={empty}: expected"):
                check(OmegaConf.create({name.partition(".")[0]: _nested(name, empty)}), command)


def _nested(name, value):
    parts = name.split(".")[1:]
    for part in reversed(parts):
        value = {part: value}
    return value


@pytest.mark.parametrize(
    ("typed", "option", "meant"),
    [
        ("out=~/heads", "out", "{home}/heads"),
        ("out='~/heads'", "out", "{home}/heads"),
        ("out=~", "out", "{home}"),
        ("out=a~b", None, None),
        ("pred=heads", "pred", "heads"),
        ("pred=3", "pred", "3"),
    ],
)
def test_a_home_that_the_shell_has_left_is_understood(home, typed, option, meant):
    arguments = hydra_arguments("evaluate", [typed])
    if option is None:
        assert arguments == [typed]  # Hydra's own to refuse
        return
    cfg = composed(*arguments, name="evaluate")
    expand_paths(cfg, "evaluate")
    assert cfg[option] == meant.format(home=home)


def test_lists_and_sweeps_of_paths_in_the_home(home):
    typed = ["prior.source_subject=[~/a,b,~/c d]", "-m", "scene=~/a,~/b"]
    listed, _, swept = hydra_arguments("train", typed)
    assert listed == f"prior.source_subject=['{home}/a',b,'{home}/c d']"
    assert swept == f"scene='{home}/a','{home}/b'"


def test_what_a_run_was_given_is_found_from_another_folder(home, tmp_path):
    for name in ("auto", "mine", "prior.safetensors"):
        (tmp_path / name).touch()
    cfg = OmegaConf.create(
        {"prior": {"source_subject": ["mine", "auto", "named"], "path": "prior.safetensors"}, "scene": "mine"}
    )
    keep_paths(cfg, "train", but=["scene"])
    assert cfg.prior.source_subject == [str(tmp_path / "mine"), "auto", "named"]
    assert (cfg.prior.path, cfg.scene) == (str(tmp_path / "prior.safetensors"), "mine")


def test_a_pretraining_keeps_its_data_wherever_it_is_resumed(home, tmp_path):
    (tmp_path / "samples").mkdir()
    given = hydra_arguments("pretrain", ["data=samples", "validation.scenes=~/scenes"])
    cfg = config.settle(composed(*given, name="pretrain"), [])
    assert cfg.data == str(tmp_path / "samples")
    assert cfg.validation.scenes == str(home / "scenes")
