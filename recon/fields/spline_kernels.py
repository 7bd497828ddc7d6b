"""The loops of `recon.fields.feature_grid.FeatureGrid` on a CPU: values and gradients of quadratic B-splines."""

from functools import partial

import numpy as np

from recon.compiled import compiled

_fast = partial(compiled, fastmath=True)


@_fast
def _taps(place, cells, weight):  # type: ignore[no-untyped-def]
    """First of three values along an axis; their weights and these' derivatives by the place go to `weight`."""
    rate = 0 * cells + 1
    if not place >= 0:
        place, rate = 0 * cells, 0 * cells
    elif place > cells:
        place, rate = cells, 0 * cells
    first = min(max(int(place), 0), int(cells) - 1)
    t = place - first
    rest = 1 - t
    weight[0, 0], weight[0, 1], weight[0, 2] = rest * rest / 2, (1 + 2 * t * rest) / 2, t * t / 2
    weight[1, 0], weight[1, 1], weight[1, 2] = -rest * rate, (rest - t) * rate, t * rate
    return first


@_fast
def interpolate(points, low, cell, cells, shape, values, out):  # type: ignore[no-untyped-def]
    """Write the features of points to `out`."""
    kind = points.dtype
    x, y, z = np.empty((2, 3), kind), np.empty((2, 3), kind), np.empty((2, 3), kind)
    channels = values.shape[1]
    for i in range(len(points)):
        at_x = _taps((points[i, 0] - low[0]) / cell[0], cells[0], x)
        at_y = _taps((points[i, 1] - low[1]) / cell[1], cells[1], y)
        at_z = _taps((points[i, 2] - low[2]) / cell[2], cells[2], z)
        for f in range(channels):
            out[i, f] = 0
        for a in range(3):
            for b in range(3):
                weight = x[0, a] * y[0, b]
                entry = ((at_x + a) * shape[1] + at_y + b) * shape[2] + at_z
                for f in range(channels):
                    out[i, f] += weight * (
                        z[0, 0] * values[entry, f]
                        + z[0, 1] * values[entry + 1, f]
                        + z[0, 2] * values[entry + 2, f]
                    )


@_fast
def value_and_gradient(points, low, cell, cells, shape, values, cotangent, value, gradient):  # type: ignore[no-untyped-def]
    """Write cotangent · features to `value` and its derivatives by the points to `gradient`."""
    kind = points.dtype
    x, y, z = np.empty((2, 3), kind), np.empty((2, 3), kind), np.empty((2, 3), kind)
    channels = values.shape[1]
    for i in range(len(points)):
        at_x = _taps((points[i, 0] - low[0]) / cell[0], cells[0], x)
        at_y = _taps((points[i, 1] - low[1]) / cell[1], cells[1], y)
        at_z = _taps((points[i, 2] - low[2]) / cell[2], cells[2], z)
        total, by_x, by_y, by_z = 0 * low[0], 0 * low[0], 0 * low[0], 0 * low[0]
        for a in range(3):
            for b in range(3):
                entry = ((at_x + a) * shape[1] + at_y + b) * shape[2] + at_z
                by_value, by_derivative = 0 * low[0], 0 * low[0]
                for c in range(3):
                    projected = 0 * low[0]
                    for f in range(channels):
                        projected += values[entry + c, f] * cotangent[i, f]
                    by_value += z[0, c] * projected
                    by_derivative += z[1, c] * projected
                total += x[0, a] * y[0, b] * by_value
                by_x += x[1, a] * y[0, b] * by_value
                by_y += x[0, a] * y[1, b] * by_value
                by_z += x[0, a] * y[0, b] * by_derivative
        value[i] = total
        gradient[i, 0], gradient[i, 1], gradient[i, 2] = by_x / cell[0], by_y / cell[1], by_z / cell[2]
