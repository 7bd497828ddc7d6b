"""Closest points of triangles, and a search for the triangles near a point: what `recon.geometry.surface` is built on.

`Cover` cuts the triangles of a surface into small pieces and keeps a kd-tree of their centres.
"""

from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree


def closest_on_triangles(
    points: Float[np.ndarray, "n 3"], triangles: Float[np.ndarray, "n 3 3"]
) -> Float[np.ndarray, "n 3"]:
    """Finds the point of each triangle that is nearest to the point with the same index.

    Over the triangle it is the foot of the perpendicular, elsewhere the nearest point of the three edges.
    """
    a, b, c = triangles.transpose(1, 0, 2)
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = dot(ab, ab), dot(ab, ac), dot(ac, ac)
    d20, d21 = dot(ap, ab), dot(ap, ac)
    denominator = d00 * d11 - d01**2
    with np.errstate(divide="ignore", invalid="ignore"):
        v = (d11 * d20 - d01 * d21) / denominator
        w = (d00 * d21 - d01 * d20) / denominator
        foot = a + v[:, None] * ab + w[:, None] * ac
        over = (v >= 0) & (w >= 0) & (v + w <= 1)  # false without area, where v and w are nan or infinite
    beside = np.flatnonzero(~over)
    if len(beside):
        foot[beside] = _closest_on_edges(points[beside], triangles[beside])
    return foot


def _closest_on_edges(
    points: Float[np.ndarray, "n 3"], triangles: Float[np.ndarray, "n 3 3"]
) -> Float[np.ndarray, "n 3"]:
    edges = triangles[:, [1, 2, 0]] - triangles
    squares = np.maximum((edges**2).sum(axis=2), np.finfo(float).tiny)
    along = np.clip(((points[:, None] - triangles) * edges).sum(axis=2) / squares, 0, 1)
    feet = triangles + along[:, :, None] * edges
    nearest = ((points[:, None] - feet) ** 2).sum(axis=2).argmin(axis=1)
    return feet[np.arange(len(points)), nearest]


def dot(a: Float[np.ndarray, "n 3"], b: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """Row-wise scalar product."""
    return np.einsum("nd,nd->n", a, b)


_ROUNDING = 1e-7  # relative: what only rounding puts beyond a bound is looked into all the same
_LARGE = 2.0  # medians: triangles with a larger radius are cut
_CUTS = 1.0  # at most this many pieces more than there are triangles
_SPARE_PIECES = 4096  # and these, which few large triangles may need
_FIRST_NEIGHBOURS = 128
_MOST_PAIRS = 2_000_000  # at a time, which bounds the memory


class Cover:
    """A spatial index of the triangles of a surface: pieces of them in a kd-tree of centres.

    No point of a triangle is further than `reach` from the centre of one of its pieces: all triangles within
    a distance of a query have a piece with its centre within that distance and the reach.

    Args:
        triangles: Corners, mm.
        normals: Unit normals of the triangles.

    Attributes:
        owners: Triangle of each piece.
        reach: Largest distance from a piece's centre to its corners, mm.
    """

    def __init__(self, triangles: Float[np.ndarray, "n 3 3"], normals: Float[np.ndarray, "n 3"]) -> None:
        pieces, self.owners = _cut(triangles)
        self._centres = pieces.mean(axis=1)
        self._radii = _radii(pieces)
        self._normals = normals if len(pieces) == len(normals) else normals[self.owners]
        self._heights = np.zeros(len(pieces))  # of the corners over the piece's plane; by rounding in slivers
        for corner in range(3):
            over = np.abs(dot(pieces[:, corner] - self._centres, self._normals))
            np.maximum(self._heights, over, out=self._heights)
        self.reach = float(self._radii.max())

    @cached_property
    def _tree(self) -> cKDTree:
        """Loose boxes make queries from afar faster, see `PointSet.tree`."""
        return cKDTree(self._centres, leafsize=32, balanced_tree=False, compact_nodes=False)

    def __len__(self) -> int:
        """Number of pieces."""
        return len(self.owners)

    def prepare(self) -> None:
        """Builds the tree now, and not in the first of several threads that need it."""
        _ = self._tree

    def nearest(
        self, queries: Float[np.ndarray, "queries 3"], count: int
    ) -> tuple[Float[np.ndarray, "queries count"], Int[np.ndarray, "queries count"]]:
        """Distances (mm) to the nearest centres, ascending, and their pieces."""
        return self._tree.query(queries, k=range(1, count + 1))

    def complete(
        self, furthest: Float[np.ndarray, " queries"], distances: Float[np.ndarray, " queries"]
    ) -> Bool[np.ndarray, " queries"]:
        """Whether the nearest centres up to `furthest` (mm) are all that a distance (mm) asks for."""
        return furthest > (distances + self.reach) * (1 + _ROUNDING)

    def candidates(
        self,
        queries: Float[np.ndarray, "queries 3"],
        away: Float[np.ndarray, "queries count"],
        pieces: Int[np.ndarray, "queries count"],
        distances: Float[np.ndarray, " queries"],
    ) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
        """Returns pairs of query, ascending, and piece, without those that are certainly further than a distance.

        A piece lies in the disc about its centre with its radius and its normal.

        Args:
            queries: Points, mm.
            away: Distance of each query to the centre of each of its pieces, mm.
            pieces: By query.
            distances: Within which pieces are wanted, mm.
        """
        query, column = np.nonzero(away <= (distances[:, None] + self._radii[pieces]) * (1 + _ROUNDING))
        piece, away = pieces[query, column], away[query, column]
        height = dot(queries[query] - self._centres[piece], self._normals[piece])
        beside = np.sqrt(np.maximum(away**2 - height**2, 0)) - self._radii[piece] - _ROUNDING * away
        above = np.abs(height) - self._heights[piece]
        squares = np.maximum(above, 0) ** 2 + np.maximum(beside, 0) ** 2
        near = squares <= distances[query] ** 2 * (1 + _ROUNDING)
        return query[near], piece[near]

    def within(
        self, queries: Float[np.ndarray, "queries 3"], distances: Float[np.ndarray, " queries"]
    ) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
        """Returns pairs of query, ascending, and triangle: all that are within a distance (mm), and some more."""
        left, count = np.arange(len(queries)), min(_FIRST_NEIGHBOURS, len(self))
        found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
        while len(left):
            still = []
            for rows in np.split(left, range(_MOST_PAIRS // count, len(left), max(1, _MOST_PAIRS // count))):
                away, pieces = self.nearest(queries[rows], count)
                done = self.complete(away[:, -1], distances[rows]) | (count == len(self))
                query, piece = self.candidates(
                    queries[rows[done]], away[done], pieces[done], distances[rows[done]]
                )
                found.append((rows[done][query], self.owners[piece]))
                still.append(rows[~done])
            left, count = np.concatenate(still), min(4 * count, len(self))
        query, triangle = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.argsort(query, kind="stable")
        return query[order], triangle[order]


def _cut(
    triangles: Float[np.ndarray, "n 3 3"],
) -> tuple[Float[np.ndarray, "pieces 3 3"], Int[np.ndarray, " pieces"]]:
    """Halves large triangles at their longest edge until none is left; pieces, and the triangle of each."""
    pieces, owners = triangles, np.arange(len(triangles))
    radii = _radii(pieces)
    largest = _LARGE * max(float(np.median(radii)), float(radii.max()) * 1e-6)
    most = (1 + _CUTS) * len(triangles) + _SPARE_PIECES
    while True:
        big = np.flatnonzero(radii > largest)
        if not len(big):
            return pieces, owners
        if len(pieces) + len(big) > most:
            largest *= 2
            continue
        halves = _halved(pieces[big])
        keep = np.ones(len(pieces), bool)
        keep[big] = False
        pieces = np.concatenate([pieces[keep], halves])
        owners = np.concatenate([owners[keep], owners[big], owners[big]])
        radii = np.concatenate([radii[keep], _radii(halves)])


def _halved(triangles: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "halves 3 3"]:
    edges = triangles[:, [1, 2, 0]] - triangles
    longest = (edges**2).sum(axis=2).argmax(axis=1)
    rows = np.arange(len(triangles))
    a, b, c = (triangles[rows, (longest + corner) % 3] for corner in range(3))
    middle = (a + b) / 2
    return np.concatenate([np.stack([a, middle, c], axis=1), np.stack([middle, b, c], axis=1)])


def _radii(triangles: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, " n"]:
    """The distance from each triangle's centroid to its furthest corner."""
    offset = triangles - triangles.mean(axis=1, keepdims=True)
    squares = np.einsum("ncd,ncd->nc", offset, offset)
    return np.sqrt(np.maximum(np.maximum(squares[:, 0], squares[:, 1]), squares[:, 2]))
