"""Backdrops for portraits, from plain walls to what misleads a segmenter: clutter, the head's shadow on the wall,
another person's shoulder, a ground of the hair's colour, and a hand at the chin.

Everything is linear light, as `recon.synth.render.photograph.expose` gives it, and drawn from a generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

SHADOW_DEPTH = 0.45
"""Light that is left in the middle of a shadow."""
FINGERS = 4


@dataclass(frozen=True, eq=False)
class Cutout:
    """A person before no background.

    Attributes:
        light: (h, w, 3) linear light, weighted by coverage.
        coverage: (h, w) share of each pixel that the person covers.
        hair_coverage: (h, w) share of each pixel that the hair of the head covers.
        chin: (x, y) of the chin, pixels.
        face_px: Height of the face from brows to chin, pixels.
    """

    light: Float[np.ndarray, "height width 3"]
    coverage: Float[np.ndarray, "height width"]
    hair_coverage: Float[np.ndarray, "height width"]
    chin: tuple[float, float]
    face_px: float


@dataclass(frozen=True, eq=False)
class Composed:
    """A person before a backdrop.

    Attributes:
        light: (h, w, 3) linear light.
        mask: (h, w) the person, where it is not covered.
        hand: (h, w) a hand before the person.
        lure: (h, w) what of the backdrop may be taken for the person: a shadow, a shoulder.
    """

    light: Float[np.ndarray, "height width 3"]
    mask: Bool[np.ndarray, "height width"]
    hand: Bool[np.ndarray, "height width"]
    lure: Bool[np.ndarray, "height width"]


def plain(person: Cutout, rng: np.random.Generator, other: Cutout | None = None) -> Composed:
    """A wall of one colour, lit a little from one side."""
    return _before(person, _wall(person, rng))


def clutter(person: Cutout, rng: np.random.Generator, other: Cutout | None = None) -> Composed:
    """A wall with stripes or stains, and some thirty things of any colour, of which some are blurred."""
    height, width = person.coverage.shape
    picture = _wall(person, rng) * (0.6 + 0.8 * _stains(height, width, rng)[..., None])
    y, x = np.mgrid[:height, :width].astype(np.float32)
    if rng.random() < 0.5:
        angle, period = rng.uniform(0, np.pi), rng.uniform(0.03, 0.1) * width
        stripes = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period) > 0
        picture[stripes] *= rng.uniform(0.5, 0.9)
    for number in range(30):
        colour = (rng.uniform(0.02, 0.9) * rng.uniform(0.3, 1.0, 3)).astype(np.float32)
        centre, half = rng.uniform(0, [width, height]), rng.uniform(0.02, 0.18, 2) * width
        turn = rng.uniform(0, np.pi)
        u = (x - centre[0]) * np.cos(turn) + (y - centre[1]) * np.sin(turn)
        v = (y - centre[1]) * np.cos(turn) - (x - centre[0]) * np.sin(turn)
        inside = (np.maximum if number % 2 else np.hypot)(np.abs(u) / half[0], np.abs(v) / half[1]) < 1
        picture[inside] = colour * (0.7 + 0.6 * (u[inside] / half[0] * 0.5 + 0.5))[:, None]
    blur = rng.choice([0.0, 0.004, 0.012]) * width
    return _before(person, ndimage.gaussian_filter(picture, (blur, blur, 0)))


def shadow(person: Cutout, rng: np.random.Generator, other: Cutout | None = None) -> Composed:
    """The person's own shadow on a light wall, a little to the side."""
    width = person.coverage.shape[1]
    side = rng.choice([-1, 1])
    shift = (rng.uniform(0.02, 0.05) * width, side * rng.uniform(0.08, 0.14) * width)
    cast = ndimage.gaussian_filter(person.coverage, rng.uniform(0.006, 0.015) * width)
    cast = np.clip(ndimage.shift(cast, shift, order=1, mode="nearest"), 0, 1)
    picture = _wall(person, rng, lightness=(0.45, 0.8)) * (1 - SHADOW_DEPTH * cast[..., None])
    return _before(person, picture, lure=cast > 0.5)


def shoulder(person: Cutout, rng: np.random.Generator, other: Cutout | None = None) -> Composed:
    """Another person's shoulder that reaches into the picture behind the person."""
    picture = _wall(person, rng)
    assert other is not None
    height, width = person.coverage.shape
    side = rng.choice([-1, 1])
    shift = (-rng.uniform(0.05, 0.15) * height, side * rng.uniform(0.3, 0.4) * width)
    below = np.arange(height)[:, None] > other.chin[1] + 0.35 * other.face_px
    moved = [
        ndimage.shift(each * below, shift, order=1)
        for each in (*np.moveaxis(other.light, 2, 0), other.coverage)
    ]
    covered = np.clip(moved[3], 0, 1)
    picture = picture * (1 - covered[..., None]) + np.stack(moved[:3], axis=2)
    return _before(person, picture, lure=covered > 0.5)


def hair_coloured(person: Cutout, rng: np.random.Generator, other: Cutout | None = None) -> Composed:
    """A wall of the hair's colour and nearly its lightness: dark hair before dark ground."""
    share = np.minimum(person.hair_coverage, person.coverage)
    if share.sum() < 100:
        share = person.coverage
    inner = share > 0.9
    colour = person.light[inner].mean(axis=0) * rng.uniform(0.7, 1.3)
    wall = _wall(person, rng)
    return _before(person, (wall / wall.mean() * colour).astype(np.float32))


def hand(person: Cutout, rng: np.random.Generator, other: Cutout | None = None) -> Composed:
    """Capsules like a hand, of the skin's colour, before the chin; the wall is plain."""
    found = _before(person, _wall(person, rng))
    height, width = person.coverage.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    side, unit = rng.choice([-1, 1]), person.face_px
    chin = np.array(person.chin)
    wrist = chin + np.array([side * 0.75, 1.3]) * unit
    palm = chin + np.array([side * 0.35, 0.25]) * unit
    bones = [(wrist, palm, 0.2 * unit)]
    for finger in range(FINGERS):
        base = palm + np.array([side * (0.09 - 0.06 * finger), -0.06 + 0.09 * finger]) * unit
        tip = base + np.array([-side * rng.uniform(0.45, 0.6), -rng.uniform(0.1, 0.2)]) * unit
        bones.append((base, tip, 0.055 * unit))
    depth = np.zeros((height, width), np.float32)
    for start, end, radius in bones:
        along = np.clip(
            ((x - start[0]) * (end - start)[0] + (y - start[1]) * (end - start)[1])
            / ((end - start) ** 2).sum(),
            0,
            1,
        )
        distance = np.hypot(x - start[0] - along * (end - start)[0], y - start[1] - along * (end - start)[1])
        depth = np.maximum(depth, np.sqrt(np.clip(1 - (distance / radius) ** 2, 0, 1)))
    x0, y0 = (int(np.clip(c, 0, n - 1)) for c, n in zip(person.chin, (width, height), strict=True))
    near = person.light[max(y0 - round(0.5 * unit), 0) : y0, max(x0 - 9, 0) : x0 + 10]
    colour = np.median(near.reshape(-1, 3), axis=0)
    share = np.clip(ndimage.gaussian_filter((depth > 0).astype(np.float32), 0.7), 0, 1)[..., None]
    light = found.light * (1 - share) + share * colour * (0.45 + 0.6 * depth[..., None])
    covered = depth > 0
    return Composed(light.astype(np.float32), found.mask & ~covered, covered, found.lure)


Backdrop = Callable[[Cutout, np.random.Generator, "Cutout | None"], Composed]
BACKDROPS: dict[str, Backdrop] = {
    "plain": plain,
    "clutter": clutter,
    "shadow": shadow,
    "shoulder": shoulder,
    "hair_coloured": hair_coloured,
    "hand": hand,
}


def _wall(
    person: Cutout, rng: np.random.Generator, lightness: tuple[float, float] = (0.05, 0.8)
) -> Float[np.ndarray, "height width 3"]:
    """One colour with a slope of light."""
    height, width = person.coverage.shape
    y, x = np.mgrid[:height, :width].astype(np.float32) / max(height, width) - 0.5
    colour = rng.uniform(*lightness) * (1 + rng.uniform(-0.15, 0.15, 3))
    slope = rng.uniform(-0.35, 0.35, 2)
    result: np.ndarray = (colour * (1 + slope[0] * x + slope[1] * y)[..., None]).astype(np.float32)
    return result


def _stains(height: int, width: int, rng: np.random.Generator) -> Float[np.ndarray, "height width"]:
    """Smooth noise of several sizes in [0, 1]."""
    total = np.zeros((height, width), np.float32)
    for octave in range(5):
        cells = 4 * 2**octave
        coarse = rng.random((cells, cells)).astype(np.float32)
        total += ndimage.zoom(coarse, (height / cells, width / cells), order=1)[:height, :width] / 2**octave
    result: np.ndarray = (total - total.min()) / max(float(np.ptp(total)), 1e-6)
    return result


def _before(person: Cutout, backdrop: np.ndarray, lure: np.ndarray | None = None) -> Composed:
    """The person before a backdrop."""
    mask = person.coverage > 0.5
    nothing = np.zeros_like(mask)
    light = person.light + (1 - person.coverage[..., None]) * backdrop
    return Composed(light.astype(np.float32), mask, nothing, nothing if lure is None else lure & ~mask)
