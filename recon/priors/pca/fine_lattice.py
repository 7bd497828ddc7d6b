"""The fine lattice of a linear shape model: details of face and ears that the whole lattice cannot hold."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recon.fields import FeatureGrid, rows_times, weighted_sums


class FineLattice(nn.Module):
    """Signed distances that are added to those of the whole lattice, linear in the code, in a narrow band about the
    skin of the template; 0 elsewhere.

    Args:
        latent_size: Length of the code.
        low: Lower corner of the box, half a cell beyond the first node, canonical unit space.
        high: Upper corner.
        cells: Nodes along x, y, z, each in the middle of a cell of the box.
        band: Number of nodes that have values.
    """

    mean: Tensor
    rows: Tensor
    nodes: Tensor

    def __init__(
        self, latent_size: int, low: Sequence[float], high: Sequence[float], cells: Sequence[int], band: int
    ) -> None:
        super().__init__()
        self.lattice = FeatureGrid(low, high, cells, 1)
        del self.lattice.values  # each head has its own
        self.register_buffer("mean", torch.zeros(band))
        # The last row stands for all nodes outside the band.
        self.register_buffer("rows", torch.zeros(band + 1, latent_size, dtype=torch.float16))
        self.register_buffer("nodes", torch.zeros(band, dtype=torch.int32))
        self._row_of: Int[Tensor, " nodes"] | None = None

    @torch.no_grad()
    def composed(self, code: Float[Tensor, " latent"]) -> Float[Tensor, "nodes 1"]:
        """Spline values of the head of a code."""
        free = int(code.nonzero().max()) + 1 if code.any() else 0
        band = self.mean.to(code.dtype)
        if free:
            band = band + rows_times(self.rows[:-1], code[:free])
        values = torch.zeros(self.lattice.nodes, 1, dtype=code.dtype, device=code.device)
        values[self.nodes.long(), 0] = band
        return values

    def gathered(
        self, index: Int[Tensor, "points 27"], weight: Float[Tensor, "points 27"]
    ) -> Float[Tensor, "points latent"]:
        """Derivative by the code at points given by all of their 27 taps."""
        if self._row_of is None or self._row_of.device != self.nodes.device:
            row_of = torch.full(
                (self.lattice.nodes,), len(self.nodes), dtype=torch.int32, device=self.nodes.device
            )
            numbers = torch.arange(len(self.nodes), dtype=torch.int32, device=self.nodes.device)
            row_of[self.nodes.long()] = numbers
            self._row_of = row_of
        rows = self._row_of[index]
        result = torch.zeros(len(index), self.rows.shape[1], dtype=weight.dtype, device=weight.device)
        near = (rows < len(self.nodes)).any(dim=1)
        result[near] = weighted_sums(rows[near], weight[near], self.rows)
        return result
