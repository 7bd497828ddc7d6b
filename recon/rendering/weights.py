"""Weights that are made of others, such as weight-normed ones, worked out once for many calls of a network."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch.nn.utils import parametrize

_lock = threading.Lock()


@contextmanager
def remembered_weights() -> Iterator[None]:
    """`torch.nn.utils.parametrize.cached` for several threads at a time, which counts its users without a lock: one
    lost count would keep weights remembered for ever, and training would no longer change them.
    """
    remembering = parametrize.cached()
    with _lock:
        remembering.__enter__()
    try:
        yield
    finally:
        with _lock:
            remembering.__exit__(None, None, None)
