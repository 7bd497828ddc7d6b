"""Stands in for a CUDA graph on the CPU: repeats PyTorch's operations one by one, on the tensors that they first had.

Like a graph it repeats nothing else: Python does not run again, so a number that was baked in stays what it was, and a
tensor that took another's place is not seen.
"""

import math

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

READS_BACK = ("_local_scalar_dense", "nonzero", "masked_select", "_unique")


class _Log(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(name in str(func) for name in READS_BACK):
            raise RuntimeError(f"{func} waits for the device, which cannot be recorded")
        out = func(*args, **(kwargs or {}))
        self.operations.append((func, *tree_map(_alias, (args, kwargs or {}, out))))
        return out


def _alias(value):
    """The same memory as it is shaped now: operations such as `unsqueeze_` change the tensor itself."""
    return value.detach() if isinstance(value, torch.Tensor) else value


class Recorder:
    """One recording.

    Args:
        state: Tensors that the work changes in place; recording must leave them alone.
        fails: Whether recording fails.
    """

    def __init__(self, state=(), fails=False):
        self.state, self.fails = list(state), fails
        self.warm, self.replayed, self.operations = 0, 0, None

    def warm_up(self, work):
        assert self.operations is None
        self.warm += 1
        return work()

    def capture(self, work):
        assert self.operations is None
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nand more that nobody reads")
        before = [tensor.clone() for tensor in self.state]
        with _Log() as log:
            terms = work()
        self.operations = log.operations
        for tensor, old in zip(self.state, before, strict=True):
            tensor.copy_(old)
        for figure in (terms.total, *terms.shown.values()):  # there is nothing in them before a replay
            figure.fill_(math.nan)
        return terms

    @torch.no_grad()
    def replay(self):
        self.replayed += 1
        for func, args, kwargs, out in self.operations:
            for new, old in zip(tree_leaves(func(*args, **kwargs)), tree_leaves(out), strict=True):
                if isinstance(old, torch.Tensor) and not _same_memory(new, old):
                    old.copy_(new)


def _same_memory(one, other):
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
