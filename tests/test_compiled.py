"""Compiled loops where machine code can be kept nowhere."""

import numba
import numpy as np
import pytest

from recon.compiled import compiled


def total(values):
    result = 0.0
    for value in values:
        result += value
    return result


def test_loops_are_compiled_where_no_cache_can_be_written(monkeypatch):
    monkeypatch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [])
    for kind in (numba.core.caching.CompileResultCacheImpl, numba.core.caching.CodeLibraryCacheImpl):
        monkeypatch.setattr(kind, "_locator_classes", [], raising=False)
    with pytest.raises(RuntimeError, match="no locator"):
        numba.njit(cache=True)(total)
    assert compiled(total)(np.arange(5.0)) == 10.0
