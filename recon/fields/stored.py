"""Modules for states that are stored in files: what their arguments claim is held against the shapes of the tensors
before memory is taken for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from recon.reading import integer, listed, number, numbers, shortened, table

ModuleT = TypeVar("ModuleT", bound=nn.Module)
Shapes = Mapping[str, Sequence[int]]

MOST = {"depth": 64, "octaves": 32, "view_octaves": 32, "levels": 64}
"""Highest values of arguments that decide how many parts a module has."""
LARGEST = 1 << 24
"""Highest value of any other whole number among arguments."""
LONGEST, DEEPEST = 1000, 6
"""Most values of a list, and most lists in each other, among arguments."""


def check_arguments(arguments: Any, what: str = "arguments", depth: int = 0) -> dict[str, Any]:
    """The arguments of a module as a file has them, with no number beyond what a module of this project can have.

    Raises:
        ValueError: They are something else.
    """
    for name, value in table(arguments, what).items():
        _check_value(value, shortened(name, 40), depth)
    return dict(arguments)


def _check_value(value: Any, name: str, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError("arguments are nested too deeply")
    if isinstance(value, dict):
        check_arguments(value, name, depth + 1)
    elif isinstance(value, list):
        for each in listed(value, name, LONGEST):
            _check_value(each, name, depth + 1)
    elif isinstance(value, int) and not isinstance(value, bool):
        integer(value, name, -LARGEST, MOST.get(name, LARGEST))
    elif isinstance(value, float):
        number(value, name)


class Budget(TorchFunctionMode):
    """A mode in which new tensors may have so many numbers together, and no more.

    Args:
        most: Of numbers.
        exceeded: What the error says.
    """

    def __init__(self, most: int, exceeded: str) -> None:
        super().__init__()
        self.left, self.exceeded = most, exceeded

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of PyTorch; before one that makes a tensor the size is looked at.

        Raises:
            ValueError: There is no more to be had.
        """
        kwargs = kwargs or {}
        if func in FACTORIES:
            sizes = kwargs.get("size", args[0] if args and isinstance(args[0], tuple | list) else args)
            self.left -= math.prod(size for size in sizes if isinstance(size, int))
            if self.left < 0:
                raise ValueError(self.exceeded)
        return func(*args, **kwargs)


FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.arange}
"""Functions that make a tensor of a size."""
SHARE, ALLOWANCE = 4, 1 << 18
"""Numbers that the making of a module may take for each that is stored, and beyond that."""


def made_to_fit(make: Callable[..., ModuleT], arguments: Mapping[str, Any], shapes: Shapes) -> ModuleT:
    """The module of some arguments, given up while it is made where it is larger than the stored one.

    Args:
        make: Class of the module.
        arguments: As they stand in a file.
        shapes: Shapes of the stored tensors by name.

    Raises:
        ValueError: The arguments are no arguments, or make another module than the stored one.
        Exception: As the class raises them.
    """
    checked = check_arguments(arguments)
    most = SHARE * sum(map(math.prod, shapes.values())) + ALLOWANCE
    with Budget(most, "its arguments describe more numbers than it holds"):
        module = make(**checked)
    check_shapes(shapes_of(module.state_dict()), shapes)
    return module


def check_shapes(expected: Shapes, stored: Shapes) -> None:
    """Check that tensors of some shapes are stored, and no others.

    Raises:
        ValueError: They are not; the message names the first that differs.
    """
    for name in {**expected, **stored}:
        own, found = expected.get(name), stored.get(name)
        if own is None or found is None or tuple(own) != tuple(found):
            raise ValueError(
                f"its tensor {shortened(name, 60)} has shape {found and tuple(found)}, its arguments make "
                f"{own and tuple(own)}"
            )


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Check that tensors hold finite numbers.

    Raises:
        ValueError: One does not; the message names it.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"its tensor {shortened(name, 60)} holds numbers that are not finite")


def lattice_nodes(arguments: Any, what: str) -> int:
    """Number of values of the lattice that `low`, `high` and `cells` of some arguments describe.

    Raises:
        ValueError: They describe none.
    """
    lattice = table(arguments, what)
    low, high = (numbers(lattice.get(name), (3,), f"{name} of {what}") for name in ("low", "high"))
    if not (high > low).all():
        raise ValueError(f"{what} has no extent")
    cells = listed(lattice.get("cells"), f"cells of {what}", 3)
    if len(cells) != 3:
        raise ValueError(f"cells of {what} must be three numbers")
    return math.prod(integer(count, f"cells of {what}", 1, 4096) + 2 for count in cells)


def check_deformation(arguments: Any, shapes: Shapes, prefix: str = "") -> None:
    """Check that the arguments of a `Deformation` make the tensors that are stored.

    Args:
        arguments: Those of `identity` and `expression`.
        shapes: Shapes of the stored tensors by name.
        prefix: Beginning of their names.

    Raises:
        ValueError: They do not.
    """
    lattices = table(arguments, "deformation")
    for name in ("identity", "expression"):
        nodes = lattice_nodes(lattices.get(name), name)
        modes = integer(lattices[name].get("modes"), f"modes of {name}", 1, 100_000)
        rows = {"rows": (nodes, 3 * modes)}
        check_shapes(rows, {"rows": shapes.get(f"{prefix}{name}.rows", ())})
