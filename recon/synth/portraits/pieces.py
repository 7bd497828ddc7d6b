"""Pieces that things before a face are built of: tubes, capsules, boxes, sheets, discs, balls; one mesh of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

from recon.synth.hair.curves import surface_normals
from recon.synth.render.noise import fractal


@dataclass(frozen=True, eq=False)
class Piece:
    """A mesh of one colour.

    Attributes:
        vertices: Positions, mm, the person's frame.
        faces: Triangles.
        colour: Linear RGB.
        opacity: Share of light from behind that it holds back: below 1 for glass.
        gloss: Strength of its white reflection.
        rough: Strength of its unevenness of colour.
    """

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    colour: Float[np.ndarray, " 3"]
    opacity: float = 1.0
    gloss: float = 0.0
    rough: float = 0.1


@dataclass(frozen=True, eq=False)
class Thing:
    """Something before a head: glasses, a hat, a hand.

    Attributes:
        kind: Name of what it is.
        label: Number of its part, `EYEWEAR` or `OCCLUDER`.
        worn: Whether it belongs to the person's outline.
        pieces: What it is built of.
    """

    kind: str
    label: int
    worn: bool
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, eq=False)
class Merged:
    """Several things as one mesh.

    Attributes:
        vertices: Positions, mm.
        faces: Triangles.
        normals: Unit normals.
        table: Colour (3), opacity, gloss, roughness, label and worn of every vertex.
    """

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    normals: Float[np.ndarray, "v 3"]
    table: Float32[np.ndarray, "v 8"]


def merged(things: Sequence[Thing]) -> Merged:
    """Merges things into one mesh; there must be one."""
    vertices, faces, normals, rows, start = [], [], [], [], 0
    for thing in things:
        for piece in thing.pieces:
            vertices.append(piece.vertices)
            faces.append(piece.faces + start)
            normals.append(surface_normals(piece.vertices, piece.faces))
            row = [*piece.colour, piece.opacity, piece.gloss, piece.rough, thing.label, thing.worn]
            rows.append(np.tile(np.array(row, np.float32), (len(piece.vertices), 1)))
            start += len(piece.vertices)
    return Merged(
        np.concatenate(vertices), np.concatenate(faces), np.concatenate(normals), np.concatenate(rows)
    )


def grid_faces(rows: int, columns: int, *, closed: bool = False) -> Int[np.ndarray, "f 3"]:
    """Triangles of a grid of vertices, row by row; closed grids join the last column to the first."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns if closed else columns - 1), indexing="ij")
    a, b = i * columns + j, i * columns + (j + 1) % columns
    c, d = a + columns, b + columns
    return np.concatenate(
        [np.stack([a, b, d], axis=-1).reshape(-1, 3), np.stack([a, d, c], axis=-1).reshape(-1, 3)]
    )


def tube(
    line: Float[np.ndarray, "n 3"],
    radius: float | Float[np.ndarray, " n"],
    colour: Float[np.ndarray, " 3"],
    *,
    sides: int = 8,
    flat: float = 1.0,
    gloss: float = 0.0,
    rough: float = 0.05,
) -> Piece:
    """Builds a tube along a line, its ends closed by shrinking; `flat` squeezes it across the line's plane."""
    line = np.concatenate([line[:1], line, line[-1:]])
    radii = np.broadcast_to(radius, len(line) - 2)
    radii = np.concatenate([[0.05], radii, [0.05]])
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    helper = np.array([0.0, 1.0, 0.0]) if abs(along[:, 1]).mean() < 0.8 else np.array([1.0, 0.0, 0.0])
    across = np.cross(along, helper)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    up = np.cross(across, along)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.cos(turn)[None, :, None] * across[:, None] + flat * np.sin(turn)[None, :, None] * up[:, None]
    vertices = (line[:, None] + radii[:, None, None] * ring).reshape(-1, 3)
    return Piece(vertices, grid_faces(len(line), sides, closed=True), colour, 1.0, gloss, rough)


def capsule(
    start: Float[np.ndarray, " 3"],
    end: Float[np.ndarray, " 3"],
    radius: float,
    colour: Float[np.ndarray, " 3"],
    *,
    taper: float = 1.0,
    rough: float = 0.1,
) -> Piece:
    """Builds a capsule with round ends; its end is `taper` times as thick as its start."""
    axis = (end - start) / max(float(np.linalg.norm(end - start)), 1e-9)
    cap = np.linspace(-np.pi / 2, 0, 5)
    heights = np.concatenate([start + radius * np.sin(cap)[:, None] * axis,
                              end + taper * radius * np.sin(-cap[::-1])[:, None] * axis])  # fmt: skip
    widths = radius * np.concatenate([np.cos(cap), taper * np.cos(cap[::-1])])
    return tube(heights, np.maximum(widths, 0.05), colour, sides=14, rough=rough, gloss=0.02)


def box(
    centre: Float[np.ndarray, " 3"],
    axes: Float[np.ndarray, "3 3"],
    half: Float[np.ndarray, " 3"],
    colour: Float[np.ndarray, " 3"],
    *,
    gloss: float = 0.1,
    rough: float = 0.05,
) -> Piece:
    """Builds a box with its own normals at each side; rows of `axes` are its directions."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float) * half
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    vertices = np.concatenate([corners[list(side)] for side in sides]) @ axes + centre
    faces = np.concatenate([np.array([[0, 1, 2], [0, 2, 3]]) + 4 * k for k in range(6)])
    return Piece(vertices, faces, colour, 1.0, gloss, rough)


def disc(
    outline: Float[np.ndarray, "n 3"],
    bulge: Float[np.ndarray, " 3"],
    colour: Float[np.ndarray, " 3"],
    *,
    opacity: float = 1.0,
    gloss: float = 0.0,
) -> Piece:
    """Builds a sheet inside a closed outline, its middle moved by `bulge`."""
    middle = outline.mean(axis=0)
    shares = np.linspace(1.0, 0.0, 5)
    rings = [middle + share * (outline - middle) + (1 - share**2) * bulge for share in shares]
    return Piece(np.concatenate(rings), grid_faces(5, len(outline), closed=True), colour, opacity, gloss, 0.0)


def ball(
    centre: Float[np.ndarray, " 3"],
    radii: Float[np.ndarray, " 3"],
    colour: Float[np.ndarray, " 3"],
    *,
    lumps: float = 0.0,
    seed: int = 0,
    gloss: float = 0.05,
    rough: float = 0.3,
) -> Piece:
    """Builds an ellipsoid, its radius uneven by the share `lumps`."""
    rows, columns = 17, 26
    polar, turn = np.meshgrid(
        np.linspace(0, np.pi, rows), np.arange(columns) * 2 * np.pi / columns, indexing="ij"
    )
    unit = np.stack([np.sin(polar) * np.cos(turn), np.cos(polar), np.sin(polar) * np.sin(turn)], axis=-1)
    unit = unit.reshape(-1, 3)
    stretch = np.exp(lumps * fractal((unit * 50).astype(np.float32), 50.0, seed))
    vertices = centre + unit * radii * stretch[:, None]
    return Piece(vertices, grid_faces(rows, columns, closed=True), colour, 1.0, gloss, rough)
