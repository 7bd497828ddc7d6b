"""Single hairs drawn as curves: brows, lashes, and strands on top of the hair surface."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from recon.synth import face_map
from recon.synth.parts import BROW, HAIR, LASH, Subject

BROW_HAIRS, UPPER_LASHES, LOWER_LASHES = 560, 90, 36
POINTS = 7
HAIR_MM = 0.34
"""Thickness of a drawn hair; it stands for a few real ones."""
ROOT_MM, LIFT_MM, ASIDE_MM = 7.0, 9.0, 5.0
"""Strands reach the surface this far from their roots, from at most this depth and this far aside."""


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
    triangles = vertices[corners]
    area = np.linalg.norm(
        np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1
    )
    wanted = round(2 * BROW_HAIRS * density)
    chosen = rng.choice(len(corners), size=6 * wanted, p=area / area.sum())
    weights = rng.dirichlet([1.0, 1.0, 1.0], size=len(chosen))
    roots = np.einsum("nk,nkc->nc", weights, triangles[chosen])
    flat = np.einsum("nk,nkc->nc", weights, skin.canonical[corners[chosen]])
    up = np.einsum("nk,nkc->nc", weights, normals[corners[chosen]])
    dense, along = face_map.brows(flat.astype(np.float32))
    # Thin towards the tail, a little loose at the head.
    keep = np.flatnonzero(rng.uniform(size=len(chosen)) < dense * (1.0 - 0.25 * along))[:wanted]
    roots, flat, up, along = roots[keep], flat[keep], up[keep], along[keep]
    line, _ = face_map.brow_line()
    middle = np.interp(np.abs(flat[:, 0]), line[:, 0], line[:, 1])
    above = np.clip((flat[:, 1] - middle) / 4.0, -1.0, 1.0)
    steep = np.interp(along, [0.0, 0.12, 0.3, 0.6, 1.0], [85.0, 65.0, 38.0, 14.0, -14.0])
    steep = np.radians(steep - 22.0 * above + rng.normal(0.0, 8.0, len(keep)))
    heading = np.stack([np.sign(flat[:, 0]) * np.cos(steep), np.sin(steep), np.zeros(len(keep))], axis=1)
    heading -= np.einsum("ij,ij->i", heading, up)[:, None] * up
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    length = rng.uniform(4.5, 7.5, len(keep)) * (1.0 - 0.35 * along)
    bend = np.cross(up, heading) * (np.sign(flat[:, 0]) * rng.normal(0.08, 0.06, len(keep)))[:, None]
    t = np.linspace(0.0, 1.0, POINTS)[None, :, None]
    lift = 0.25 + 1.1 * t * (1.0 - 0.55 * t)
    points = (
        roots[:, None]
        + length[:, None, None] * t * (heading[:, None] - bend[:, None] * t)
        + lift * up[:, None]
    )
    return _curves(BROW, points, np.linspace(0.15, 0.06, POINTS - 1), vertices)


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


def hair_curves(
    subject: Subject,
    surface: Float[np.ndarray, "v 3"],
    normals: Float[np.ndarray, "v 3"],
    visible: Bool[np.ndarray, " v"],
    *,
    seed: int,
) -> Curves:
    """The subject's strands, combed onto the outside of its hair surface.

    The surface is the hull of all strands; those that lie beneath it are lifted to it (not at their roots),
    so that the strands seen are the outer layer and no budget is spent on hidden hair.

    Args:
        subject: with strands.
        surface: vertices of the hair surface, mm.
        normals: smooth outward normals there.
        visible: which of them can be seen from outside.
        seed: of the small differences in height.

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
    outer = np.flatnonzero(visible)
    _, nearest = cKDTree(surface[outer]).query(points)
    anchor = outer[nearest]
    up = normals[anchor]
    offset = points - surface[anchor]
    height = np.einsum("ij,ij->i", offset, up)
    aside = np.linalg.norm(offset - height[:, None] * up, axis=1)
    layer = rng.uniform(0.0, 1.0, len(count))[owner]
    lift = np.maximum(0.15 + 1.1 * layer - height, 0.0) * np.clip(along / ROOT_MM, 0.0, 1.0)
    lift[(height < -LIFT_MM) | (aside > ASIDE_MM)] = 0.0
    points = points + lift[:, None] * up
    starts = np.flatnonzero(owner[1:] == owner[:-1])
    tangent = np.zeros_like(points)
    tangent[starts] = points[starts + 1] - points[starts]
    last = strands.offsets[1:] - 1
    tangent[last] = tangent[np.maximum(last - 1, 0)]
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    tip = along / np.maximum(along[last][owner], 1e-9)
    return Curves(
        HAIR,
        points,
        np.stack([starts, starts + 1], axis=1),
        HAIR_MM * (1.0 - 0.5 * tip[starts] ** 2),
        tangent,
        anchor,
        {
            "strand": rng.standard_normal(len(count))[owner],
            "lock": np.random.default_rng([seed, 0x10C]).standard_normal(int(strands.guides.max()) + 1)[
                strands.guides
            ][owner],
            "layer": layer,
            "along": tip,
        },
    )


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


def _curves(label: int, points: np.ndarray, widths: np.ndarray, anchors: np.ndarray) -> Curves:
    count, length, _ = points.shape
    first = np.arange(count)[:, None] * length + np.arange(length - 1)
    segments = np.stack([first.ravel(), first.ravel() + 1], axis=1)
    tangent = np.gradient(points, axis=1)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=2, keepdims=True), 1e-9)
    _, anchor = cKDTree(anchors).query(points[:, 0])
    return Curves(
        label,
        points.reshape(-1, 3),
        segments,
        np.tile(widths, count),
        tangent.reshape(-1, 3),
        np.repeat(anchor, length),
    )
