"""The feature network of H3D-Net."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from recon.fields.encoding import FrequencyEncoding


class FeatureNetwork(nn.Module):
    """Q(x) → local feature for the rendering network (H3D-Net, section 3, figure 2).

    It stands in for the feature that IDR's geometry network puts out, so that a geometry which knows only
    shape, as a shape prior does, can be rendered.

    Args:
        width: units of each hidden layer.
        depth: number of hidden layers.
        octaves: frequencies of the positional encoding.
        feature_size: size of the feature.
    """

    def __init__(self, width: int = 512, depth: int = 8, octaves: int = 6, feature_size: int = 256) -> None:
        super().__init__()
        self.encoding = FrequencyEncoding(octaves)
        sizes = [self.encoding.out_features] + [width] * depth + [feature_size]
        self.layers = nn.ModuleList(weight_norm(nn.Linear(a, b)) for a, b in pairwise(sizes))

    def forward(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points features"]:
        """Features at points of unit space."""
        hidden = self.encoding(points)
        for layer in self.layers[:-1]:
            hidden = torch.relu(layer(hidden))
        features: Tensor = self.layers[-1](hidden)
        return features
