"""The room around the subject: one procedural panorama, both blurred background and ambient light.

The room stands still while the camera moves around the subject, so every view sees its own stretch of the
same wall and the light on the subject never moves. Directions are in the canonical head frame (+Y up, +Z out
of the face, +X subject's left).
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy import ndimage

HEIGHT, WIDTH = 128, 256


@dataclass(frozen=True)
class Lamp:
    """A distant light with soft edges.

    Attributes:
        direction: Unit vector from the subject to the lamp.
        irradiance: Linear RGB that a white surface facing the lamp sends back.
        radius_deg: Angular radius, which softens its shadows.
    """

    direction: Float[np.ndarray, "3"]
    irradiance: Float[np.ndarray, "3"]
    radius_deg: float


@dataclass(frozen=True)
class Room:
    """Ambient light and lamps.

    Attributes:
        panorama: Linear radiance; row 0 looks up, column 0 looks along -Z, columns turn by +X, +Z,
            -X.
        lamps: The lights that cast shadows.
    """

    panorama: Float[np.ndarray, "h w 3"]
    lamps: tuple[Lamp, ...]

    def radiance(self, directions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Looks up the linear radiance that arrives from unit directions, bilinear in the panorama."""
        height, width = self.panorama.shape[:2]
        row = np.arccos(np.clip(directions[:, 1], -1, 1)) / np.pi * height - 0.5
        column = (np.arctan2(directions[:, 0], -directions[:, 2]) / (2 * np.pi) % 1.0) * width - 0.5
        row = np.clip(row, 0, height - 1)
        r0 = np.minimum(row.astype(np.int64), height - 2)
        c0 = np.floor(column).astype(np.int64)
        fr, fc = (row - r0)[:, None], (column - c0)[:, None]
        left, right = c0 % width, (c0 + 1) % width
        top = self.panorama[r0, left] * (1 - fc) + self.panorama[r0, right] * fc
        bottom = self.panorama[r0 + 1, left] * (1 - fc) + self.panorama[r0 + 1, right] * fc
        return (top * (1 - fr) + bottom * fr).astype(np.float32)

    def turned(self, azimuth_deg: float) -> "Room":
        """Returns the room turned about the vertical: what was in front of the face (+Z) is then at that azimuth."""
        width = self.panorama.shape[1]
        # Azimuths fall as columns rise.
        column = np.arange(width) + azimuth_deg / 360.0 * width
        low = np.floor(column).astype(np.int64)
        share = (column - low)[:, None].astype(np.float32)
        panorama = self.panorama[:, low % width] * (1 - share) + self.panorama[:, (low + 1) % width] * share
        a = np.radians(azimuth_deg)
        turn = np.array([[np.cos(a), 0.0, np.sin(a)], [0.0, 1.0, 0.0], [-np.sin(a), 0.0, np.cos(a)]])
        lamps = (replace(lamp, direction=turn @ lamp.direction) for lamp in self.lamps)
        return Room(panorama, tuple(lamps))


def sphere_directions(count: int) -> Float[np.ndarray, "count 3"]:
    """Directions spread evenly over the sphere (Fibonacci lattice)."""
    i = np.arange(count) + 0.5
    y = 1 - 2 * i / count
    turn = i * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - y * y)
    return np.stack([ring * np.sin(turn), y, ring * np.cos(turn)], axis=1)


def direction(azimuth_deg: float, elevation_deg: float) -> Float[np.ndarray, "3"]:
    """Unit vector; azimuth 0 looks out of the face (+Z), 90 to the subject's left (+X); elevation up."""
    a, e = np.radians(azimuth_deg), np.radians(elevation_deg)
    return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])


def draw_room(rng: np.random.Generator, side: float | None = None) -> Room:
    """Draws a room: tinted walls, ceiling, floor, furniture as soft blobs, one or two windows, and lamps.

    Args:
        rng: Generator, consumed.
        side: Place of the first window, and with it of the strongest lamp, from 0, 75 degrees to the subject's
            right, to 1, as far to the left; drawn by default.

    Returns:
        The room; irradiance from everything together is near 1, so that exposure needs little correction.
    """
    grid_row, grid_column = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    elevation = 90 - (grid_row + 0.5) / HEIGHT * 180
    azimuth = (grid_column + 0.5) / WIDTH * 360 - 180
    warm = rng.uniform(-0.06, 0.10)
    wall = rng.uniform(0.20, 0.48) * np.array([1 + warm, 1.0, 1 - 1.2 * warm]) * rng.uniform(0.95, 1.05, 3)
    ceiling = rng.uniform(0.55, 0.9) * np.array([1 + 0.5 * warm, 1.0, 1 - 0.6 * warm])
    floor = rng.uniform(0.08, 0.3) * np.array([1.1, 0.92, 0.75])
    panorama = np.broadcast_to(wall, (HEIGHT, WIDTH, 3)).copy()
    _box(panorama, azimuth, elevation, (0.0, 361.0), (rng.uniform(38, 52), 91.0), ceiling)
    _box(panorama, azimuth, elevation, (0.0, 361.0), (-91.0, -rng.uniform(22, 34)), floor)
    corner = rng.uniform(0, 360)
    for side in range(4):
        tone = wall * rng.uniform(0.8, 1.15)
        _box(panorama, azimuth, elevation, (corner + 90.0 * side, 90.0), (-28.0, 45.0), tone)
    for _ in range(rng.integers(5, 11)):
        colour = rng.uniform(0.04, 0.5) * (1 + rng.uniform(-0.2, 0.2, 3))
        low = rng.uniform(-40, 5)
        _box(
            panorama, azimuth, elevation, (rng.uniform(0, 360), rng.uniform(8, 38)),
            (low, low + rng.uniform(8, 40)), colour,
        )  # fmt: skip
    window = -75.0 + 150.0 * (float(rng.uniform()) if side is None else side)
    for k in range(1 + int(rng.uniform() < 0.35)):
        size = rng.uniform(24, 44)
        _box(
            panorama,
            azimuth,
            elevation,
            (window - size / 2 + 150 * k, size),
            (-5.0, 34.0),
            np.array([1.15, 1.2, 1.28]),
        )
    panorama = _blur(panorama, rng.uniform(2.2, 3.6))
    lamps = [_lamp(rng, window, (18.0, 42.0), rng.uniform(0.55, 1.0), rng.uniform(5, 10), cool=True)]
    if rng.uniform() < 0.6:
        other = window + rng.choice([-1, 1]) * rng.uniform(80, 170)
        lamps.append(_lamp(rng, other, (25.0, 60.0), rng.uniform(0.15, 0.4), rng.uniform(4, 8), cool=False))
    return Room(panorama.astype(np.float32), tuple(lamps))


def _lamp(
    rng: np.random.Generator,
    azimuth: float,
    elevation: tuple[float, float],
    power: float,
    radius_deg: float,
    *,
    cool: bool,
) -> Lamp:
    tint = np.array([0.97, 1.0, 1.05]) if cool else np.array([1.1, 1.0, 0.84])
    return Lamp(direction(azimuth, rng.uniform(*elevation)), power * tint, float(radius_deg))


def _box(
    panorama: np.ndarray,
    azimuth: np.ndarray,
    elevation: np.ndarray,
    span: tuple[float, float],
    heights: tuple[float, float],
    colour: np.ndarray,
) -> None:
    """Paints the box that starts at azimuth span[0] and is span[1] degrees wide."""
    inside = ((azimuth - span[0]) % 360 < span[1]) & (elevation > heights[0]) & (elevation < heights[1])
    panorama[inside] = colour


def _blur(panorama: np.ndarray, sigma_deg: float) -> np.ndarray:
    sigma = sigma_deg / 180 * HEIGHT
    out = ndimage.gaussian_filter1d(panorama, sigma, axis=0, mode="nearest")
    return ndimage.gaussian_filter1d(out, sigma, axis=1, mode="wrap")
