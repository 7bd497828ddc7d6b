"""Backgrounds of portraits in linear light: rooms, leaves, stripes, letters, clutter, lights out of focus, walls, and
other people's blurred heads and shoulders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Float32
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

Picture = Float32[np.ndarray, "h w 3"]
KINDS = {
    "clutter": 0.22,
    "room": 0.20,
    "leaves": 0.14,
    "wall": 0.14,
    "letters": 0.08,
    "stripes": 0.08,
    "lights": 0.14,
}
"""How often each kind is drawn."""
OTHERS = 0.25
"""Share of backgrounds in which another person stands."""
SKIN_AND_HAIR = np.array([[0.55, 0.30, 0.19], [0.26, 0.11, 0.06], [0.04, 0.018, 0.01], [0.006, 0.005, 0.005]])
"""Linear colours that things have as often as others."""


def draw_backdrop(
    rng: np.random.Generator, size: int, others: Sequence[tuple[np.ndarray, np.ndarray]] = ()
) -> Picture:
    """Draws a background.

    Args:
        rng: Generator, consumed.
        size: Side of the picture, pixels.
        others: Light and cover of other people's portraits, of which one may stand in the background.
    """
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    picture = _MAKERS[kind](rng, size)
    if others and rng.uniform() < OTHERS:
        picture = _with_person(picture, *others[int(rng.integers(len(others)))], rng)
    blur = float(rng.choice([0.0, 0.004, 0.012, 0.03])) * size
    if blur:
        picture = ndimage.gaussian_filter(picture, (blur, blur, 0))
    level = float(np.exp(rng.normal(-1.5, 0.8)))
    return np.clip(picture * (level / max(float(picture.mean()), 1e-4)), 0.0, 1.0).astype(np.float32)


def _colour(rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    if rng.uniform() < 0.3:
        return SKIN_AND_HAIR[rng.integers(4)] * rng.uniform(0.6, 1.6)
    return np.exp(rng.uniform(np.log(0.01), np.log(0.8))) * np.exp(rng.normal(0, 0.4, 3))


def _axes(size: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:size, :size].astype(np.float32)
    return (x + 0.5) / size, (y + 0.5) / size


def _wall(rng: np.random.Generator, size: int) -> Picture:
    """A wall of one colour with a slope of light and stains."""
    x, y = _axes(size)
    slope = 1 + rng.uniform(-0.6, 0.6) * (x - 0.5) + rng.uniform(-0.6, 0.6) * (y - 0.5)
    cells = int(rng.integers(3, 14))
    stains = ndimage.zoom(rng.random((cells, cells)).astype(np.float32), size / cells, order=1)
    shade = slope * (1 + rng.uniform(0, 0.4) * (stains - 0.5))
    return (shade[..., None] * _colour(rng)).astype(np.float32)


def _room(rng: np.random.Generator, size: int) -> Picture:
    """Walls that meet in a corner, a floor, and boxes: windows, doors, shelves, pictures."""
    x, y = _axes(size)
    corner, floor, tilt = rng.uniform(-0.2, 1.2), rng.uniform(0.6, 1.1), rng.normal(0, 0.15)
    picture = _wall(rng, size)
    beyond = x > corner
    picture[beyond] *= rng.uniform(0.5, 0.9)
    ground = y > floor + tilt * np.abs(x - corner)
    picture[ground] = _colour(rng) * (0.7 + 0.6 * y[ground, None])
    for _ in range(int(rng.integers(3, 12))):
        left, top = rng.uniform(-0.2, 1.0, 2)
        width, height = rng.uniform(0.05, 0.5, 2)
        inside = (x > left) & (x < left + width) & (y > top) & (y < top + height)
        colour = rng.uniform(1.0, 2.5) * np.ones(3) if rng.uniform() < 0.2 else _colour(rng)
        picture[inside] = colour * (0.8 + 0.4 * (y[inside, None] - top) / height)
        if rng.uniform() < 0.5:  # a frame, or shelves
            bars = np.abs(((y - top) / height * rng.integers(1, 7)) % 1.0 - 0.5) > rng.uniform(0.38, 0.48)
            picture[inside & bars] *= rng.uniform(0.2, 0.7)
    return picture


def _leaves(rng: np.random.Generator, size: int) -> Picture:
    """Leaves and branches before a sky, nearer ones larger."""
    green = np.array([0.10, 0.20, 0.05]) * np.exp(rng.normal(0, 0.4, 3))
    _, y = _axes(size)
    sky = np.array([0.5, 0.6, 0.8]) * rng.uniform(0.3, 1.5)
    picture = Image.fromarray(
        (np.sqrt(np.clip(sky * (1.2 - 0.5 * y[..., None]), 0, 1)) * 255).astype(np.uint8)
    )
    draw = ImageDraw.Draw(picture)
    for number in range(int(rng.integers(120, 420))):
        near = 0.3 + 0.7 * number / 420
        centre, long = rng.uniform(0, size, 2), size * near * rng.uniform(0.02, 0.10)
        turn, thin = rng.uniform(0, np.pi), rng.uniform(0.25, 0.6)
        angle = np.linspace(0, 2 * np.pi, 9)
        across, along = long * thin * np.sin(angle), long * np.cos(angle)
        points = np.stack([centre[0] + across * np.cos(turn) - along * np.sin(turn),
                           centre[1] + across * np.sin(turn) + along * np.cos(turn)], axis=1)  # fmt: skip
        colour = np.sqrt(np.clip(green * np.exp(rng.normal(0, 0.7)) * np.exp(rng.normal(0, 0.15, 3)), 0, 1))
        draw.polygon([tuple(p) for p in points], fill=tuple(int(c) for c in colour * 255))
    return (np.asarray(picture, np.float32) / 255) ** 2


def _stripes(rng: np.random.Generator, size: int) -> Picture:
    """Stripes or checks of any width and direction, straight or bent."""
    x, y = _axes(size)
    turn, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(0.015), np.log(0.2)))
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    u = u + rng.uniform(0, 0.05) * np.sin(v * rng.uniform(3, 20))
    wave = np.sin(2 * np.pi * u / period)
    if rng.uniform() < 0.4:
        wave = wave * np.sin(2 * np.pi * v / period)
    share = np.clip(wave * rng.choice([1.0, 8.0]) + 0.5, 0, 1)[..., None]
    return (_colour(rng) * share + _colour(rng) * (1 - share)).astype(np.float32)


def _letters(rng: np.random.Generator, size: int) -> Picture:
    """Lines of letters on a wall."""
    picture = Image.fromarray((np.sqrt(np.clip(_wall(rng, size), 0, 1)) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    ink = tuple(int(c) for c in np.sqrt(np.clip(_colour(rng), 0, 1)) * 255)
    height = int(rng.integers(9, 70))
    font = ImageFont.load_default(height)
    for row in range(0, size, int(height * 1.3)):
        codes = rng.integers(48, 123, 40)
        draw.text((float(rng.uniform(-size, 10)), row), "".join(map(chr, codes)), fill=ink, font=font)
    return (np.asarray(picture, np.float32) / 255) ** 2


def _lights(rng: np.random.Generator, size: int) -> Picture:
    """Lights out of focus before the dark or a blurred room."""
    picture = ndimage.gaussian_filter(_room(rng, size), (size * 0.05, size * 0.05, 0)) * rng.uniform(0.1, 1.0)
    x, y = _axes(size)
    for _ in range(int(rng.integers(5, 40))):
        radius = rng.uniform(0.01, 0.08)
        away = np.hypot(x - rng.uniform(), y - rng.uniform())
        picture += np.clip((radius - away) * size, 0, 1)[..., None] * _colour(rng) * rng.uniform(0.5, 4.0)
    return picture.astype(np.float32)


def _clutter(rng: np.random.Generator, size: int) -> Picture:
    """Things of any colour before a wall, smooth, stained or striped."""
    x, y = _axes(size)
    stains = ndimage.zoom(rng.random((40, 40, 3)).astype(np.float32), (size / 40, size / 40, 1), order=1)
    fine = rng.random((size, size, 1), np.float32)
    textures = (np.ones_like(stains), 0.5 + stains, 0.6 + 0.8 * fine, 0.4 + _stripes(rng, size))
    picture = _wall(rng, size) * textures[rng.integers(4)]
    for _ in range(int(rng.integers(8, 30))):
        centre, half, turn = rng.uniform(0, 1, 2), rng.uniform(0.02, 0.2, 2), rng.uniform(0, np.pi)
        u = ((x - centre[0]) * np.cos(turn) + (y - centre[1]) * np.sin(turn)) / half[0]
        v = ((y - centre[1]) * np.cos(turn) - (x - centre[0]) * np.sin(turn)) / half[1]
        inside = (np.maximum(np.abs(u), np.abs(v)) if rng.uniform() < 0.5 else np.hypot(u, v)) < 1
        shade = 0.7 + 0.3 * u[inside, None]
        picture[inside] = _colour(rng) * shade * textures[rng.integers(4)][inside]
    return picture.astype(np.float32)


def _with_person(
    picture: np.ndarray, light: np.ndarray, cover: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A background with another person out of focus, mostly cut by the picture's side."""
    size = len(picture)
    scale = rng.uniform(0.6, 1.6)
    side = round(size * scale)
    both = np.concatenate([light, cover[..., None]], axis=2)
    zoomed = ndimage.zoom(both, (scale, scale, 1), order=1)[:side, :side]
    blur = float(rng.uniform(0.003, 0.02)) * size
    zoomed = ndimage.gaussian_filter(zoomed, (blur, blur, 0))
    left = int(rng.choice([-1, 1]) * rng.uniform(0.25, 0.75) * size + (size - side) / 2)
    top = int(rng.uniform(-0.3, 0.4) * size + (size - side) / 2)
    canvas = np.zeros((size, size, 4), np.float32)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, size), min(top + side, size)
    x1, y1 = min(x1, left + zoomed.shape[1]), min(y1, top + zoomed.shape[0])
    if x1 <= x0 or y1 <= y0:
        return picture
    canvas[y0:y1, x0:x1] = zoomed[y0 - top : y1 - top, x0 - left : x1 - left]
    result: np.ndarray = (
        canvas[..., :3] * rng.uniform(0.4, 1.3) + (1 - np.clip(canvas[..., 3:], 0, 1)) * picture
    )
    return result


_MAKERS: dict[str, Callable[[np.random.Generator, int], Picture]] = {
    "clutter": _clutter,
    "room": _room,
    "leaves": _leaves,
    "wall": _wall,
    "letters": _letters,
    "stripes": _stripes,
    "lights": _lights,
}
