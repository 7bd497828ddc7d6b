"""Parts of synthetic subjects: renderable surfaces, hair strands, and the watertight truth.

The frame of everything here is the canonical head frame: millimetres, +Y up, +Z out of the face, +X to the
subject's left, origin between the ears a little below the eyes (the head model's own axes, times ten).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float, Float32, Int64

SKIN, HAIR, EYE, CLOTH, MOUTH, BEARD, BROW, LASH = 1, 2, 3, 4, 5, 6, 7, 8
"""Labels of surfaces; 0 is the background."""

LABEL_NAMES = {
    0: "background",
    SKIN: "skin",
    HAIR: "hair",
    EYE: "eye",
    CLOTH: "cloth",
    MOUTH: "mouth",
    BEARD: "beard",
    BROW: "brow",
    LASH: "lash",
}


@dataclass(frozen=True)
class Part:
    """One renderable surface.

    Attributes:
        name: "skin", "hair", "eye_left", "eye_right", "cloth", "beard", ...; unique within a subject.
        vertices: Positions, mm, canonical head frame.
        faces: Triangles with outward winding. The surface may be open (strand ribbons, brows).
        canonical: The same points on the neutral head model, mm: coordinates for procedural texture that
            do not depend on the identity. For hair the point of the scalp that the surface grew from.
        tangent: Unit direction of hair growth, root to tip, along the surface; zeros where nothing grows.
        label: One of the constants of this module.
        scalars: Further per-vertex attributes by name, each float in [0, 1] unless its name has a unit.
    """

    name: str
    vertices: Float[np.ndarray, "vertices 3"]
    faces: Int64[np.ndarray, "faces 3"]
    canonical: Float32[np.ndarray, "vertices 3"]
    tangent: Float32[np.ndarray, "vertices 3"]
    label: int
    scalars: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Strands:
    """Hair as curves.

    Attributes:
        points: All strands' points one after the other, root first, mm, canonical head frame.
        offsets: Strand i owns points[offsets[i]:offsets[i + 1]].
        roots: Index of the scalp triangle that each strand grows from.
        guides: For every strand the guide (cluster) it belongs to.
    """

    points: Float32[np.ndarray, "points 3"]
    offsets: Int64[np.ndarray, " strands_plus_one"]
    roots: Int64[np.ndarray, " strands"]
    guides: Int64[np.ndarray, " strands"]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def strand(self, index: int) -> np.ndarray:
        """Returns the points of one strand, root first, shape (points, 3), mm."""
        return self.points[self.offsets[index] : self.offsets[index + 1]]


@dataclass(frozen=True)
class Subject:
    """One synthetic person.

    Attributes:
        seed: The seed it was drawn from.
        name: Stable name, for folders.
        parts: Surfaces to render.
        truth: Watertight outward surface of head, eyes, hair and clothes together, mm.
        landmarks: The six H3DS landmarks by name, positions in mm.
        landmarks68: The 68 landmarks in Multi-PIE order, mm.
        landmark_vertices: The six H3DS landmarks by name, as vertex indices of `truth`.
        regions: Vertex indices of `truth` by region name: "face", "face_sphere", "nose", "ears".
        strands: Hair strands, None for a bald head.
        recipe: Everything that was drawn (split, identity and expression weights, style and its
            parameters), ready for JSON.
    """

    seed: int
    name: str
    parts: tuple[Part, ...]
    truth: trimesh.Trimesh
    landmarks: dict[str, np.ndarray]
    landmarks68: Float[np.ndarray, "68 3"]
    landmark_vertices: dict[str, int]
    regions: dict[str, np.ndarray]
    strands: Strands | None
    recipe: dict[str, Any]

    def part(self, name: str) -> Part:
        """Returns the part of that name; raises KeyError where the subject has none."""
        for part in self.parts:
            if part.name == name:
                return part
        raise KeyError(f"subject {self.name!r} has no part {name!r}; it has {[p.name for p in self.parts]}")
