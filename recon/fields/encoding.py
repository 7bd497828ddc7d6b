"""The positional encoding of points and directions that the MLPs of this package share."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class FrequencyEncoding(nn.Module):
    """The encoding γ(x) = (x, sin 2⁰x, …, sin 2ᵏ⁻¹x, cos 2⁰x, …, cos 2ᵏ⁻¹x), without π (IDR, section 3 and its code).

    Args:
        octaves: number k of frequencies; 0 leaves the input as it is.
        dimensions: size of the input.
    """

    frequencies: Tensor

    def __init__(self, octaves: int, dimensions: int = 3) -> None:
        super().__init__()
        self.octaves = octaves
        self.dimensions = dimensions
        self.out_features = dimensions * (1 + 2 * octaves)
        self.register_buffer("frequencies", 2.0 ** torch.arange(octaves), persistent=False)

    def forward(self, x: Float[Tensor, "points dimensions"]) -> Float[Tensor, "points encoded"]:
        """Encode; the first `dimensions` columns are the input itself."""
        if self.octaves == 0:
            return x
        angles = (x[:, None, :] * self.frequencies.to(x.dtype)[:, None]).flatten(1)
        return torch.cat([x, torch.sin(angles), torch.cos(angles)], dim=1)
