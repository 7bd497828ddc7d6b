"""Compilation of loops over arrays for the CPU, with numba."""

import inspect
from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any], *, fastmath: bool = False) -> Callable[..., Any]:
    """The compiled form of a loop over arrays, which releases Python's lock while it runs.

    The machine code is cached on disk beside the module, so that only a first run waits for the compiler. The tests'
    import hook wraps every function in a checker that numba cannot compile, so the function is unwrapped first.

    Args:
        function: The loop, a function of arrays and numbers.
        fastmath: Whether sums may be reordered, and NaN and infinity be disregarded.
    """
    return numba.njit(cache=True, nogil=True, fastmath=fastmath)(inspect.unwrap(function))
