"""The 256 cases of marching cubes, derived rather than typed in.

Corner `c` of a cell has the offset (c & 1, c >> 1 & 1, c >> 2 & 1); edge `e` starts at corner
`EDGE_CORNERS[e, 0]` and runs along +x, +y or +z (`EDGE_AXES[e]`)::

          6--------7
         /|       /|        z
        4--------5 |        |  y
        | |      | |        | /
        | 2------|-3        |/
        |/       |/         +---- x
        0--------1

A case is the set of corners that are inside (bit c set: the signed distance at corner c is negative). On each
face of the cell the surface leaves one directed segment for every run of inside corners. On a face whose two
inside corners are diagonally opposite both are cut off singly. That choice depends on nothing but the signs
on the face, so the cells on its two sides agree, and the surface is closed. Chaining the segments gives
loops; the loops are triangulated with no diagonal that lies in a face of the cell, since the neighbour might
draw the same one, which would be an edge of four triangles.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from jaxtyping import Int

CORNER_OFFSETS: Int[np.ndarray, "8 3"] = np.array([[c & 1, c >> 1 & 1, c >> 2 & 1] for c in range(8)])

_EDGES = [(c, c | 1 << axis, axis) for axis in range(3) for c in range(8) if not c >> axis & 1]
EDGE_CORNERS: Int[np.ndarray, "12 2"] = np.array([[a, b] for a, b, _ in _EDGES])
EDGE_AXES: Int[np.ndarray, "12"] = np.array([axis for _, _, axis in _EDGES])
_EDGE_OF_CORNERS = {frozenset(edge[:2]): i for i, edge in enumerate(_EDGES)}


def _face_corners() -> list[list[int]]:
    """The corners of each face, -x, +x, -y, +y, -z, +z, counter-clockwise when seen from outside the cell."""
    faces = []
    for axis in range(3):
        u, v = 1 << (axis + 1) % 3, 1 << (axis + 2) % 3
        loop = [0, u, u | v, v]
        faces += [loop[::-1], [c | 1 << axis for c in loop]]
    return faces


FACE_CORNERS: Int[np.ndarray, "6 4"] = np.array(_face_corners())
_FACE_EDGES = [
    [_EDGE_OF_CORNERS[frozenset((loop[i], loop[(i + 1) % 4]))] for i in range(4)] for loop in _face_corners()
]


def _segments(case: int) -> dict[int, int]:
    """Maps every crossed edge to the next one along the surface's border, the outside lying to the right."""
    follows = {}
    for corners, edges in zip(FACE_CORNERS, _FACE_EDGES, strict=True):
        inside = [bool(case >> c & 1) for c in corners]
        for i in range(4):
            if not inside[i] and inside[(i + 1) % 4]:  # the walk round the face goes inside here ...
                j = (i + 1) % 4
                while inside[(j + 1) % 4]:
                    j = (j + 1) % 4
                follows[edges[i]] = edges[j]  # ... and comes out there
    return follows


def _loops(case: int) -> list[list[int]]:
    follows, loops = _segments(case), []
    while follows:
        start, edge = next(iter(follows.items()))
        del follows[start]
        loop = [start]
        while edge != start:
            loop.append(edge)
            edge = follows.pop(edge)
        loops.append(loop)
    return loops


def _share_face(a: int, b: int) -> bool:
    return any(a in edges and b in edges for edges in _FACE_EDGES)


def _triangulations(loop: list[int]) -> Iterator[list[list[int]]]:
    """Every triangulation of a polygon: an apex over its closing side, then what lies on either hand."""
    if len(loop) < 3:
        yield []
        return
    for k in range(1, len(loop) - 1):
        for left in _triangulations(loop[: k + 1]):
            for right in _triangulations(loop[k:]):
                yield [[loop[0], loop[k], loop[-1]], *left, *right]


def _triangulate(loop: list[int]) -> list[list[int]]:
    sides = {frozenset((loop[i - 1], loop[i])) for i in range(len(loop))}
    for triangles in _triangulations(loop):
        edges = {frozenset((t[i - 1], t[i])) for t in triangles for i in range(3)}
        if not any(_share_face(*edge) for edge in edges - sides):
            return triangles
    raise AssertionError(f"no triangulation without a diagonal in a face for {loop}")


@lru_cache(maxsize=1)
def triangle_table() -> Int[np.ndarray, "256 most 3"]:
    """The triangles of every case as edge numbers, counter-clockwise seen from outside, padded with -1.

    Returns:
        Array of shape (256, most triangles of any case, 3).
    """
    cases = [[t for loop in _loops(case) for t in _triangulate(loop)] for case in range(256)]
    table = np.full((256, max(map(len, cases)), 3), -1, dtype=np.int64)
    for case, triangles in enumerate(cases):
        if triangles:
            table[case, : len(triangles)] = triangles
    return table
