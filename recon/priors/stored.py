"""Checks of linear shape models in files: what their arguments claim, against the tensors that are there."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from recon.fields.stored import Shapes, check_deformation, check_shapes, lattice_nodes
from recon.priors.pca.codec import SIDE
from recon.reading import integer, listed, table, text

MOST_LATENT, MOST_POINTS = 65_536, 1_000_000
"""Longest code, and most landmarks or face points."""
RATIO, ALLOWANCE = 2000, 1 << 20
"""Bytes that a compressed model may take for each byte of its file, and beyond that; the shipped one needs 130."""


def _latent_and_landmarks(arguments: Mapping[str, Any]) -> tuple[int, int]:
    latent = integer(arguments.get("latent_size"), "latent_size", 1, MOST_LATENT)
    names = [text(name, "a landmark") for name in listed(arguments.get("landmarks", []), "landmarks")]
    return latent, len(names)


def _brightness_shapes(arguments: Mapping[str, Any], latent: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of the brightness model; none where there is none."""
    sizes = listed(arguments.get("brightness_model", (0, 0, 0)), "brightness_model", 3)
    if len(sizes) != 3:
        raise ValueError("brightness_model must be three numbers")
    points, levels, components = (integer(size, "brightness_model", 0, MOST_POINTS) for size in sizes)
    if not points:
        return {}
    return {
        "brightness_places": (points, 3),
        "brightness_basis": (points, 3, latent),
        "brightness_blurs": (levels,),
        "brightness_mean": (levels, points),
        "brightness_components": (levels, points, components),
        "brightness_by_code": (levels, components, latent),
        "brightness_sigma": (levels, points),
    }


def _check_components(arguments: Mapping[str, Any], latent: int) -> None:
    """Check which components of the code deform space: as many as the deformation has modes."""
    deformation = table(arguments["deformation"], "deformation")
    chosen = [
        integer(number, "components", 0, latent - 1)
        for number in listed(deformation.get("components"), "components")
    ]
    modes = sum(
        integer(table(deformation[name], name).get("modes"), f"modes of {name}", 1, latent)
        for name in ("identity", "expression")
    )
    if len(set(chosen)) != len(chosen) or len(chosen) != modes:
        raise ValueError(f"deformation has {len(chosen)} components for {modes} modes")


def check_decoded(arguments: Mapping[str, Any], shapes: Shapes) -> None:
    """Check that the arguments of a `PCAShapeModel` make the state that is stored.

    Args:
        arguments: Arguments of the shape model.
        shapes: Shapes of the tensors of its state by name.

    Raises:
        ValueError: They do not.
        KeyError: A part is not described.
    """
    latent, landmarks = _latent_and_landmarks(arguments)
    nodes = lattice_nodes(arguments, "the lattice")
    band = integer(arguments.get("band"), "band", 1, nodes)
    expected: dict[str, tuple[int, ...]] = {
        "mean.values": (nodes, 1),
        "rows": (band, latent),
        "row_of": (nodes,),
        "landmark_mean": (landmarks, 3),
        "landmark_basis": (landmarks, 3, latent),
        **_brightness_shapes(arguments, latent),
    }
    if coarse := next(iter(shapes.get("coarse.rows", (0,)))):
        half = {**arguments, "cells": [-(-int(count) // 2) for count in arguments["cells"]]}
        coarse_nodes = lattice_nodes(half, "the coarse lattice")
        expected |= {
            "coarse.mean.values": (coarse_nodes, 1),
            "coarse.rows": (coarse, latent),
            "coarse.row_of": (coarse_nodes,),
            "coarse.landmark_mean": (0, 3),
            "coarse.landmark_basis": (0, 3, latent),
        }
    if arguments.get("deformation") is not None:
        _check_components(arguments, latent)
        check_deformation(arguments["deformation"], shapes, "deformation.")
        expected |= {name: tuple(shape) for name, shape in shapes.items() if name.startswith("deformation.")}
    if arguments.get("fine") is not None:
        most = lattice_nodes(arguments["fine"], "the fine lattice")
        fine = integer(arguments["fine"].get("band"), "band of the fine lattice", 1, most)
        expected |= {"fine.mean": (fine,), "fine.rows": (fine + 1, latent), "fine.nodes": (fine,)}
    check_shapes(expected, shapes)


def check_indices(tensors: Mapping[str, Tensor]) -> None:
    """Check that the rows that nodes of a shape model name are there.

    Args:
        tensors: The state of the shape model, of the right shapes.

    Raises:
        ValueError: A number is out of range, or no whole number.
    """
    for name, rows in (("row_of", "rows"), ("coarse.row_of", "coarse.rows")):
        numbers = tensors.get(name)
        if numbers is not None:
            _check_range(numbers, len(tensors[rows]), name)


def _check_range(numbers: Tensor, count: int, name: str) -> None:
    whole = not (numbers.is_floating_point() or numbers.is_complex())
    if not whole or (len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < count):
        raise ValueError(f"{name} must be numbers from 0 to {count - 1}")


def check_packed(arguments: Mapping[str, Any], shapes: Shapes) -> None:
    """Check that what the arguments of a compressed `PCAShapeModel` claim is in proportion to its file.

    Args:
        arguments: Arguments of the shape model.
        shapes: Shapes of the tensors of the file by name, nearly all of bytes.

    Raises:
        ValueError: It claims more, or the tensors are of other shapes.
        KeyError: A part is missing.
    """
    latent, landmarks = _latent_and_landmarks(arguments)
    most = RATIO * sum(math.prod(shape) for shape in shapes.values()) + ALLOWANCE
    check_shapes(
        {"landmark_mean": (landmarks, 3), "landmark_basis": (landmarks, 3, latent)},
        {name: shapes[name] for name in ("landmark_mean", "landmark_basis")},
    )
    wanted = _brightness_shapes(arguments, latent)
    claimed = 4 * sum(map(math.prod, wanted.values()))
    stored = {name: shape for name, shape in shapes.items() if name.startswith("brightness_")}
    wanted |= {"brightness_basis_scale": ()} if wanted else {}
    # Files from before the code informed brightness lack one tensor.
    check_shapes(
        {name: shape for name, shape in wanted.items() if name in stored or "by_code" not in name}, stored
    )
    lattices: list[tuple[str, Any, int, bool]] = [
        ("rows", arguments, latent, False),
        ("mean", arguments, 1, True),
    ]
    if arguments.get("deformation") is not None:
        _check_components(arguments, latent)
        parts = table(arguments["deformation"], "deformation")
        lattices += [
            (name, parts[name], 3 * parts[name]["modes"], True) for name in ("identity", "expression")
        ]
    if arguments.get("fine") is not None:
        lattices += [
            ("fine.rows", arguments["fine"], latent, False),
            ("fine.mean", arguments["fine"], 1, False),
        ]
    for name, lattice, channels, whole in lattices:
        nodes = lattice_nodes(lattice, f"the lattice of {name}")
        blocks = math.prod(-(-(int(count) + 2) // SIDE) for count in lattice["cells"])
        used = math.prod(shapes[f"{name}.steps"]) // 4
        if used != blocks if whole else used > blocks:
            raise ValueError(f"{name} has {used} blocks, its lattice {blocks}")
        claimed += 2 * channels * used * SIDE**3 + nodes
    if claimed > most:
        raise ValueError(f"it claims to unpack to {claimed} bytes, its file allows for {most}")
