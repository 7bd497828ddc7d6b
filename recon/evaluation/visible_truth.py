"""Ground truths without occluded vertices: the inside of a mouth counts for a face otherwise.

Scans have only what their cameras saw. A synthetic head also has the walls of its mouth behind the lips, a twentieth of
the vertices of its face; whether a reconstruction's lips are parted then decides more than its shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int

from recon.evaluation.evaluator import GroundTruthLike
from recon.geometry.raster import rasterise

DIRECTIONS = 200
"""Number of directions, spread evenly over the sphere."""
LEAST_SHARE = 0.025
"""Share of the directions that must see a vertex; fewer look through parted lips, or up a nostril."""
PIXELS = 800
"""Width of the depth buffers, across the whole mesh: 0.5 to 1 mm a pixel on a head with shoulders."""


@dataclass(frozen=True)
class VisibleGroundTruth:
    """A ground truth whose regions keep only vertices that are visible from enough directions around the mesh.

    The mesh stays whole, and so does the score of the whole head.

    Attributes:
        truth: The whole ground truth.
    """

    truth: GroundTruthLike

    @property
    def landmarks(self) -> Mapping[str, int]:
        """Vertex index of each landmark of the whole ground truth, by name."""
        return self.truth.landmarks

    def mesh(self) -> trimesh.Trimesh:
        """The mesh of the whole ground truth, mm."""
        return self.truth.mesh()

    def region(self, name: str) -> Int[np.ndarray, " region"]:
        """The visible vertices of a region, in the order of its file."""
        indices = np.asarray(self.truth.region(name))
        kept: np.ndarray = indices[self._visible[indices]]
        return kept

    @cached_property
    def _visible(self) -> Bool[np.ndarray, " vertices"]:
        return visible_vertices(self.mesh())


def visible_vertices(mesh: trimesh.Trimesh, directions: int = DIRECTIONS) -> Bool[np.ndarray, " vertices"]:
    """Tells which vertices belong to triangles that are in front in enough orthographic views.

    Args:
        mesh: Any unit.
        directions: Number of views, spread evenly over the sphere; `LEAST_SHARE` of them are enough.
    """
    points, faces = np.asarray(mesh.vertices, float), np.asarray(mesh.faces)
    points = points - (points.max(axis=0) + points.min(axis=0)) / 2
    pixel = 2 * np.linalg.norm(points, axis=1).max() / PIXELS
    times = np.zeros(len(points), dtype=int)
    for axes in _frames(directions):
        turned = points @ axes.T
        turned[:, :2] = turned[:, :2] / pixel + PIXELS / 2
        front = rasterise(turned, faces, PIXELS, PIXELS).face
        times[np.unique(faces[np.unique(front[front >= 0])])] += 1
    enough: np.ndarray = times >= max(1.0, LEAST_SHARE * directions)
    return enough


def _frames(count: int) -> Float[np.ndarray, "count 3 3"]:
    """Rotations whose third rows are spread evenly over the sphere, along a golden spiral."""
    index = np.arange(count)
    height = 1 - (2 * index + 1) / count
    angle = index * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - height**2)
    third = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
    least = np.eye(3)[np.abs(third).argmin(axis=1)]
    first = np.cross(least, third)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(third, first), third], axis=1)
