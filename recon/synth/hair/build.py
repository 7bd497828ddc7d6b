"""The hair of one subject: from style and hairline to strands and a renderable closed surface."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64
from scipy.spatial import cKDTree

from recon.geometry.distance_grid import RegularGrid, signed_distance_grid
from recon.geometry.tidy import vertex_normals
from recon.synth.hair.flow import off_the_face
from recon.synth.hair.grow import CollisionField, clump, curl, frizz, grow_guides, interpolate_children
from recon.synth.hair.parameters import HairStyle
from recon.synth.hair.scalp import Hairline, Roots, sample_roots
from recon.synth.hair.volume import hair_surface
from recon.synth.model.head_model import HeadModel
from recon.synth.model.regions import beard_distance_mm
from recon.synth.parts import BEARD, HAIR, Part, Strands

_BODY_SPACING_MM = 4.0
_STAND_OFF_MM = 0.5


@dataclass(frozen=True)
class Skin:
    """The skin that hair grows on.

    Attributes:
        vertices, faces: Closed skin, mm.
        canonical: The same vertices on the neutral head.
        growing: Faces that may carry hair.
    """

    vertices: Float[np.ndarray, "vertices 3"]
    faces: Int64[np.ndarray, "faces 3"]
    canonical: Float[np.ndarray, "vertices 3"]
    growing: Int64[np.ndarray, "growing 3"]


@dataclass(frozen=True)
class Growth:
    """A growth of hair: the hair of the head, or a beard.

    Attributes:
        style: How it grows.
        hairline: Border on the scalp; None for a beard.
        coverage: One of `BEARD_COVERAGE` for a beard, None for the scalp.
        seed: Seed of the strands.
    """

    style: HairStyle
    hairline: Hairline | None
    coverage: str | None
    seed: int

    def recipe(self) -> dict[str, Any]:
        """Returns everything that was drawn, ready for JSON."""
        return {
            "style": self.style.recipe(),
            "hairline": self.hairline.recipe() if self.hairline is not None else None,
            "coverage": self.coverage,
            "seed": self.seed,
        }

    @staticmethod
    def from_recipe(recipe: Mapping[str, Any]) -> "Growth":
        """The inverse of `recipe`."""
        line = recipe["hairline"]
        return Growth(
            HairStyle.from_recipe(recipe["style"]),
            Hairline(**line) if line is not None else None,
            recipe["coverage"],
            int(recipe["seed"]),
        )

    def inside_mm(
        self, model: HeadModel, canonical: Float[np.ndarray, "points 3"]
    ) -> Float[np.ndarray, " points"]:
        """Distance of points of the neutral head from the border, positive where hair grows."""
        if self.hairline is not None:
            return self.hairline.distance_mm(canonical)
        beard = beard_distance_mm(model, canonical)
        x, y = np.abs(canonical[:, 0]), canonical[:, 1]
        if self.coverage == "goatee":
            return np.minimum(beard, 33.0 - x)
        if self.coverage == "moustache":
            return np.minimum(beard, np.minimum(36.0 - x, y + 42.0))
        return beard


def collision_field(
    skin: Skin,
    garment: tuple[np.ndarray, np.ndarray],
    scalp: Bool[np.ndarray, " vertices"],
    reach_mm: float,
) -> CollisionField:
    """Computes the distance field of head and shoulders for hair to collide with.

    Args:
        skin: The subject's skin.
        garment: Vertices and faces of the clothes.
        scalp: True for the skin vertices of the scalp, which place the neutral head.
        reach_mm: How far hair can reach from the head.
    """
    vertices = np.concatenate([skin.vertices, garment[0]])
    faces = np.concatenate([skin.faces, garment[1] + len(skin.vertices)])
    grid = RegularGrid.around(vertices.min(axis=0), vertices.max(axis=0), _BODY_SPACING_MM, reach_mm)
    distance = signed_distance_grid(vertices, faces, grid, 1.1 * _BODY_SPACING_MM, extend=True)
    own, neutral = skin.vertices[scalp], skin.canonical[scalp]
    scale = np.ptp(own, axis=0) / np.ptp(neutral, axis=0)
    return CollisionField(grid, distance, own.min(axis=0) - neutral.min(axis=0) * scale, scale)


def grow(
    hair: Growth, skin: Skin, body: CollisionField, inside_mm: Float[np.ndarray, " vertices"]
) -> tuple[np.ndarray, np.ndarray, Roots]:
    """Grows all strands of the scalp or the beard.

    Args:
        hair: What to grow.
        skin: The subject's skin.
        body: What strands collide with.
        inside_mm: Distance of every skin vertex from the border of the growth.

    Returns:
        Strands (strands, points, 3) in mm, the guide of each, and their roots.
    """
    rng = np.random.default_rng(hair.seed)
    style = hair.style
    normals = vertex_normals(skin.vertices, skin.faces)

    def roots(count: int) -> Roots:
        return sample_roots(rng, count, skin.vertices, normals, skin.canonical, skin.growing, inside_mm)

    guide_roots = roots(style.guides)
    guides = grow_guides(style, guide_roots, body, rng)
    child_roots = roots(style.children)
    strands, guide_of = interpolate_children(guides, guide_roots, child_roots, body, rng, style.layers)
    strands = clump(strands, guides, guide_of, style)
    strands = curl(strands, guide_of, style, rng)
    strands = frizz(strands, style, rng)
    flat = body.neutral(strands.reshape(-1, 3))
    flat = off_the_face(style, flat, np.repeat(child_roots.canonical, style.points, axis=0))
    strands = body.own(flat).reshape(strands.shape)
    strands = body.push_out(strands, _STAND_OFF_MM)
    strands[:, 0] = child_roots.positions
    return strands, guide_of, child_roots


def build_hair(
    hair: Growth, skin: Skin, body: CollisionField, inside_mm: Float[np.ndarray, " vertices"]
) -> tuple[Part, Strands]:
    """Grows hair and meshes it; arguments as for `grow`.

    Returns:
        The closed hair surface as a part, and its strands. Scalars of the part: "along" (0 at the root, 1
        at the tip of the nearest strand) and "lock" (a random number per clump).
    """
    strands, guide_of, roots = grow(hair, skin, body, inside_mm)
    covered = roots.inside_mm > 4.0
    foot = roots.positions[covered]
    undercoat = np.stack(
        [foot, foot + roots.normals[covered] * min(2.0, 0.3 * hair.style.volume_side_mm)], axis=1
    )
    mesh = hair_surface(strands, hair.style.thickness_mm, undercoat, closing_mm=hair.style.closing_mm)
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces, dtype=np.int64)

    points = strands.shape[1]
    tangents = np.gradient(strands, axis=1)
    tangents /= np.maximum(np.linalg.norm(tangents, axis=2, keepdims=True), 1e-9)
    gap, nearest = cKDTree(strands.reshape(-1, 3)).query(vertices, k=3)
    weight = 1.0 / (gap + 0.5)
    weight /= weight.sum(axis=1, keepdims=True)
    strand = nearest // points
    tangent = np.einsum("nk,nkc->nc", weight, tangents.reshape(-1, 3)[nearest])
    normal = vertex_normals(vertices, faces)
    tangent -= np.einsum("nc,nc->n", tangent, normal)[:, None] * normal
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    lock = np.random.default_rng([hair.seed, 1]).uniform(size=int(guide_of.max()) + 1)
    along = (weight * (nearest % points)).sum(axis=1) / (points - 1)
    part = Part(
        "hair" if hair.hairline is not None else "beard",
        vertices,
        faces,
        np.einsum("nk,nkc->nc", weight, roots.canonical[strand]).astype(np.float32),
        tangent.astype(np.float32),
        HAIR if hair.hairline is not None else BEARD,
        {"along": along.astype(np.float32), "lock": lock[guide_of[strand[:, 0]]].astype(np.float32)},
    )
    return part, as_strands(strands, roots.faces, guide_of)


def as_strands(strands: np.ndarray, root_faces: np.ndarray, guide_of: np.ndarray) -> Strands:
    """Packs strands of equal point count."""
    count, points, _ = strands.shape
    return Strands(
        strands.reshape(-1, 3).astype(np.float32),
        np.arange(count + 1, dtype=np.int64) * points,
        root_faces.astype(np.int64),
        guide_of.astype(np.int64),
    )
