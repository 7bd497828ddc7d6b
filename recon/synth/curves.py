"""Single hairs drawn as curves: brows, lashes, and strands on top of the hair surface."""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from recon.synth import face_map
from recon.synth.parts import BROW, HAIR, LASH, Part, Subject

BROW_PER_MM2, UPPER_LASHES, LOWER_LASHES = 2.6, 90, 36
POINTS = 7
HAIR_MM = 0.34
"""Thickness of a drawn hair; it stands for a few real ones."""
ROOT_MM, LIFT_MM, ASIDE_MM, STRAY_MM = 7.0, 9.0, 5.0, 3.0
"""Strands reach the surface this far from their roots, from at most this depth and this far aside; they may
stand out from it by this much."""
HAIRLINE_MM, HAIRLINE_PER_MM2, HAIRLINE_MOST = 7.0, 1.6, 8000


@dataclass(frozen=True)
class Curves:
    """Thin hairs of one kind.

    Attributes:
        label: BROW, LASH or HAIR.
        vertices: (v, 3) mm.
        segments: (s, 2) consecutive vertices of the same hair.
        width_mm: (s,) thickness; hairs are sparse, so it may be below a real hair's.
        tangent: (v, 3) unit, root to tip.
        anchor: (v,) index of the vertex of the surface that lends light, normal and canonical coordinates.
        scalars: further attributes of the vertices.
    """

    label: int
    vertices: Float[np.ndarray, "v 3"]
    segments: Int[np.ndarray, "s 2"]
    width_mm: Float[np.ndarray, " s"]
    tangent: Float[np.ndarray, "v 3"]
    anchor: Int[np.ndarray, " v"]
    scalars: dict[str, np.ndarray] = field(default_factory=dict)


def grow_brows(
    subject: Subject,
    vertices: Float[np.ndarray, "v 3"],
    normals: Float[np.ndarray, "v 3"],
    *,
    density: float,
    seed: int,
) -> Curves:
    """Brow hairs rooted on the skin where `face_map.brows` is dense.

    Args:
        subject: its "skin" part carries canonical coordinates.
        vertices: of the skin, mm.
        normals: of the skin, unit.
        density: 1 for ordinary brows.
        seed: of the hairs.

    Returns:
        The hairs, each bending from upright near the nose to flat and outward at the temple.
    """
    rng = np.random.default_rng([seed, 0xB207])
    skin = subject.part("skin")
    near, _ = face_map.brows(skin.canonical)
    corners = skin.faces[(near[skin.faces] > 0).any(axis=1)]
    if not len(corners):
        raise ValueError("no skin near the brows: are the canonical coordinates those of the head model?")
    roots, weights, chosen = _scatter(rng, vertices, corners, BROW_PER_MM2 * density)
    flat = np.einsum("nk,nkc->nc", weights, skin.canonical[corners[chosen]])
    up = np.einsum("nk,nkc->nc", weights, normals[corners[chosen]])
    dense, along = face_map.brows(flat.astype(np.float32))
    # Thin towards the tail, a little loose at the head.
    keep = rng.uniform(size=len(chosen)) < dense * (1.0 - 0.25 * along)
    roots, flat, up, along = roots[keep], flat[keep], up[keep], along[keep]
    line, _ = face_map.brow_line()
    middle = np.interp(np.abs(flat[:, 0]), line[:, 0], line[:, 1])
    above = np.clip((flat[:, 1] - middle) / 4.0, -1.0, 1.0)
    steep = np.interp(along, [0.0, 0.12, 0.3, 0.6, 1.0], [85.0, 65.0, 38.0, 14.0, -14.0])
    steep = np.radians(steep - 22.0 * above + rng.normal(0.0, 8.0, len(roots)))
    heading = np.stack([np.sign(flat[:, 0]) * np.cos(steep), np.sin(steep), np.zeros(len(roots))], axis=1)
    heading -= np.einsum("ij,ij->i", heading, up)[:, None] * up
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    length = rng.uniform(4.5, 7.5, len(roots)) * (1.0 - 0.35 * along)
    bend = np.cross(up, heading) * (np.sign(flat[:, 0]) * rng.normal(0.08, 0.06, len(roots)))[:, None]
    t = np.linspace(0.0, 1.0, POINTS)[None, :, None]
    lift = 0.25 + 1.1 * t * (1.0 - 0.55 * t)
    points = (
        roots[:, None]
        + length[:, None, None] * t * (heading[:, None] - bend[:, None] * t)
        + lift * up[:, None]
    )
    return _curves(BROW, points, np.linspace(0.12, 0.05, POINTS - 1), vertices)


def grow_lashes(
    subject: Subject, vertices: Float[np.ndarray, "v 3"], normals: Float[np.ndarray, "v 3"], *, seed: int
) -> Curves:
    """Lashes along the lids, which run through the eye landmarks.

    Args:
        subject: gives the landmarks.
        vertices: of the skin, mm.
        normals: of the skin, unit.
        seed: of the hairs.

    Returns:
        Upper and lower lashes of both eyes.
    """
    rng = np.random.default_rng([seed, 0x1A54])
    hairs = []
    for side, first in ((-1.0, 36), (1.0, 42)):
        ring = subject.landmarks68[first : first + 6]
        upper, lower = ring[[0, 1, 2, 3]], ring[[0, 5, 4, 3]]
        outer = 0.0 if side < 0 else 1.0
        for lid, count, length, rise in (
            (upper, UPPER_LASHES, 7.0, 0.5),
            (lower, LOWER_LASHES, 3.2, -0.7),
        ):
            hairs.append(_lid_hairs(rng, lid, count, length, rise, outer))
    points = np.concatenate(hairs)
    return _curves(LASH, points, np.linspace(0.15, 0.05, POINTS - 1), vertices)


@dataclass(frozen=True)
class Hull:
    """The outside of a hair surface.

    Attributes:
        vertices: (v, 3) that can be seen from outside, mm.
        normals: (v, 3) smooth, unit.
        tangents: (v, 3) direction of growth, unit.
        index: (v,) their numbers among all vertices of the hair surface.
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
            points: mm.
            height_mm: wanted height.
            share: of the way to go, 0 at roots.

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
    """The subject's strands, combed onto the outside of its hair surface.

    The surface is the hull of all strands; those that lie beneath it are lifted to it (not at their roots),
    so that the strands seen are the outer layer and no budget is spent on hidden hair. Stretches that leave
    the surface are left out: the truth has no hair there.

    Args:
        subject: with strands.
        hull: of its hair.
        seed: of the small differences between strands.

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
    along = _arc(points, strands.offsets)
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
        _tangents(points, strands.offsets),
        hull.index[nearest],
        {
            "strand": rng.standard_normal(len(count))[owner],
            "lock": locks[owner],
            "layer": layer,
            "along": tip,
        },
    )


def bare_share(part: Part, subject: Subject, distance_mm: Float[np.ndarray, " v"]) -> Float[np.ndarray, " v"]:
    """Where a hair surface should look like skin: at the hairline, next to the roots.

    Hair thins out towards its line, but the closed surface that stands for it ends in a rim. The rim takes
    the colour of the skin, with hairs drawn on it.

    Args:
        part: the hair surface.
        subject: whose strands say how far along the hair a vertex is.
        distance_mm: of the scalp point that each vertex grew from to the hairline, positive inside.

    Returns:
        1 for skin, 0 for hair.
    """
    if subject.strands is None or part.label != HAIR:
        arc = np.zeros(len(part.vertices))
    else:
        points = subject.strands.points.astype(np.float64)
        _, nearest = cKDTree(points).query(part.vertices)
        arc = _arc(points, subject.strands.offsets)[nearest]
    hair = np.maximum(_ramp(-1.0, 4.0, distance_mm), _ramp(2.5, 6.5, arc))
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
    """Fine short hairs across the hairline, which the hair surface ends at like a cap.

    Args:
        skin: with the scalar "scalp", 0.5 at the hairline.
        normals: of the skin, unit.
        exposed: skin vertices that hair does not cover.
        hull: of the hair.
        length_mm: of the longest.
        seed: of the hairs.

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
    roots, weights, chosen = _scatter(rng, skin.vertices, corners, HAIRLINE_PER_MM2)
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
    curves = _curves(HAIR, lifted.reshape(points.shape), np.linspace(0.20, 0.08, POINTS - 1), None)
    scalars = {
        "strand": np.repeat(rng.standard_normal(len(roots)), POINTS),
        "lock": np.zeros(len(flat)),
        "layer": spread,
        "along": np.tile(0.6 * t[0, :, 0], len(roots)),
    }
    return replace(curves, anchor=hull.index[owner], scalars=scalars)


def surface_normals(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Float[np.ndarray, "v 3"]:
    """Area-weighted unit vertex normals; vertices without faces get +Z."""
    cross = np.cross(
        vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]]
    )
    normals = np.zeros_like(vertices)
    for corner in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(faces[:, corner], cross[:, axis], minlength=len(vertices))
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 1e-12, normals / np.maximum(length, 1e-12), [0.0, 0.0, 1.0])


def _arc(points: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Arc length from the root at every point of every strand, mm."""
    step = np.zeros(len(points))
    step[1:] = np.linalg.norm(np.diff(points, axis=0), axis=1)
    step[offsets[:-1]] = 0.0
    total = np.cumsum(step)
    return total - np.repeat(total[offsets[:-1]], np.diff(offsets))


def _lid_hairs(
    rng: np.random.Generator, lid: np.ndarray, count: int, length: float, rise: float, outer: float
) -> np.ndarray:
    curve = CubicSpline(np.linspace(0.0, 1.0, 4), lid)
    at = np.sort(rng.uniform(0.05, 0.95, count))
    root = curve(at) + rng.normal(0.0, 0.15, (count, 3)) + np.array([0.0, 0.0, 0.3])
    centre = lid.mean(axis=0)
    fan = np.clip((root[:, 0] - centre[0]) / 14.0, -1.0, 1.0)
    outward = np.stack([0.55 * fan, np.full(count, 0.35 * rise), np.ones(count)], axis=1)
    outward += rng.normal(0.0, 0.10, outward.shape)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    curl = np.stack([0.35 * fan, np.full(count, rise), np.zeros(count)], axis=1)
    to_outer = np.abs(at - outer)
    reach = length * rng.uniform(0.75, 1.1, count) * np.interp(to_outer, [0.0, 0.25, 1.0], [0.9, 1.0, 0.55])
    t = np.linspace(0.0, 1.0, POINTS)[None, :, None]
    return root[:, None] + reach[:, None, None] * (
        t * outward[:, None] * (1 - 0.25 * t) + t**2 * curl[:, None]
    )


def _ramp(low: float, high: float, value: np.ndarray) -> np.ndarray:
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _scatter(
    rng: np.random.Generator, vertices: np.ndarray, corners: np.ndarray, per_mm2: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points spread over triangles by area: places, barycentric weights, triangle of each."""
    triangles = vertices[corners]
    cross = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    area = 0.5 * np.linalg.norm(cross, axis=1)
    chosen = rng.choice(len(corners), size=max(round(per_mm2 * area.sum()), 1), p=area / area.sum())
    weights = rng.dirichlet([1.0, 1.0, 1.0], size=len(chosen))
    return np.einsum("nk,nkc->nc", weights, triangles[chosen]), weights, chosen


def _tangents(points: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Unit direction to the next point of the strand; the last point takes that of the one before."""
    tangent = np.zeros_like(points)
    tangent[:-1] = points[1:] - points[:-1]
    last = offsets[1:] - 1
    tangent[last] = tangent[np.maximum(last - 1, 0)]
    return tangent / np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)


def _curves(label: int, points: np.ndarray, widths: np.ndarray, anchors: np.ndarray | None) -> Curves:
    count, length, _ = points.shape
    first = np.arange(count)[:, None] * length + np.arange(length - 1)
    segments = np.stack([first.ravel(), first.ravel() + 1], axis=1)
    tangent = np.gradient(points, axis=1)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=2, keepdims=True), 1e-9)
    anchor = np.zeros(count, np.int64) if anchors is None else cKDTree(anchors).query(points[:, 0])[1]
    return Curves(
        label,
        points.reshape(-1, 3),
        segments,
        np.tile(widths, count),
        tangent.reshape(-1, 3),
        np.repeat(anchor, length),
    )
