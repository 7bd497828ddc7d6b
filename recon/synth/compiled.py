"""Just-in-time compilation that survives the tests' annotation checks."""

import inspect
from collections.abc import Callable
from typing import Any

from recon.errors import ConfigError

try:
    import numba
except ImportError as error:  # the core install has no numba: only this room needs it
    raise ConfigError("synthetic heads need numba: pip install 'headrecon[synth]'") from error


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a loop over arrays with numba; the machine code is cached on disk beside the module.

    The tests' import hook wraps every function in a checker that numba cannot compile, so the bare function
    is taken out of its wrapping first.
    """
    return numba.njit(cache=True)(inspect.unwrap(function))
