"""The loops over tables in half precision on a CPU, which numba and most CPUs cannot calculate with.

A number in half precision, its bits moved to where single precision has sign, exponent and fraction, is that number
times 2⁻¹¹²; the factor is made good where the sum is. Infinity and NaN are not numbers of these tables. Where a
process takes denormal numbers for 0, so are halves below 2⁻¹⁴.
"""

from functools import partial

import numpy as np

from recon.compiled import compiled

SCALE = 2.0**112
"""Factor between a number and its bits taken as single precision."""

_fast = partial(compiled, fastmath=True)


@_fast
def _widen(row, count, bits):  # type: ignore[no-untyped-def]
    """Write the first bits of a row, an array of int16, to where single precision has them."""
    for k in range(count):
        half = np.int32(row[k])
        bits[k] = ((half & 0x7FFF) << 13) | ((half & 0x8000) << 16)


@_fast
def rows_times(rows, code, out):  # type: ignore[no-untyped-def]
    """Write the products of the beginnings of rows with a code to `out`; rows are given as int16."""
    count = len(code)
    bits = np.empty(count, np.int32)
    values = bits.view(np.float32)
    for i in range(len(rows)):
        _widen(rows[i], count, bits)
        total = 0 * code[0]
        for k in range(count):
            total += values[k] * code[k]
        out[i] = total


@_fast
def weighted_sums(index, weight, rows, scale, out):  # type: ignore[no-untyped-def]
    """Write sums of rows, times weights and a scale, to `out`; rows are given as int16."""
    count = rows.shape[1]
    bits = np.empty(count, np.int32)
    values = bits.view(np.float32)
    total = np.empty(count, out.dtype)
    for i in range(len(index)):
        total[:] = 0
        for tap in range(index.shape[1]):
            _widen(rows[index[i, tap]], count, bits)
            for k in range(count):
                total[k] += weight[i, tap] * values[k]
        for k in range(count):
            out[i, k] = total[k] * scale
