"""Things that people wear before their heads: glasses, surgical masks, hats and caps, scarves."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from recon.geometry.frames import transform
from recon.perception.portrait_maps import EYEWEAR, OCCLUDER
from recon.synth.hair.curves import surface_normals
from recon.synth.parts import BEARD, CLOTH
from recon.synth.portraits.people import Person
from recon.synth.portraits.pieces import Piece, Thing, disc, grid_faces, tube
from recon.synth.render.light import diffuse_over

EAR_MM = np.array([[-71.0, 29.0, 4.0], [71.0, 29.0, 4.0]])
"""Where temples and straps lie on the ears of the mean head."""
HAT_CENTRE_MM = np.array([0.0, 45.0, -8.0])
HAT_ROWS, HAT_COLUMNS = 15, 48
MOST_HAT_MM = 175.0
"""A hat about hair further from that centre is not put on."""


def any_colour(rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    """Draws a colour of things, linear: many are dark or grey."""
    value = np.exp(rng.uniform(np.log(0.015), np.log(0.75)))
    return np.clip(value * np.exp(rng.normal(0.0, rng.choice([0.03, 0.5]), 3)), 0.005, 0.85)


def glasses(person: Person, rng: np.random.Generator) -> Thing:
    """Glasses with rims of any thickness, clear, tinted or dark."""
    marks = person.prepared.subject.landmarks68
    eyes = np.stack([marks[36:42].mean(axis=0), marks[42:48].mean(axis=0)])
    across = eyes[1] - eyes[0]
    span = float(np.linalg.norm(across))
    across /= span
    forward = np.cross(across, [0.0, 1.0, 0.0])
    up = np.cross(forward, across)
    half_width = min(rng.uniform(21.0, 30.0), 0.5 * span - 5.0 + 3.0)
    half_height, power = rng.uniform(13.0, 25.0), rng.uniform(2.0, 5.0)
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    cos, sin = np.cos(turn), np.sin(turn)
    outline = np.stack(
        [np.sign(cos) * abs(cos) ** (2 / power), np.sign(sin) * abs(sin) ** (2 / power)], axis=1
    )
    depth = max(eyes @ forward) + rng.uniform(14.0, 19.0)
    colour, rim = any_colour(rng), float(np.exp(rng.uniform(np.log(0.5), np.log(3.2))))
    tinted = rng.uniform() < 0.4
    opacity = float(rng.uniform(0.35, 0.97)) if tinted else float(rng.uniform(0.03, 0.12))
    glass = any_colour(rng) * 0.15 if tinted else np.full(3, 0.02)
    drop = rng.uniform(-3.0, 7.0)
    ears = person.to_head(EAR_MM)
    pieces, inner = [], []
    for side, ear in zip((-1, 1), ears, strict=True):
        middle = (eyes[(side + 1) // 2] @ across + 3.0 * side) * across + ((eyes @ up).mean() - drop) * up
        middle += depth * forward
        shape = outline * [half_width, half_height]
        ring = middle + shape[:, :1] * across + shape[:, 1:] * up
        ring = ring - 0.006 * (shape[:, :1] * side).clip(0) ** 2 * forward  # bent about the face
        pieces.append(disc(ring, 2.0 * forward, glass, opacity=opacity, gloss=float(rng.uniform(0.02, 0.2))))
        if rng.uniform() < 0.9 or rim > 1.0:
            pieces.append(tube(np.concatenate([ring, ring[:2]]), rim, colour, sides=6, gloss=0.1))
        hinge = ring[np.argmax(ring @ across * side)] + 0.6 * half_height * up * (rng.uniform() < 0.6)
        behind = ear + np.array([0.0, -22.0, -22.0])
        temple = np.stack([hinge, hinge + 0.15 * (ear - hinge) + 2.0 * side * across, ear, behind])
        pieces.append(tube(_curved(temple), max(rim, 0.9), colour, sides=6, flat=1.6, gloss=0.1))
        inner.append(ring[np.argmin(ring @ across * side)] + 0.25 * half_height * up)
    bridge = np.stack([inner[0], 0.5 * inner[0] + 0.5 * inner[1] + 3.0 * up + 1.0 * forward, inner[1]])
    pieces.append(tube(_curved(bridge), max(rim, 0.8), colour, sides=6, gloss=0.1))
    return Thing("glasses", EYEWEAR, True, tuple(pieces))


def surgical_mask(person: Person, rng: np.random.Generator) -> Thing | None:
    """A mask over nose, mouth and chin, held by straps about the ears; some sit below the nose. None before a beard,
    which would grow through it.
    """
    if any(part.label == BEARD for part in person.prepared.subject.parts):
        return None
    skin = person.prepared.subject.part("skin")
    x, y, z = skin.canonical.astype(np.float64).T
    top = rng.uniform(2.0, 16.0) if rng.uniform() < 0.85 else rng.uniform(-22.0, -14.0)
    azimuth = np.degrees(np.arctan2(np.abs(x), z))
    inside = (y < top - 0.20 * np.abs(x)) & (y > -98.0 + 0.3 * np.abs(x)) & (azimuth < 62.0) & (z > 12.0)
    chosen = skin.faces[inside[skin.faces].all(axis=1)]
    used, faces = np.unique(chosen, return_inverse=True)
    faces = faces.reshape(-1, 3)
    base = skin.vertices[used]
    normal = diffuse_over(surface_normals(base, faces).astype(np.float32), faces, 30).astype(np.float64)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    sheet = diffuse_over(base.astype(np.float32), faces, int(rng.integers(30, 90))).astype(np.float64)
    height = np.einsum("ij,ij->i", sheet - base, normal)
    sheet = base + np.maximum(height + rng.uniform(2.0, 4.0), 2.0)[:, None] * normal
    colour = np.array([0.30, 0.50, 0.62]) if rng.uniform() < 0.35 else any_colour(rng)
    if rng.uniform() < 0.25:
        colour = np.full(3, 0.75)
    pieces = [Piece(sheet, faces, colour, 1.0, 0.0, float(rng.choice([0.05, 0.5])))]
    for side, ear in zip((-1, 1), person.to_head(EAR_MM), strict=True):
        rim = np.flatnonzero(np.sign(x[used]) == side)
        edge = rim[np.argsort(-np.abs(x[used][rim]))[:30]]
        for corner in (edge[np.argmax(sheet[edge, 1])], edge[np.argmin(sheet[edge, 1])]):
            behind = ear + np.array([4.0 * side, -12.0, -14.0])
            line = np.stack(
                [sheet[corner], 0.5 * (sheet[corner] + behind) + 6.0 * side * np.eye(3)[0], behind]
            )
            pieces.append(tube(_curved(line), 1.0, np.full(3, 0.7), sides=5))
    return Thing("mask", OCCLUDER, True, tuple(pieces))


def hat(person: Person, rng: np.random.Generator) -> Thing | None:
    """A beanie, a cap with a visor, a hat with a brim, or a hood, over the hair; None where hair stands too far out."""
    kind = str(rng.choice(["beanie", "cap", "brim", "hood"], p=[0.4, 0.3, 0.18, 0.12]))
    front, back = (rng.uniform(72.0, 96.0), rng.uniform(5.0, 45.0)) if kind != "hood" else (82.0, -75.0)
    radii = _radii(person, front, back)
    if radii.max() > MOST_HAT_MM:
        return None
    rising = rng.uniform(0.0, 14.0) if kind == "beanie" else 0.0
    radii = radii + rng.uniform(2.0, 5.0) + rising * np.linspace(0, 1, len(radii))[:, None]
    angle = (np.arange(HAT_COLUMNS) + 0.5) / HAT_COLUMNS * 2 * np.pi
    shell = _shell(radii, angle, front, back)
    colour, rough = any_colour(rng), float(rng.choice([0.05, 0.2, 0.6]))

    def sheet(rings: np.ndarray) -> Piece:
        own = person.to_head(rings.reshape(-1, 3) + HAT_CENTRE_MM)
        return Piece(own, grid_faces(len(rings), HAT_COLUMNS, closed=True), colour, 1.0, 0.0, rough)

    pieces = [sheet(shell)]
    if kind == "beanie" and rng.uniform() < 0.6:
        pieces.append(sheet(shell[:4] * 1.04))
    if kind in ("cap", "brim"):
        other = colour if rng.uniform() < 0.7 else any_colour(rng)
        pieces.append(_brim(person, rng, shell[0], angle, kind, other))
    return Thing("hat", OCCLUDER, True, tuple(pieces))


def _radii(person: Person, front: float, back: float) -> Float[np.ndarray, "rows columns"]:
    """How far head and hair above a rim reach from `HAT_CENTRE_MM`, by height and azimuth of the direction, mm.

    Args:
        person: Whose head.
        front: Height of the rim in front, canonical mm.
        back: Its height behind.
    """
    parts = [part for part in person.prepared.subject.parts if part.label != CLOTH]
    points = transform(person.canonical_from_head, np.concatenate([part.vertices[::3] for part in parts]))
    arm = points - HAT_CENTRE_MM
    arm = arm[points[:, 1] > np.interp(arm[:, 2], [-90.0, 90.0], [back, front]) - 8.0]
    radius = np.linalg.norm(arm, axis=1)
    turn = np.arctan2(arm[:, 0], arm[:, 2]) / (2 * np.pi) % 1.0
    lift = np.arcsin(np.clip(arm[:, 1] / radius, -1, 1)) / np.pi + 0.5
    column = np.floor(turn * HAT_COLUMNS).astype(int) % HAT_COLUMNS
    row = np.clip(np.floor(lift * 2 * HAT_ROWS), 0, 2 * HAT_ROWS - 1).astype(int)
    grid = np.zeros((2 * HAT_ROWS, HAT_COLUMNS))
    np.maximum.at(grid, (row, column), radius)
    return _filled(grid)


def _shell(
    radii: Float[np.ndarray, "rows columns"], angle: Float[np.ndarray, " columns"], front: float, back: float
) -> Float[np.ndarray, "rings columns 3"]:
    """Rings of a hat from its rim to the top, about `HAT_CENTRE_MM`, mm."""
    rim = np.interp(np.cos(angle), [-1.0, 1.0], [back, front]) - HAT_CENTRE_MM[1]
    lowest = np.arcsin(np.clip(rim / 100.0, -0.95, 0.95))
    up = lowest + np.linspace(0.0, 1.0, HAT_ROWS)[:, None] * (np.pi / 2 - lowest)
    at = np.clip((up / np.pi + 0.5) * len(radii) - 0.5, 0, len(radii) - 1.001)
    low, column = at.astype(int), np.arange(len(angle))
    radius = radii[low, column] * (1 - at + low) + radii[low + 1, column] * (at - low)
    around = np.stack([np.cos(up) * np.sin(angle), np.sin(up), np.cos(up) * np.cos(angle)], axis=2)
    result: np.ndarray = radius[..., None] * around
    return result


def scarf(person: Person, rng: np.random.Generator) -> Thing:
    """One or two turns of cloth about the neck, up to the chin or the nose."""
    pieces = []
    colour, rough = any_colour(rng), float(rng.choice([0.1, 0.4, 0.7]))
    height = rng.uniform(-135.0, -95.0)
    for _ in range(int(rng.integers(1, 4))):
        angle = np.linspace(0, 2 * np.pi, 40)
        thick = rng.uniform(16.0, 30.0)
        wobble = 5.0 * np.sin(2 * angle + rng.uniform(0, 6.3)) + 4.0 * np.sin(3 * angle + rng.uniform(0, 6.3))
        ring = np.stack(
            [(66.0 + 0.4 * thick) * np.sin(angle), height + wobble + 14.0 * np.cos(angle) * rng.uniform(-1, 0.4),
             -8.0 + (74.0 + 0.4 * thick) * np.cos(angle)], axis=1,
        )  # fmt: skip
        pieces.append(
            tube(person.to_head(ring), thick, colour * rng.uniform(0.8, 1.2), sides=12, rough=rough)
        )
        height += rng.uniform(14.0, 30.0)
    return Thing("scarf", OCCLUDER, True, tuple(pieces))


def _brim(
    person: Person,
    rng: np.random.Generator,
    edge: np.ndarray,
    angle: np.ndarray,
    kind: str,
    colour: np.ndarray,
) -> Piece:
    """A visor in front, or a brim all round, from the lowest ring of a hat."""
    width = rng.uniform(50.0, 80.0) if kind == "cap" else rng.uniform(35.0, 85.0)
    span = 1.0 if kind == "brim" else np.clip((np.cos(angle) - 0.25) / 0.6, 0, 1) ** 0.6
    back_to_front = 1.0 if rng.uniform() < 0.85 or kind == "brim" else -1.0
    if back_to_front < 0:
        span = np.clip((-np.cos(angle) - 0.25) / 0.6, 0, 1) ** 0.6
    out = edge * [1.0, 0.0, 1.0]
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    droop = rng.uniform(-0.1, 0.45)
    rings = [
        edge + s * width * np.reshape(span, (-1, 1)) * (out - [0.0, droop * s, 0.0])
        for s in (0, 0.35, 0.7, 1.0)
    ]
    points = np.concatenate(rings) + HAT_CENTRE_MM
    return Piece(person.to_head(points), grid_faces(4, len(angle), closed=True), colour, 1.0, 0.02, 0.1)


def _filled(grid: np.ndarray) -> np.ndarray:
    """A map of radii by direction with its empty cells filled from neighbours and its steps smoothed outwards."""
    wide = np.pad(grid, ((0, 0), (6, 6)), mode="wrap")
    known = wide > 0
    index = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    wide = wide[tuple(index)]
    wide = ndimage.maximum_filter(wide, 3)
    smooth = np.maximum(ndimage.gaussian_filter(wide, 1.5), 0.0)
    result: np.ndarray = np.maximum(wide, smooth)[:, 6:-6]
    return ndimage.gaussian_filter(result, 0.7, mode=("nearest", "wrap"))


def _curved(corners: Float[np.ndarray, "n 3"], points: int = 14) -> Float[np.ndarray, "points 3"]:
    """A smooth line through corners."""
    at = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    share = np.linspace(0, at[-1], points)
    line = np.stack([np.interp(share, at, axis) for axis in corners.T], axis=1)
    for _ in range(2):
        line[1:-1] = 0.25 * line[:-2] + 0.5 * line[1:-1] + 0.25 * line[2:]
    return line
