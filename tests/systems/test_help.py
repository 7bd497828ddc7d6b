"""What --help says: every option of the groups that a command line chooses, with the value that it gives them."""

import functools
import subprocess
import sys

import pytest

from recon.errors import ConfigError
from recon.resources import CONF
from recon.systems.help import option_help, options, refusal
from tests.support.options import leaves

CHOICES = {
    "prior": "pca",
    "method": "instant",
    "field": "hash_appearance",
    "renderer": "sphere_tracing",
    "trainer": "default",
    "logger": "csv",
}


@functools.cache
def values(name, *overrides):
    """Options and chosen groups with their values as shown."""
    lines = (line.strip().split("  ")[0] for line in option_help(name, overrides).splitlines()[3:])
    return dict(line.split("=", 1) for line in lines if "=" in line)


def shown(name, option, *overrides):
    return values(name, *overrides)[option]


def test_every_option_is_explained():
    text = option_help("train")
    files = {"": CONF / "train.yaml"}
    for group, choice in CHOICES.items():
        files[f"{group}."] = CONF / group / f"{choice}.yaml"
    expected = [name for prefix, path in files.items() for name in leaves(path, prefix)]
    explained = {
        name: comment for prefix, path in files.items() for name, _, comment in options(path, prefix)
    }
    assert len(expected) > 40
    for name in expected:
        assert explained.get(name), f"{name} has no comment in conf/"
        assert f"\n  {name}=" in text and explained[name] in text
    assert "\n  method.objective.alpha=" in text  # of the method that it builds on


@pytest.mark.parametrize("path", sorted(CONF.glob("[a-z]*.yaml")), ids=lambda path: path.stem)
def test_every_command_explains_its_options(path):
    text = option_help(path.stem)
    comments = {name: comment for name, _, comment in options(path)}
    for name in leaves(path, ""):
        assert comments.get(name), f"{name} of {path.name} has no comment"
        assert f"\n  {name}=" in text


@pytest.mark.parametrize("path", sorted(CONF.glob("[a-z]*.yaml")), ids=lambda path: path.stem)
def test_no_option_has_the_name_of_a_group_of_choices(path):
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir()}
    values = {name for name, value, _ in options(path) if value}
    assert not values & groups, "Hydra takes NAME=value for a choice of that group, and refuses every value"


@pytest.mark.slow
def test_values_are_those_of_the_method_that_is_chosen():
    cpu = ("method=idr", "preset=cpu")
    assert shown("train", "prior", *cpu) == "sphere"
    assert shown("train", "method.steps", *cpu) == "900"
    assert shown("train", "method.steps", "method=idr", "preset=paper") == "0"
    assert shown("train", "method.objective.alpha", *cpu) == "50.0"
    assert "[900 / 3000 / 0]" in option_help("train", cpu)
    assert "prior.path" not in values("train", *cpu) and "prior.path" in values("train")


def test_values_are_those_of_the_command_line():
    given = ("field.sdf.skip=[1,2]", "steps=7", "method.objective.learning_rate=0.5", "method=idr")
    assert shown("train", "field.sdf.skip", *given) == "[1, 2]"
    assert shown("train", "steps", *given) == "7"
    assert shown("train", "method.objective.learning_rate", *given) == "0.5"
    assert shown("train", "field.colour.mode", "method.colour_mode=no_normal") == "no_normal"


def test_groups_that_a_choice_brings_along_follow_it():
    text = option_help("train", ["method=idr", "init=instant"])
    assert text.index("\ninit=instant") < text.index("\ninit.pca=pca") < text.index("\nfield=mlp")
    assert "\n  init.pca.path=" in text


def test_a_refined_run_shows_the_refined_method():
    assert shown("train", "method.name", "refine=true") == "instant+h3dnet"
    assert shown("train", "init.pca.sha256", "refine=true", "prior.sha256=abc") == "abc"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.stps=3", "method.stps: there is no such option"),
        ("method=idrr", "method=idrr: there is no such choice; choose baseh3dnet, h3dnet, idr"),
        ("preset=laptop", "laptop"),
        ("trainer.accelerator=tpu", "tpu"),
        ("steps", "steps"),
    ],
)
def test_what_is_unknown_is_one_clear_line(override, message):
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")) as caught:
        option_help("train", [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("command", "typed", "line"),
    [
        ("train", "vews=3", "vews: there is no such option; the nearest: views"),
        ("train", "metod=idr", "metod: there is no such option; the nearest: method"),
        ("train", "rays=64", "rays: there is no such option; the nearest: data.sampler.rays"),
        ("train", "zzz=1", "zzz: there is no such option; --help alone lists"),
        (
            "train",
            "prior.source_subject=a",
            "prior.source_subject: an option of prior=pretrained_epoch alone",
        ),
        ("train", "logger=disk", "logger=disk: there is no such choice; choose csv, tensorboard, wandb"),
        ("train", "preset=fast", "preset=fast: choose auto, cpu, gpu, paper"),
        ("train", "my_photos/", "my_photos/: options are key=value, such as scene=my_photos/"),
        ("train", "scene=me (1)", "scene=me (1): the value of scene= cannot be read"),
        ("pretrain", "prior_size@size=huge", "size=huge: there is no such choice; choose paper, small"),
        ("evaluate", "prd=runs", "prd: there is no such option; the nearest: pred"),
    ],
)
def test_a_slip_of_the_pen_is_answered_with_what_there_is(command, typed, line):
    with pytest.raises(ConfigError) as caught:
        option_help(command, [typed])
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


def test_a_bug_is_not_the_command_lines():
    assert refusal(ValueError("a bug"), "train", ["views=3"]) is None
    bug = KeyError("a bug")
    bug.__context__ = ConfigError("seen and dealt with")
    assert refusal(bug, "train", ["views=3"]) is None
    assert refusal(ConfigError("views=0: expected more"), "train", ["views=0"]) == "views=0: expected more"


def test_no_torch_is_needed_where_there_is_no_gpu():
    code = """
import sys
from pathlib import Path
import recon.systems.resolvers as resolvers
resolvers.GPU_DEVICES = ()
from recon.systems.help import option_help
option_help("train", ["method=idr"])
assert sys.platform != "linux" or "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
