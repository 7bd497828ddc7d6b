"""Paths among the options of a command: `~` is the user's home, whoever has put it there, and a run keeps paths that
mean the same from every folder.
"""

import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recon.systems.options.schema import SCHEMAS, values

NAMES = ("auto", "alpha", "demo")
"""Values of options for paths that are words of ours, whatever lies in the present folder."""


def expand_paths(cfg: DictConfig, command: str) -> None:
    """Put the user's home in place of `~` in all options that are paths.

    Args:
        cfg: Checked configuration, which is changed.
        command: Key of `SCHEMAS`.
    """
    _change(cfg, command, lambda path: os.path.expanduser(str(path)))


def keep_paths(cfg: DictConfig, command: str, but: Collection[str] = ()) -> None:
    """Make paths of files and folders that are there absolute, so that a run can be resumed from anywhere.

    Args:
        cfg: Resolved configuration, which is changed.
        command: Key of `SCHEMAS`.
        but: Options that may be something else, whatever there is of their name.
    """
    _change(cfg, command, absolute, but)


def absolute(place: Any) -> Any:
    """An existing file or folder as an absolute path; anything else, such as a name or an id, as it is."""
    if place is None or str(place) in NAMES:
        return place
    path = Path(os.path.expanduser(str(place)))
    return str(path.absolute()) if path.exists() else place


def with_home(value: str, quoted: Callable[[str], str]) -> str:
    """The value of an option as typed, `~` replaced as shells do, some of them only before a word: in `out=~/x` and
    `files=[~/a,~/b]`. Hydra's grammar has no `~`.

    Args:
        value: As typed.
        quoted: Puts a text into quotes.
    """
    if "'" in value or '"' in value:
        return value
    return re.sub(r"(?<![^\[,])~[^,\]]*", lambda found: quoted(os.path.expanduser(found[0])), value)


def _change(cfg: DictConfig, command: str, change: Callable[[Any], Any], but: Collection[str] = ()) -> None:
    rules = {name: rule for name, rule in SCHEMAS[command].items() if rule.path and name not in but}
    for name, value in list(values(cfg, rules)):
        if isinstance(value, list):
            changed: Any = [change(each) for each in value]
        else:
            changed = None if value is None else change(value)
        if changed != value:
            OmegaConf.update(cfg, name, changed)
