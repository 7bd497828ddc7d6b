"""Dense grids of features, interpolated smoothly."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional


class FeatureGrid(nn.Module):
    """Features on a regular grid over a box, interpolated by quadratic B-splines.

    The interpolant has a continuous gradient, so that normals of a surface that follows the grid show no cells,
    and can be differentiated twice with respect to points and values. A point outside the box takes the
    features of the nearest point of the box.

    Args:
        low: Lower corner of the box, in the unit of the points.
        high: Upper corner.
        shape: Cells along x, y, z; there is one value more than that in every direction, plus a border.
        channels: Features of each value.
        scale: Standard deviation of the initial values; 0 starts from zero.
    """

    low: Tensor
    cell: Tensor

    def __init__(
        self,
        low: Sequence[float],
        high: Sequence[float],
        shape: Sequence[int],
        channels: int,
        scale: float = 0.0,
    ) -> None:
        super().__init__()
        self.shape = tuple(int(n) + 2 for n in shape)
        x, y, z = self.shape
        self.channels = channels
        # Floats, not tensors, so that moving and casting the module leaves the box as it is.
        low_, high_ = torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64)
        self.register_buffer("low", low_.float(), persistent=False)
        self.register_buffer("cell", ((high_ - low_) / torch.tensor(shape)).float(), persistent=False)
        self.values = nn.Parameter(torch.randn(x * y * z, channels) * scale)

    def extra_repr(self) -> str:
        """Shape and channels."""
        return f"{self.shape}, channels={self.channels}"

    def forward(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points channels"]:
        """Features at points."""
        index, weight = self._taps(points)
        if torch.is_grad_enabled() and (points.requires_grad or self.values.requires_grad):
            # Plain operations can be differentiated twice; the fused one below cannot.
            return torch.einsum("nt,ntc->nc", weight, self.values[index])
        return functional.embedding_bag(index, self.values, per_sample_weights=weight, mode="sum")

    def _taps(self, points: Tensor) -> tuple[Int[Tensor, "points 27"], Float[Tensor, "points 27"]]:
        """Indices and weights of the 27 values that a point depends on."""
        cells = torch.tensor(self.shape, device=points.device) - 2
        low, cell = self.low.to(points.dtype), self.cell.to(points.dtype)
        local = ((points - low) / cell).clamp(min=0).minimum(cells)
        # Value i of the inner grid sits in the middle of cell i; the nearest one is the middle tap.
        first = local.detach().floor().minimum(cells - 1)
        t = local - first
        weights = torch.stack([(1 - t).square() / 2, 0.5 + t - t.square(), t.square() / 2], dim=1)
        x, y, z = weights.unbind(2)
        weight = (x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]).flatten(1)
        at = first.long()
        _, ny, nz = self.shape
        origin = (at[:, 0] * ny + at[:, 1]) * nz + at[:, 2]
        return origin[:, None] + self._offsets(points.device), weight

    def _offsets(self, device: torch.device) -> Int[Tensor, " 27"]:
        _, ny, nz = self.shape
        three = torch.arange(3, device=device)
        return ((three[:, None, None] * ny + three[:, None]) * nz + three).flatten()
