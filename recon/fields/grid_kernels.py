"""The loops of grid encodings, compiled with numba; `recon.fields.level_grid` says what the arrays mean.

Three sums over the values (taps) that a point depends on, each also for the weights' derivative along a direction:

    gather      features of points          Σ ω T
    gradient    gradients by the points     Σ ∇ω (T · g)
    scatter     gradients by the table      T += ω g

They are each other's derivatives, so that any order of differentiation needs no fourth.
"""

from functools import partial

import numpy as np

from recon.compiled import compiled

_fast = partial(compiled, fastmath=True)


@_fast
def _place(x, scale, offset, last, taps, weight):  # type: ignore[no-untyped-def]
    """First tap along an axis; weights of the taps with their first and second derivatives by x go to `weight`."""
    unit = (x + 1) / 2
    rate = scale / 2
    if unit < 0:
        unit, rate = 0 * unit, 0 * rate
    elif unit > 1:
        unit, rate = 0 * unit + 1, 0 * rate
    place = unit * scale + offset
    first = min(int(place), last)
    t = place - first
    if taps == 2:
        weight[0, 0], weight[0, 1] = 1 - t, t
        weight[1, 0], weight[1, 1] = -rate, rate
        weight[2, 0], weight[2, 1] = 0, 0
    else:
        rest = 1 - t
        weight[0, 0], weight[0, 1], weight[0, 2] = rest * rest / 2, (1 + 2 * t * rest) / 2, t * t / 2
        weight[1, 0], weight[1, 1], weight[1, 2] = -rest * rate, (rest - t) * rate, t * rate
        square = rate * rate
        weight[2, 0], weight[2, 1], weight[2, 2] = square, -2 * square, square
    return first


@_fast
def _entry(x, y, z, side, size, hashed):  # type: ignore[no-untyped-def]
    """Place in its level's table of the value at a corner."""
    if hashed:
        return (x ^ (y * 2654435761) ^ (z * 805459861)) & (size - 1)
    entry = x + side * (y + side * z)
    return entry if entry < size else entry - size  # at the far border of the cube, as in tinycudann


@_fast
def gather(points, table, along, levels, taps, offset, out):  # type: ignore[no-untyped-def]
    """Add features of points to `out`; with `along` their derivatives in these directions.

    `levels` has a row for each grid: scale, last first tap, side, first entry, entries, hashed or not.
    """
    features = table.shape[1]
    x, y, z = (np.empty((3, 3), points.dtype), np.empty((3, 3), points.dtype), np.empty((3, 3), points.dtype))
    for level in range(len(levels)):
        scale, last, side = points.dtype.type(levels[level, 0]), int(levels[level, 1]), int(levels[level, 2])
        start, size, hashed = int(levels[level, 3]), int(levels[level, 4]), levels[level, 5] > 0
        for i in range(len(points)):
            first_x = _place(points[i, 0], scale, offset, last, taps, x)
            first_y = _place(points[i, 1], scale, offset, last, taps, y)
            first_z = _place(points[i, 2], scale, offset, last, taps, z)
            for c in range(taps):
                for b in range(taps):
                    if len(along):
                        by_value = y[0, b] * z[0, c] * along[i, 0]
                        by_derivative = y[1, b] * z[0, c] * along[i, 1] + y[0, b] * z[1, c] * along[i, 2]
                    else:
                        by_value, by_derivative = y[0, b] * z[0, c], 0 * x[0, 0]
                    for a in range(taps):
                        entry = start + _entry(first_x + a, first_y + b, first_z + c, side, size, hashed)
                        if len(along):
                            weight = x[1, a] * by_value + x[0, a] * by_derivative
                        else:
                            weight = x[0, a] * by_value
                        for f in range(features):
                            out[i, level * features + f] += weight * table[entry, f]


@_fast
def scatter(points, cotangent, along, levels, taps, offset, out):  # type: ignore[no-untyped-def]
    """Add to the table `out` the derivative by it of cotangent · `gather`."""
    features = out.shape[1]
    x, y, z = (np.empty((3, 3), points.dtype), np.empty((3, 3), points.dtype), np.empty((3, 3), points.dtype))
    for level in range(len(levels)):
        scale, last, side = points.dtype.type(levels[level, 0]), int(levels[level, 1]), int(levels[level, 2])
        start, size, hashed = int(levels[level, 3]), int(levels[level, 4]), levels[level, 5] > 0
        for i in range(len(points)):
            first_x = _place(points[i, 0], scale, offset, last, taps, x)
            first_y = _place(points[i, 1], scale, offset, last, taps, y)
            first_z = _place(points[i, 2], scale, offset, last, taps, z)
            for c in range(taps):
                for b in range(taps):
                    if len(along):
                        by_value = y[0, b] * z[0, c] * along[i, 0]
                        by_derivative = y[1, b] * z[0, c] * along[i, 1] + y[0, b] * z[1, c] * along[i, 2]
                    else:
                        by_value, by_derivative = y[0, b] * z[0, c], 0 * x[0, 0]
                    for a in range(taps):
                        entry = start + _entry(first_x + a, first_y + b, first_z + c, side, size, hashed)
                        if len(along):
                            weight = x[1, a] * by_value + x[0, a] * by_derivative
                        else:
                            weight = x[0, a] * by_value
                        for f in range(features):
                            out[entry, f] += weight * cotangent[i, level * features + f]


@_fast
def gradient(points, table, cotangent, along, levels, taps, offset, out):  # type: ignore[no-untyped-def]
    """Add to `out` the derivatives by the points of cotangent · `gather`, without or with `along`."""
    features = table.shape[1]
    x, y, z = (np.empty((3, 3), points.dtype), np.empty((3, 3), points.dtype), np.empty((3, 3), points.dtype))
    for level in range(len(levels)):
        scale, last, side = points.dtype.type(levels[level, 0]), int(levels[level, 1]), int(levels[level, 2])
        start, size, hashed = int(levels[level, 3]), int(levels[level, 4]), levels[level, 5] > 0
        for i in range(len(points)):
            first_x = _place(points[i, 0], scale, offset, last, taps, x)
            first_y = _place(points[i, 1], scale, offset, last, taps, y)
            first_z = _place(points[i, 2], scale, offset, last, taps, z)
            for c in range(taps):
                for b in range(taps):
                    for a in range(taps):
                        entry = start + _entry(first_x + a, first_y + b, first_z + c, side, size, hashed)
                        value = 0 * x[0, 0]
                        for f in range(features):
                            value += table[entry, f] * cotangent[i, level * features + f]
                        if len(along):
                            u, v, w = along[i, 0], along[i, 1], along[i, 2]
                            xy, xz, yz = (
                                x[1, a] * y[1, b] * z[0, c],
                                x[1, a] * y[0, b] * z[1, c],
                                x[0, a] * y[1, b] * z[1, c],
                            )
                            out[i, 0] += value * (x[2, a] * y[0, b] * z[0, c] * u + xy * v + xz * w)
                            out[i, 1] += value * (xy * u + x[0, a] * y[2, b] * z[0, c] * v + yz * w)
                            out[i, 2] += value * (xz * u + yz * v + x[0, a] * y[0, b] * z[2, c] * w)
                        else:
                            out[i, 0] += value * x[1, a] * y[0, b] * z[0, c]
                            out[i, 1] += value * x[0, a] * y[1, b] * z[0, c]
                            out[i, 2] += value * x[0, a] * y[0, b] * z[1, c]
