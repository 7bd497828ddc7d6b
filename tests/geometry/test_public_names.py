"""Rooms that import their public names on first use say the same to type checkers and at run time."""

import ast
from pathlib import Path

import pytest

import recon.geometry
import recon.synth


@pytest.mark.parametrize("room", [recon.geometry, recon.synth])
def test_lazy_names_are_those_of_the_type_checker(room):
    tree = ast.parse(Path(room.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {(node.module, alias.name) for node in block.body for alias in node.names}
    assert typed == {(f"{room.__name__}.{module}", name) for name, module in room._MODULES.items()}
    assert all(getattr(room, name) is not None for name in room.__all__)
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = room.nothing_of_this_name
