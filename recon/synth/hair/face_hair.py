"""Brows and lashes, grown as curves on the skin."""

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from recon.synth.hair.curves import POINTS, Curves, as_curves, scatter
from recon.synth.model import face_map
from recon.synth.parts import BROW, LASH, Subject

BROW_PER_MM2, UPPER_LASHES, LOWER_LASHES = 2.6, 90, 36


def grow_brows(
    subject: Subject,
    vertices: Float[np.ndarray, "v 3"],
    normals: Float[np.ndarray, "v 3"],
    *,
    density: float,
    seed: int,
) -> Curves:
    """Grows brow hairs on the skin where `face_map.brows` is dense.

    Args:
        subject: Subject whose "skin" part carries canonical coordinates.
        vertices: Vertices of the skin, mm.
        normals: Unit normals of the skin.
        density: Factor on the number of hairs, 1 for ordinary brows.
        seed: Seed of the hairs.

    Returns:
        The hairs, each bending from upright near the nose to flat and outward at the temple.
    """
    rng = np.random.default_rng([seed, 0xB207])
    skin = subject.part("skin")
    near, _ = face_map.brows(skin.canonical)
    corners = skin.faces[(near[skin.faces] > 0).any(axis=1)]
    if not len(corners):
        raise ValueError("no skin near the brows: are the canonical coordinates those of the head model?")
    roots, weights, chosen = scatter(rng, vertices, corners, BROW_PER_MM2 * density)
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
    return as_curves(BROW, points, np.linspace(0.12, 0.05, POINTS - 1), vertices)


def grow_lashes(
    subject: Subject, vertices: Float[np.ndarray, "v 3"], normals: Float[np.ndarray, "v 3"], *, seed: int
) -> Curves:
    """Grows lashes along the lids, which run through the eye landmarks.

    Args:
        subject: Subject with landmarks.
        vertices: Vertices of the skin, mm.
        normals: Unit normals of the skin.
        seed: Seed of the hairs.

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
    return as_curves(LASH, points, np.linspace(0.15, 0.05, POINTS - 1), vertices)


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
