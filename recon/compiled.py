"""Loops over arrays, compiled for the CPU with numba."""

import inspect
from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any], *, fastmath: bool = False) -> Callable[..., Any]:
    """Compiles a loop over arrays; other threads run meanwhile.

    The machine code is cached on disk beside the module, so that only a first run waits for the compiler. The tests'
    import hook wraps every function in a checker that numba cannot compile, so the bare function is taken out of its
    wrapping first.

    Args:
        function: Of arrays and numbers.
        fastmath: Whether sums may be reordered, and NaN and infinity left out of account.
    """
    return numba.njit(cache=True, nogil=True, fastmath=fastmath)(inspect.unwrap(function))
