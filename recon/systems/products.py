"""Matrix products with rounded factors, where that is faster and does no harm."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def coarse_products(wanted: bool = True) -> Iterator[None]:
    """Within, products of float32 matrices may round their factors to bfloat16; sums stay in float32.

    A CPU does so only if it has matrix units for bfloat16 (AMX: 3 to 4 times the speed); a GPU takes its fastest
    product with float32 results.

    Args:
        wanted: if not, nothing changes.
    """
    if not wanted:
        yield
        return
    before = torch.get_float32_matmul_precision()
    cuda = torch.cuda.is_available()
    torch.set_float32_matmul_precision("medium" if cuda or torch.cpu._is_amx_tile_supported() else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
