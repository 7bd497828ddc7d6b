"""Nearest points among many: a kd-tree that is built once, and a tracker for points that move a little."""

from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

_TIE = 1e-9  # mm: nearer than this, two candidates count as equally far, and the tree itself decides


class PointSet:
    """Points with a kd-tree that is built on first use.

    Attributes:
        points: (points, 3), float64.
    """

    def __init__(self, points: Float[np.ndarray, "points 3"]) -> None:
        self.points = np.ascontiguousarray(points, dtype=np.float64)

    @cached_property
    def tree(self) -> cKDTree:
        """The tree, built with SciPy's defaults, as the published evaluator builds its own."""
        return cKDTree(self.points)

    def distances(self, queries: Float[np.ndarray, "queries 3"]) -> Float[np.ndarray, " queries"]:
        """The distance from each query to the nearest point. Uses all cores, which changes no digit."""
        return self.tree.query(queries, workers=-1)[0]

    def nearest(self, queries: Float[np.ndarray, "queries 3"]) -> Int[np.ndarray, " queries"]:
        """The index of the point nearest to each query."""
        return self.tree.query(queries, workers=-1)[1].astype(np.int64)


class NearestTracker:
    """Exact nearest neighbours of points that move little between calls, as in ICP, mostly without the tree.

    For each query the tree is asked for the `candidates` nearest points. When the query has since moved by m,
    every point that is no candidate is at least (distance of the last candidate - m) away; as long as the
    best candidate is nearer than that, it is the nearest of all. Only the queries for which this does not
    hold go to the tree again.
    """

    def __init__(self, target: PointSet, candidates: int = 8) -> None:
        self._target = target
        self._count = min(candidates, len(target.points))
        self._anchors: Float[np.ndarray, "queries 3"] | None = None
        self._indices = np.zeros((0, 0), np.int64)
        self._distances = np.zeros((0, 0))

    def nearest(self, queries: Float[np.ndarray, "queries 3"]) -> Int[np.ndarray, " queries"]:
        """The index of the point nearest to each query; the same as asking the tree anew.

        Args:
            queries: As many as in the first call, in the same order.
        """
        if self._count < 3:
            return self._target.nearest(queries)
        if self._anchors is None:
            self._anchors = np.array(queries)
            self._indices, self._distances = self._ask(queries)
            best = self._indices[:, 0].copy()
            self._break_ties(queries, best, np.arange(len(queries)), self._distances, self._indices)
            return best
        moved = np.linalg.norm(queries - self._anchors, axis=1)
        best = self._indices[:, 0].copy()
        to_first = np.linalg.norm(queries - self._target.points[best], axis=1)
        open_ = np.flatnonzero(~_surely_nearer(to_first, self._distances[:, 1] - moved))
        if len(open_):
            self._decide_among_candidates(queries, best, open_, moved)
        return best

    def _ask(self, queries: Float[np.ndarray, "some 3"]) -> tuple[np.ndarray, np.ndarray]:
        distances, indices = self._target.tree.query(queries, k=self._count, workers=-1)
        return indices.astype(np.int64), distances

    def _decide_among_candidates(
        self,
        queries: Float[np.ndarray, "queries 3"],
        best: Int[np.ndarray, " queries"],
        rows: Int[np.ndarray, " open"],
        moved: Float[np.ndarray, " queries"],
    ) -> None:
        candidates = self._indices[rows]
        distances = np.linalg.norm(queries[rows, None] - self._target.points[candidates], axis=2)
        choice = distances.argmin(axis=1)
        known = _surely_nearer(distances.min(axis=1), self._distances[rows, -1] - moved[rows])
        best[rows] = candidates[np.arange(len(rows)), choice]
        self._break_ties(queries, best, rows[known], distances[known], candidates[known])
        again = rows[~known]
        if len(again) and self._anchors is not None:
            self._indices[again], self._distances[again] = self._ask(queries[again])
            self._anchors[again] = queries[again]
            best[again] = self._indices[again, 0]
            self._break_ties(queries, best, again, self._distances[again], self._indices[again])

    def _break_ties(
        self,
        queries: Float[np.ndarray, "queries 3"],
        best: Int[np.ndarray, " queries"],
        rows: Int[np.ndarray, " some"],
        distances: Float[np.ndarray, "some candidates"],
        candidates: Int[np.ndarray, "some candidates"],
    ) -> None:
        """Leaves the choice between equally far points to the tree: it is then that of an untracked query."""
        close = distances <= distances.min(axis=1, keepdims=True) + _TIE
        tied = np.flatnonzero(close.sum(axis=1) > 1)
        if len(tied):  # copies of one point are no tie: whichever is chosen has the same place
            places = self._target.points[candidates[tied]]
            apart = (places != self._target.points[best[rows[tied]]][:, None]).any(axis=2) & close[tied]
            tied = rows[tied[apart.any(axis=1)]]
            best[tied] = self._target.nearest(queries[tied])


def _surely_nearer(
    distance: Float[np.ndarray, " n"], bound: Float[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    return np.asarray(distance + _TIE < bound)
