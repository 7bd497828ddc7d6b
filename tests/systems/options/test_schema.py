"""Every option of every command has a rule: values that make no sense are one clear line before any work."""

import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from recon.errors import ConfigError
from recon.resources import CONF
from recon.systems import config
from recon.systems.options.rules import CENTRE, COUNT, FLAG, SEED, TEXT, VIEWS, list_of, number, one_of, whole
from recon.systems.options.schema import OPEN, SCHEMAS, check
from recon.systems.pretraining import config as pretraining_config
from tests.support.options import leaves
from tests.support.runs import ROOT, composed

config.register_resolvers()
pretraining_config.register_resolvers()
GROUPS = {
    "train": dict.fromkeys(["prior", "field", "renderer", "method", "trainer", "logger", "perception"]),
    "pretrain": {"prior_size": "size", "pretraining": "training", "logger": None},
    "photos": {"perception": None},
}
COMMANDS = sorted(path.stem for path in CONF.glob("[a-z]*.yaml"))


def names_of(command):
    """Full names of all options that a command line of a command may have."""
    found = list(leaves(CONF / f"{command}.yaml", ""))
    for group, package in GROUPS.get(command, {}).items():
        for path in (CONF / group).glob("*.yaml"):
            found += leaves(path, f"{package or group}.")
    if command == "train":
        found += leaves(CONF / "init/instant.yaml", "init.") + leaves(CONF / "prior/pca.yaml", "init.pca.")
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_rule(command):
    open_names = {name.removeprefix(f"{command}.") for name in OPEN}
    without = {
        name
        for name in names_of(command)
        if name not in SCHEMAS[command] and not any(f"{name}.".startswith(f"{each}.") for each in open_names)
    }
    assert without == set(), "give them a rule in recon/systems/options/schema.py"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("train", "pretrain")])
def test_defaults_pass(command):
    check(composed(name=command), command)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", ["method=instant", "method=idr preset=paper", "method=instant_grid init=instant", "method=baseh3dnet",
                "method=h3dnet field=hash renderer=cached preset=gpu trainer.accelerator=cpu",
                "method=instant_h3dnet logger=tensorboard", "perception=stand_in"],
)  # fmt: skip
def test_defaults_of_every_method_pass(options):
    check(composed(*options.split()), "train")


@pytest.mark.slow
@pytest.mark.parametrize(
    "choice", ["pretraining@training=deepsdf", "pretraining@training=pca", "prior_size@size=paper"]
)
def test_defaults_of_pretraining_pass(choice):
    check(composed("data=x", choice, name="pretrain"), "pretrain")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_rule_admits_what_cannot_be_meant(command):
    for name, rule in SCHEMAS[command].items():
        for nonsense in ({"a": 1}, "a\0b", ""):
            assert not rule.admits(nonsense), f"{name}={nonsense!r}"
        if "word" not in rule.words:
            for nonsense in (float("nan"), float("inf"), "abc", [{}]):
                assert not rule.admits(nonsense), f"{name}={nonsense!r}"
        if "number" in rule.words and "-inf" not in rule.words and "word" not in rule.words:
            assert not rule.admits(True), name


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (whole(1), [1, 10**12], [0, -1, 1.0, 1.5, "1", True, None]),
        (whole(1, 3) | None, [1, 3, None], [4, False]),
        (SEED, [0, 2**32 - 1], [-1, 2**32, "abc", None]),
        (number(0, above=True), [1, 1e-300], [0, 0.0, -1, float("inf"), float("nan"), "1"]),
        (number(0, 1, below=True), [0, 0.999], [1, 1.0]),
        (FLAG, [True, False], [0, 1, "true", "yes", None]),
        (one_of("a", 2), ["a", 2], ["b", 2.0, "2", True]),
        (TEXT, ["a", 3, 1.5, " x"], ["", " ", True, None, [], "a\0"]),
        (list_of(COUNT, 2), [[1, 2]], [[1], [1, 2, 3], "12", [1, 0], None, 3]),
        (VIEWS, [1, 3, [0], [0, 18, 65], None], [0, True, 1.7, [1.7, 9], [None, 9], [True], ["a"], [], [[0, 5]], "3"]),
        (CENTRE, [None, 0, 0.0, 0.5], [1, False, "0.5", 50]),
        (COUNT | list_of(COUNT), [1, [1, 2], []], [0, [0], "a"]),
    ],
)  # fmt: skip
def test_rules(rule, good, bad):
    assert [value for value in good if not rule.admits(value)] == []
    assert [value for value in bad if rule.admits(value)] == []


def test_the_line_says_option_value_and_what_was_expected():
    for value, shown in (("abc", "abc"), (None, "null"), (True, "true"), ([1, 2], "[1, 2]")):
        with pytest.raises(ConfigError) as caught:
            check(OmegaConf.create({"clip_mm": value}), "evaluate")
        assert str(caught.value) == f"clip_mm={shown}: expected a number above 0"


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("pretrain", "seed=abc"), ("pretrain", "max_steps=-5"), ("pretrain", "size.steps=0"), ("pretrain", "pool=0"),
        ("pretrain", "pca.share=1"), ("pretrain", "trainer.threads=-3"), ("pretrain", "size.rates.betas=[0.9]"),
    ],
)  # fmt: skip
def test_values_of_pretraining_are_refused_before_any_work(command, option):
    cfg = composed("data=nowhere", option, name=command)
    with pytest.raises(ConfigError, match=option.partition("=")[0]):
        pretraining_config.settle(cfg, [option])


@pytest.mark.parametrize(
    "option", ["method.steps=-1", "field.colour.width=abc", "renderer.chunk=0", "prior.sha256=true",
               "method.objective.alpha=-1", "prior.solver.cameras=maybe", "trainer.precision=8", "scene=''",
               "mesh.resolution=1000000", "seed=-1", "prior.sdf_offset=perhaps", "focal_mm=nan"],
)  # fmt: skip
def test_values_of_groups_are_refused_too(option):
    with pytest.raises(ConfigError, match=option.partition("=")[0].replace(".", r"\.")):
        config.settle(composed(option), [option])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "arguments", "named"),
    [("make_scenes", ["out=s", "size=abc"], "size=abc: expected"), ("evaluate", ["pred=x", "clip_mm=0"], "clip_mm=0: "),
     ("make_samples", ["wide=2"], "wide=2: expected"), ("benchmark", ["views=[0]"], "views=[0]: expected")],
)  # fmt: skip
def test_commands_end_with_one_line(tmp_path, program, arguments, named):
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / f"{program}.py"), *arguments],
        capture_output=True, text=True, cwd=tmp_path, timeout=300,
    )  # fmt: skip
    assert result.returncode == 1 and named in result.stderr and "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 and list(tmp_path.iterdir()) == []
