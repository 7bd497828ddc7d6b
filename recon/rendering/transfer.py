"""Copies from the host to a device that nobody waits for."""

import torch
from jaxtyping import Shaped
from torch import Tensor


def sent(tensor: Shaped[Tensor, "*shape"], device: torch.device) -> Shaped[Tensor, "*shape"]:
    """A tensor on a device; the tensor itself where it is there already.

    A copy to a GPU goes through page-locked memory: from any other the host would wait for all that the GPU still has
    to do.
    """
    if tensor.device.type == "cpu" and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
