"""Nearest neighbours in point sets: a kd-tree that is built once, and a tracker for queries that move a little."""

from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

_TIE = 1e-9  # mm: nearer than this, two candidates count as equally far, and the published tree decides
_MANY = 20_000  # queries; fewer take less time than threads may take to start on a busy machine


def _workers(queries: int) -> int:
    """Threads for a query: all cores where it is worth starting them."""
    return -1 if queries >= _MANY else 1


class PointSet:
    """A set of points with kd-trees that are built on first use.

    Attributes:
        points: (points, 3) float64, mm.
    """

    def __init__(self, points: Float[np.ndarray, "points 3"]) -> None:
        self.points = np.ascontiguousarray(points, dtype=np.float64)

    @cached_property
    def tree(self) -> cKDTree:
        """A tree for distances.

        Its loose boxes make queries from afar ten times faster than SciPy's default of tight ones.
        """
        return cKDTree(self.points, leafsize=32, balanced_tree=False, compact_nodes=False)

    @cached_property
    def published_tree(self) -> cKDTree:
        """The tree of the published evaluator: of points that are equally far it returns the same one."""
        return cKDTree(self.points)

    def distances(self, queries: Float[np.ndarray, "queries 3"]) -> Float[np.ndarray, " queries"]:
        """The distance from each query to the nearest point. Threads change no digit."""
        return self.tree.query(queries, workers=_workers(len(queries)))[0]

    @cached_property
    def bounds(self) -> Float[np.ndarray, "2 3"]:
        """Lower and upper corner of the bounding box, mm."""
        return np.array([[c.min() for c in self.points.T], [c.max() for c in self.points.T]])


class NearestTracker:
    """Exact nearest neighbours of points that move little between calls, as in ICP, mostly without the tree.

    For each query the tree is asked for several candidates. When the query has since moved by m, every point
    that is no candidate is at least (distance of the last candidate - m) away; as long as the best candidate
    is nearer than that, it is the nearest of all. Queries for which this does not hold go to the tree again.

    Args:
        target: Where neighbours are looked for.
        candidates: How many to keep for each query.
    """

    def __init__(self, target: PointSet, candidates: int = 8) -> None:
        self._target = target
        self._count = min(candidates, len(target.points))
        self._anchors = np.zeros((0, 3))

    def nearest(self, queries: Float[np.ndarray, "queries 3"]) -> Int[np.ndarray, " queries"]:
        """The index of the point nearest to each query; the same as asking the published tree anew.

        Args:
            queries: As many as in the first call, in the same order.
        """
        if not len(self._anchors):
            self._anchors = np.empty_like(queries)
            self._reach = np.empty(len(queries))  # distance of the last candidate
            self._indices = np.empty((self._count, len(queries)), np.int64)
            self._places = np.empty(
                (3, self._count, len(queries))
            )  # a contiguous row for each coordinate and rank
            self._ask(np.arange(len(queries)), queries)
        slot, distance, gap = _nearest_of(queries, self._places)
        moved = np.sqrt(_squares(*(queries - self._anchors).T))
        lost = np.flatnonzero(distance + _TIE >= self._reach - moved)
        if len(lost):
            self._ask(lost, queries[lost])
            slot[lost], _, gap[lost] = _nearest_of(queries[lost], self._places[:, :, lost])
        best = self._indices[slot, np.arange(len(queries))]
        tied = np.flatnonzero(gap <= _TIE)
        if len(tied):
            best[tied] = self._target.published_tree.query(queries[tied])[1]
        return best

    def _ask(self, rows: Int[np.ndarray, " some"], queries: Float[np.ndarray, "some 3"]) -> None:
        """Asks the tree for the candidates of some rows."""
        distances, indices = self._target.tree.query(
            queries, k=range(1, self._count + 1), workers=_workers(len(queries))
        )
        self._anchors[rows] = queries
        self._indices[:, rows] = indices.T
        for axis in range(3):
            self._places[axis][:, rows] = self._target.points[:, axis][indices.T]
        everything = self._count == len(self._target.points)
        self._reach[rows] = np.inf if everything else distances[:, -1]


def _squares(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Squared lengths, coordinate by coordinate: three times as fast as a sum over a last axis of three."""
    square = x * x
    square += y * y
    square += z * z
    return square


def _nearest_of(
    queries: Float[np.ndarray, "n 3"], places: Float[np.ndarray, "3 candidates n"]
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Rank and distance of each query's nearest candidate, and how much further the next one is."""
    x, y, z = np.ascontiguousarray(queries.T)
    best, following, slot = np.full(len(x), np.inf), np.full(len(x), np.inf), np.zeros(len(x), np.int64)
    for rank, (px, py, pz) in enumerate(places.transpose(1, 0, 2)):
        square = _squares(px - x, py - y, pz - z)
        slot[square < best] = rank
        following = np.minimum(following, np.maximum(square, best))
        best = np.minimum(best, square)
    distance = np.sqrt(best)
    return slot, distance, np.sqrt(following) - distance
