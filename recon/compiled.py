"""Compilation of loops over arrays for the CPU, with numba."""

import inspect
from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any], *, fastmath: bool = False) -> Callable[..., Any]:
    """The compiled form of a loop over arrays, which releases Python's lock while it runs.

    The machine code is cached on disk, in $NUMBA_CACHE_DIR, beside the module or in the user's cache, so that only a
    first run waits for the compiler; where none can be written, every run does. The tests' import hook wraps every
    function in a checker that numba cannot compile, so the function is unwrapped first.

    Args:
        function: The loop, a function of arrays and numbers.
        fastmath: Whether sums may be reordered, and NaN and infinity be disregarded.
    """
    plain = inspect.unwrap(function)
    try:
        return numba.njit(cache=True, nogil=True, fastmath=fastmath)(plain)
    except RuntimeError:  # "no locator available": no place that may be written
        return numba.njit(nogil=True, fastmath=fastmath)(plain)
