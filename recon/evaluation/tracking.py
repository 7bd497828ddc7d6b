"""Nearest surface points of queries that move little between calls."""

import numpy as np
from jaxtyping import Float, Int

from recon.evaluation.surface import Closest, Surface


class SurfaceTracker:
    """Exact nearest points on a surface for queries that hardly move, as at the end of an ICP.

    For each query it keeps the triangles within its nearest distance and twice the slack. A query that has
    moved by no more than the slack is that much nearer to any triangle at most, and that much further from
    the nearest one: the nearest is still among those kept. Queries that have moved further are looked up
        anew.

    Args:
        surface: Where nearest points are looked for.
        slack_mm: How far queries may move before they are looked up again.
    """

    def __init__(self, surface: Surface, slack_mm: float) -> None:
        self._surface, self._slack = surface, slack_mm
        self._anchors = np.zeros((0, 3))
        self._rows = self._triangles = np.zeros(0, np.int64)  # pairs of query and triangle, by query

    def closest(self, queries: Float[np.ndarray, "queries 3"]) -> Closest:
        """The nearest points; the same as asking the surface.

        Args:
            queries: As many as in the first call, in the same order; mm.
        """
        if not len(self._anchors):
            self._anchors = np.full_like(queries, np.inf)
        lost = np.flatnonzero(~(np.linalg.norm(queries - self._anchors, axis=1) <= self._slack))
        if len(lost):
            self._look_up(lost, queries[lost])
        first = np.searchsorted(self._rows, np.arange(len(queries)))
        best = Closest(np.array(queries), np.full(len(queries), np.inf), self._triangles[first].copy())
        self._surface.improve(best, queries, self._rows, self._triangles)
        return best

    def _look_up(self, lost: Int[np.ndarray, " lost"], queries: Float[np.ndarray, "lost 3"]) -> None:
        reach = self._surface.closest(queries).distances + 2 * self._slack
        rows, triangles = self._surface.within(queries, reach)
        stays = ~np.isin(self._rows, lost)
        rows = np.concatenate([self._rows[stays], lost[rows]])
        triangles = np.concatenate([self._triangles[stays], triangles])
        order = np.argsort(rows, kind="stable")
        self._rows, self._triangles = rows[order], triangles[order]
        self._anchors[lost] = queries
