"""Flags from before key=value: what they become, and that one warning says it."""

import shlex
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from recon.commands.old_flags import EXPORT_SCENE, VALIDATE, replace_flags, translated


@pytest.mark.parametrize(
    ("flags", "old", "new"),
    [
        (VALIDATE, "heads/anna", "scene=heads/anna"),
        (VALIDATE, "heads/anna views=3 --sheet s.png", "scene=heads/anna views=3 sheet=s.png"),
        (VALIDATE, "--sheet=s.png heads/anna [0,1]", "sheet=s.png scene=heads/anna views=[0,1]"),
        (
            EXPORT_SCENE,
            "1b2a8613401e42a8 --h3ds-root /data --format colmap --out o --unit --pixel-centre 0.5",
            "scene=1b2a8613401e42a8 h3ds_root=/data format=colmap out=o unit=true pixel_centre=0.5",
        ),
        (VALIDATE, "scene=heads/anna views=3 sheet=s.png", "scene=heads/anna views=3 sheet=s.png"),
        (VALIDATE, "scene=demo --cfg job", "scene=demo --cfg job"),
    ],
)
def test_flags_become_options(flags, old, new):
    assert translated(shlex.split(old), flags) == shlex.split(new)


@pytest.mark.parametrize("path", ["my heads/anna", "a,b", "it's", "(new)", "back\\slash", "head=1/anna's"])
def test_paths_of_any_letters_reach_hydra(path):
    (option,) = translated(["--sheet", path], VALIDATE)
    assert OverridesParser.create().parse_overrides([option])[0].value() == path


def test_one_warning_says_the_new_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["validate_scene.py", "my heads/anna", "--sheet", "s.png"])
    replace_flags("headrecon-validate", VALIDATE)
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "headrecon-validate" in told and "sheet=s.png" in told
    replace_flags("headrecon-validate", VALIDATE)
    assert capsys.readouterr().err == ""
