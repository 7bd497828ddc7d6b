"""Strands drawn on the hair surface, and fine hairs across the hairline, where hair gives way to skin."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from recon.synth.hair.curves import POINTS, Curves, arc_lengths, as_curves, ramp, scatter, strand_tangents
from recon.synth.parts import HAIR, Part, Subject

HAIR_MM = 0.34
"""Thickness of a drawn hair; it stands for a few real ones."""
ROOT_MM, LIFT_MM, ASIDE_MM, STRAY_MM = 7.0, 9.0, 5.0, 3.0
"""Strands reach the surface this far from their roots, from at most this depth and this far aside; they may
stand out from it by this much."""
HAIRLINE_MM, HAIRLINE_PER_MM2, HAIRLINE_MOST = 7.0, 1.6, 8000


@dataclass(frozen=True)
class Hull:
    """The visible outside of a hair surface.

    Attributes:
        vertices: Visible vertices, mm.
        normals: Smooth unit normals.
        tangents: Unit directions of growth.
        index: Indices of the vertices among all vertices of the hair surface.
    """

    vertices: Float[np.ndarray, "v 3"]
    normals: Float[np.ndarray, "v 3"]
    tangents: Float[np.ndarray, "v 3"]
    index: Int[np.ndarray, " v"]

    def lift(
        self,
        points: Float[np.ndarray, "n 3"],
        height_mm: Float[np.ndarray, " n"],
        share: Float[np.ndarray, " n"],
    ) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """Raises points beneath the surface to `height_mm` above it.

        Args:
            points: Points, mm.
            height_mm: Wanted heights.
            share: Share of the way to go, 0 at roots.

        Returns:
            The points, the nearest vertex of each, and whether the point belongs to this surface at all.
        """
        _, nearest = cKDTree(self.vertices).query(points)
        up = self.normals[nearest]
        offset = points - self.vertices[nearest]
        height = np.einsum("ij,ij->i", offset, up)
        aside = np.linalg.norm(offset - height[:, None] * up, axis=1)
        near = (aside < ASIDE_MM) & (height > -LIFT_MM) & (height < STRAY_MM)
        lift = np.where(near, np.maximum(height_mm - height, 0.0) * share, 0.0)
        return points + lift[:, None] * up, nearest, near


def hair_curves(subject: Subject, hull: Hull, *, seed: int) -> Curves:
    """Draws the subject's strands, combed onto the outside of its hair surface.

    The surface is the hull of all strands; those that lie beneath it are lifted to it (not at their roots),
    so that the strands seen are the outer layer and no budget is spent on hidden hair. Stretches that leave
    the surface are left out: the truth has no hair there.

    Args:
        subject: Subject with strands.
        hull: Outside of its hair.
        seed: Seed of the small differences between strands.

    Returns:
        The strands.
    """
    strands = subject.strands
    if strands is None:
        raise ValueError(f"subject {subject.name!r} has no strands")
    rng = np.random.default_rng([seed, 0x4A12])
    count = np.diff(strands.offsets)
    owner = np.repeat(np.arange(len(count)), count)
    points = strands.points.astype(np.float64)
    along = arc_lengths(points, strands.offsets)
    layer = rng.uniform(0.0, 1.0, len(count))[owner]
    points, nearest, near = hull.lift(points, 0.15 + 1.1 * layer, np.clip(along / ROOT_MM, 0.0, 1.0))
    near |= along < ROOT_MM
    starts = np.flatnonzero((owner[1:] == owner[:-1]) & near[1:] & near[:-1])
    last = strands.offsets[1:] - 1
    tip = along / np.maximum(along[last][owner], 1e-9)
    locks = rng.standard_normal(int(strands.guides.max()) + 1)[strands.guides]
    return Curves(
        HAIR,
        points,
        np.stack([starts, starts + 1], axis=1),
        HAIR_MM * (1.0 - 0.5 * tip[starts] ** 2),
        strand_tangents(points, strands.offsets),
        hull.index[nearest],
        {
            "strand": rng.standard_normal(len(count))[owner],
            "lock": locks[owner],
            "layer": layer,
            "along": tip,
        },
    )


def bare_share(part: Part, subject: Subject, distance_mm: Float[np.ndarray, " v"]) -> Float[np.ndarray, " v"]:
    """Computes where a hair surface should be shaded as skin: at the hairline, next to the roots.

    Hair thins out towards its line, but the closed surface that stands for it ends in a rim. The rim takes
    the colour of the skin, with hairs drawn on it.

    Args:
        part: Hair surface.
        subject: Subject whose strands say how far along the hair a vertex is.
        distance_mm: Distance of the scalp point that each vertex grew from to the hairline, positive inside.

    Returns:
        1 for skin, 0 for hair.
    """
    if subject.strands is None or part.label != HAIR:
        arc = np.zeros(len(part.vertices))
    else:
        points = subject.strands.points.astype(np.float64)
        _, nearest = cKDTree(points).query(part.vertices)
        arc = arc_lengths(points, subject.strands.offsets)[nearest]
    hair = np.maximum(ramp(-1.0, 4.0, distance_mm), ramp(2.5, 6.5, arc))
    return 1.0 - hair


def grow_hairline(
    skin: Part,
    normals: Float[np.ndarray, "v 3"],
    exposed: Bool[np.ndarray, " v"],
    hull: Hull,
    *,
    length_mm: float,
    seed: int,
) -> Curves | None:
    """Grows fine short hairs across the hairline, where the hair surface ends like a cap.

    Args:
        skin: Skin with the scalar "scalp", 0.5 at the hairline.
        normals: Unit normals of the skin.
        exposed: True for skin vertices that hair does not cover.
        hull: Outside of the hair.
        length_mm: Length of the longest hair.
        seed: Seed of the hairs.

    Returns:
        The hairs; None where no bare skin borders on hair.
    """
    if "scalp" not in skin.scalars:
        return None
    scalp = skin.scalars["scalp"]
    distance, nearest = cKDTree(hull.vertices).query(skin.vertices, distance_upper_bound=HAIRLINE_MM)
    wanted = (scalp > 0.03) & (scalp < 0.9) & np.isfinite(distance) & exposed
    corners = skin.faces[wanted[skin.faces].all(axis=1)]
    if not len(corners):
        return None
    rng = np.random.default_rng([seed, 0x4A1E])
    roots, weights, chosen = scatter(rng, skin.vertices, corners, HAIRLINE_PER_MM2)
    at = corners[chosen]
    dense = np.einsum("nk,nk->n", weights, scalp[at])
    keep = np.flatnonzero(rng.uniform(size=len(roots)) < np.clip(1.6 * dense, 0.06, 1.0))[:HAIRLINE_MOST]
    roots, at, dense = roots[keep], at[keep], dense[keep]
    heading = hull.tangents[nearest[at[:, 0]]] + 0.22 * rng.standard_normal((len(roots), 3))
    up = normals[at[:, 0]]
    heading -= np.einsum("ij,ij->i", heading, up)[:, None] * up
    heading /= np.maximum(np.linalg.norm(heading, axis=1, keepdims=True), 1e-9)
    length = length_mm * rng.uniform(0.45, 1.0, len(roots)) * (0.45 + 0.55 * dense)
    t = np.linspace(0.0, 1.0, POINTS)[None, :, None]
    points = roots[:, None] + length[:, None, None] * t * (heading[:, None] + (0.12 + 0.25 * t) * up[:, None])
    layer = rng.uniform(0.3, 1.0, len(roots))
    flat, spread = points.reshape(-1, 3), np.repeat(layer, POINTS)
    lifted, owner, _ = hull.lift(
        flat, 0.2 + 0.6 * spread, np.tile(np.clip(3.0 * t[0, :, 0], 0, 1), len(roots))
    )
    curves = as_curves(HAIR, lifted.reshape(points.shape), np.linspace(0.20, 0.08, POINTS - 1), None)
    scalars = {
        "strand": np.repeat(rng.standard_normal(len(roots)), POINTS),
        "lock": np.zeros(len(flat)),
        "layer": spread,
        "along": np.tile(0.6 * t[0, :, 0], len(roots)),
    }
    return replace(curves, anchor=hull.index[owner], scalars=scalars)
