"""Triangle surfaces with exact closest points and even samples, and a tracker for queries that hardly move.

`Surface` takes any mesh, open ones too, and says where the closest point lies and on which triangle;
`recon.geometry.signed_distance.MeshDistance` says only how far it is, with a sign, for closed meshes and many points.
Their last digits differ, so neither can stand for the other in a published number.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int

from recon.geometry.cover import Cover, closest_on_triangles, dot
from recon.threads import mapped

_CHUNK = 8192  # queries at a time, which bounds the memory of the pairs; chunks run on all cores
_NEIGHBOURS = 32  # pieces looked at first


@dataclass(frozen=True, eq=False)
class Closest:
    """Closest surface points of some queries.

    Attributes:
        points: On the surface, mm.
        distances: From query to point, mm.
        faces: The triangle that each point lies on; of several at the same distance, any.
    """

    points: Float[np.ndarray, "queries 3"]
    distances: Float[np.ndarray, " queries"]
    faces: Int[np.ndarray, " queries"]


class Surface:
    """A triangle mesh with cached normals, areas and search tree.

    Attributes:
        vertices: (vertices, 3) float64, mm.
        faces: (faces, 3); those without area are left out of everything.
    """

    def __init__(self, mesh: trimesh.Trimesh) -> None:
        self.vertices = np.asarray(mesh.vertices, np.float64)
        faces = np.asarray(mesh.faces, np.int64)
        a, b, c = self.vertices[faces].transpose(1, 0, 2)
        cross = np.cross(b - a, c - a)
        length = np.linalg.norm(cross, axis=1)
        solid = length > 0
        self.faces = faces[solid]
        self.areas: Float[np.ndarray, " faces"] = length[solid] / 2
        self.normals: Float[np.ndarray, "faces 3"] = cross[solid] / length[solid, None]

    @cached_property
    def _triangles(self) -> Float[np.ndarray, "faces 3 3"]:
        return self.vertices[self.faces]

    @cached_property
    def _cover(self) -> Cover:
        return Cover(self._triangles, self.normals)

    def closest(self, queries: Float[np.ndarray, "queries 3"]) -> Closest:
        """The nearest point of the surface for each query, exact."""
        self._cover.prepare()
        parts = list(mapped(self._closest, np.split(queries, range(_CHUNK, len(queries), _CHUNK))))
        return Closest(
            np.concatenate([p.points for p in parts]),
            np.concatenate([p.distances for p in parts]),
            np.concatenate([p.faces for p in parts]),
        )

    def _closest(self, queries: Float[np.ndarray, "queries 3"]) -> Closest:
        """Looks at the pieces with the nearest centres first, then at more where these may not be all."""
        cover = self._cover
        away, near = cover.nearest(queries, min(_NEIGHBOURS, len(cover)))
        face = cover.owners[near[:, 0]]
        point = closest_on_triangles(queries, self._triangles[face])
        best = Closest(point, np.linalg.norm(queries - point, axis=1), face)
        query, piece = cover.candidates(queries, away[:, 1:], near[:, 1:], best.distances)
        self.improve(best, queries, query, cover.owners[piece])
        rows = np.flatnonzero(~cover.complete(away[:, -1], best.distances))
        if len(rows) and near.shape[1] < len(cover):
            query, triangle = self.within(queries[rows], best.distances[rows])
            self.improve(best, queries, rows[query], triangle)
        return best

    def within(
        self, queries: Float[np.ndarray, "queries 3"], distances: Float[np.ndarray, " queries"]
    ) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
        """Pairs of query, ascending, and triangle: all that are within a distance (mm), and a few more."""
        return self._cover.within(queries, distances)

    def improve(
        self,
        best: Closest,
        queries: Float[np.ndarray, "queries 3"],
        query: Int[np.ndarray, " pairs"],
        triangle: Int[np.ndarray, " pairs"],
    ) -> None:
        """Puts into `best` what is nearer among pairs of query and triangle; queries in ascending order."""
        if not len(query):
            return
        points = closest_on_triangles(queries[query], self._triangles[triangle])
        offset = queries[query] - points
        distances = np.sqrt(dot(offset, offset))
        starts = np.flatnonzero(np.diff(query, prepend=-1))
        least = np.minimum.reduceat(distances, starts)
        sizes = np.diff(starts, append=len(query))
        at = np.flatnonzero(distances == np.repeat(least, sizes))
        first = at[np.flatnonzero(np.diff(query[at], prepend=-1))]  # the nearest of each query
        first = first[distances[first] < best.distances[query[first]]]
        rows = query[first]
        best.points[rows], best.distances[rows], best.faces[rows] = (
            points[first],
            distances[first],
            triangle[first],
        )

    def sample(
        self, count: int, *, seed: int = 0, faces: Bool[np.ndarray, " faces"] | None = None
    ) -> tuple[Float[np.ndarray, "count 3"], Int[np.ndarray, " count"]]:
        """Points spread evenly by area: one at random in each of `count` equal shares of it.

        Args:
            count: Number of points.
            seed: Of the generator; the same seed gives the same points.
            faces: The faces to sample; all without it.

        Returns:
            Points, mm, and the face of each.
        """
        generator = np.random.default_rng(seed)
        areas = self.areas if faces is None else np.where(faces, self.areas, 0.0)
        cumulative = np.cumsum(areas)
        shares = (np.arange(count) + generator.random(count)) / count * cumulative[-1]
        chosen = np.minimum(np.searchsorted(cumulative, shares, side="right"), np.flatnonzero(areas)[-1])
        root, v = np.sqrt(generator.random(count)), generator.random(count)
        weights = np.stack([1 - root, root * (1 - v), root * v], axis=1)  # uniform in a triangle (Turk 1990)
        return np.einsum("nk,nkd->nd", weights, self._triangles[chosen]), chosen


class SurfaceTracker:
    """Exact nearest points on a surface for queries that hardly move, as at the end of an ICP.

    For each query it keeps the triangles within its nearest distance and twice the slack. A query that has
    moved by no more than the slack is that much nearer to any triangle at most, and that much further from
    the nearest one: the nearest is still among those kept. Queries that have moved further are looked up anew.

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
