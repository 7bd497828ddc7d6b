"""Command lines of scripts/ from before every option was key=value: `PATH [views=3] --sheet FILE`."""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence

from recon.commands.command_line import quoted

FLAGS = {"--h3ds-root": "h3ds_root", "--pixel-centre": "pixel_centre"}
VALIDATE = FLAGS | {"--sheet": "sheet"}
EXPORT_SCENE = FLAGS | {"--format": "format", "--out": "out", "--unit": "unit"}
SWITCHES = ("--unit",)
"""Flags without a value."""


def replace_flags(command: str, flags: Mapping[str, str]) -> None:
    """Put key=value in place of flags and of what stands alone in `sys.argv`, with a warning that says the new line.

    Args:
        command: name of the command that takes them.
        flags: option that each flag became.
    """
    found = translated(sys.argv[1:], flags)
    if found != sys.argv[1:]:
        line = shlex.join([command, *found])
        print(f"warning: options are key=value by now, flags will go; the same is: {line}", file=sys.stderr)
        sys.argv[1:] = found


def translated(arguments: Sequence[str], flags: Mapping[str, str]) -> list[str]:
    """Arguments with key=value instead of flags, of the path and of the views that may follow it.

    Args:
        arguments: as typed.
        flags: option that each flag became.
    """
    new_style = any(argument.startswith("scene=") for argument in arguments)
    names = iter(() if new_style else ("scene", "views"))
    rest, found = iter(arguments), []
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if flag in SWITCHES:
            found.append(f"{flags.get(flag, flag)}=true")
        elif flag in flags:
            found.append(f"{flags[flag]}={_word(value if equals else next(rest, 'null'))}")
        elif argument.startswith("-") or re.match(r"[+~\w.@/]+=", argument):
            found.append(argument)
        else:
            name = next(names, None)
            found.append(f"{name}={_word(argument)}" if name else argument)
    return found


def _word(text: str) -> str:
    """A value in Hydra's grammar: quoted where it is neither a plain word nor a list."""
    if re.fullmatch(r"[\w./:@%+-]+|\[[\w, ]*\]", text):
        return text
    return quoted(text)
