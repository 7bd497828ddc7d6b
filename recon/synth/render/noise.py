"""Seeded noise in three dimensions: the raw material of skin mottling, pores, fabric and hair streaks.

Gradient noise after Perlin ("Improving noise", 2002): quintic interpolation between gradients that hang on
the integer lattice. Here the gradients come from an integer hash of lattice point and seed, so that any seed
gives another field and no table is stored.
"""

import numpy as np
from jaxtyping import Float

from recon.compiled import compiled


def noise(points: Float[np.ndarray, "n 3"], wavelength_mm: float, seed: int) -> Float[np.ndarray, " n"]:
    """Evaluates gradient noise with features about `wavelength_mm` wide.

    Args:
        points: Places, mm.
        wavelength_mm: Distance between lattice points.
        seed: Seed of the field.

    Returns:
        float32 values, mean 0, roughly in [-1, 1] (standard deviation about 0.35).
    """
    return _noise(points.astype(np.float32), np.float32(1.0 / wavelength_mm), np.int64(seed))[:, 0].copy()


def noise_gradient(
    points: Float[np.ndarray, "n 3"], wavelength_mm: float, seed: int
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
    """Evaluates the same noise with its gradient with respect to `points / wavelength_mm`."""
    out = _noise(points.astype(np.float32), np.float32(1.0 / wavelength_mm), np.int64(seed))
    return out[:, 0].copy(), out[:, 1:].copy()


def fractal(
    points: Float[np.ndarray, "n 3"], wavelength_mm: float, seed: int, *, octaves: int = 3, gain: float = 0.5
) -> Float[np.ndarray, " n"]:
    """Evaluates a sum of octaves of `noise`, each of half the wavelength and `gain` times the height of the last."""
    total = np.zeros(len(points), np.float32)
    for octave in range(octaves):
        total += gain**octave * noise(points, wavelength_mm / 2**octave, seed + 7919 * octave)
    return total


def streaks(
    points: Float[np.ndarray, "n 3"],
    tangents: Float[np.ndarray, "n 3"],
    width_mm: float,
    length_mm: float,
    seed: int,
) -> Float[np.ndarray, " n"]:
    """Evaluates noise smeared along a direction field (line integral convolution, straight lines, Gaussian window).

    A function of the point and the tangent only, so that all views see the same streaks.

    Args:
        points: Places, mm.
        tangents: Unit directions.
        width_mm: Width of a streak.
        length_mm: Standard deviation of the window along the tangent.
        seed: Seed of the field.

    Returns:
        float32 values with mean 0 and standard deviation about 1.
    """
    return _streaks(
        points.astype(np.float32),
        tangents.astype(np.float32),
        np.float32(1.0 / width_mm),
        np.float32(length_mm),
        np.int64(seed),
    )


@compiled
def _lattice(x, y, z, seed):  # type: ignore[no-untyped-def]
    # numba widens products of 32-bit numbers to 64 bits; the mask brings them back.
    mask = np.uint64(0xFFFFFFFF)
    n = np.uint64(x) * np.uint64(0x8DA6B343) + np.uint64(y) * np.uint64(0xD8163841)
    n += np.uint64(z) * np.uint64(0xCB1AB31F) + np.uint64(seed) * np.uint64(0x9E3779B1)
    n &= mask
    n ^= n >> np.uint64(16)
    n = (n * np.uint64(0x7FEB352D)) & mask
    n ^= n >> np.uint64(15)
    n = (n * np.uint64(0x846CA68B)) & mask
    n ^= n >> np.uint64(16)
    return n


@compiled
def _noise(points, frequency, seed):  # type: ignore[no-untyped-def]
    out = np.empty((len(points), 4), np.float32)
    scale = np.float32(1.0 / 511.5)
    for i in range(len(points)):
        px, py, pz = points[i, 0] * frequency, points[i, 1] * frequency, points[i, 2] * frequency
        ix, iy, iz = np.floor(px), np.floor(py), np.floor(pz)
        fx, fy, fz = px - ix, py - iy, pz - iz
        cx, cy, cz = np.int64(ix), np.int64(iy), np.int64(iz)
        wx = fx * fx * fx * (fx * (fx * 6 - 15) + 10)
        wy = fy * fy * fy * (fy * (fy * 6 - 15) + 10)
        wz = fz * fz * fz * (fz * (fz * 6 - 15) + 10)
        dwx = 30 * fx * fx * (fx * (fx - 2) + 1)
        dwy = 30 * fy * fy * (fy * (fy - 2) + 1)
        dwz = 30 * fz * fz * (fz * (fz - 2) + 1)
        value = np.float32(0)
        gx, gy, gz = np.float32(0), np.float32(0), np.float32(0)
        for corner in range(8):
            ox, oy, oz = corner & 1, (corner >> 1) & 1, corner >> 2
            h = _lattice(cx + ox, cy + oy, cz + oz, seed)
            hx = np.float32(h & np.uint64(1023)) * scale - np.float32(1)
            hy = np.float32((h >> np.uint64(10)) & np.uint64(1023)) * scale - np.float32(1)
            hz = np.float32((h >> np.uint64(20)) & np.uint64(1023)) * scale - np.float32(1)
            dot = hx * (fx - ox) + hy * (fy - oy) + hz * (fz - oz)
            ax = wx if ox else 1 - wx
            ay = wy if oy else 1 - wy
            az = wz if oz else 1 - wz
            value += ax * ay * az * dot
            gx += ax * ay * az * hx + (dwx if ox else -dwx) * ay * az * dot
            gy += ax * ay * az * hy + (dwy if oy else -dwy) * ax * az * dot
            gz += ax * ay * az * hz + (dwz if oz else -dwz) * ax * ay * dot
        out[i, 0] = value * np.float32(1.5)
        out[i, 1] = gx * np.float32(1.5)
        out[i, 2] = gy * np.float32(1.5)
        out[i, 3] = gz * np.float32(1.5)
    return out


@compiled
def _streaks(points, tangents, frequency, length, seed):  # type: ignore[no-untyped-def]
    # Taps no farther apart than the streak is wide, or the streak would break into beads.
    taps = min(2 * int(np.ceil(2 * length * frequency)) + 1, 64)
    offsets = np.empty(taps, np.float32)
    window = np.empty(taps, np.float32)
    for k in range(taps):
        s = np.float32(2 * k / (taps - 1) - 1)
        offsets[k] = 2 * s * length
        window[k] = np.exp(-2 * s * s)
    # A tap reads one uniform number in [-1, 1] per lattice cell; its variance is 1/3.
    window /= np.sqrt((window**2).sum() / 3)
    out = np.zeros(len(points), np.float32)
    scale = np.float32(1.0 / 2147483648.0)
    for i in range(len(points)):
        px, py, pz = points[i, 0] * frequency, points[i, 1] * frequency, points[i, 2] * frequency
        tx, ty, tz = tangents[i, 0] * frequency, tangents[i, 1] * frequency, tangents[i, 2] * frequency
        total = np.float32(0)
        for k in range(taps):
            x = np.int64(np.floor(px + offsets[k] * tx))
            y = np.int64(np.floor(py + offsets[k] * ty))
            z = np.int64(np.floor(pz + offsets[k] * tz))
            total += window[k] * (np.float32(_lattice(x, y, z, seed)) * scale - np.float32(1))
        out[i] = total
    return out
