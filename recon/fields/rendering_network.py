"""The networks of the appearance: IDR's rendering network, and H3D-Net's feature network."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from recon.fields.encoding import FrequencyEncoding

MODES = ("idr", "no_view_direction", "no_normal")


class RenderingNetwork(nn.Module):
    """The radiance of a surface point seen from a direction, M(x, n, v, z) → colour in [-1, 1] (IDR, equation 5).

    Args:
        width: units of each hidden layer.
        depth: number of hidden layers.
        feature_size: size of the feature z that the geometry gives.
        view_octaves: frequencies of the encoding of the view direction; points and normals enter as they are.
        mode: `idr`, or an ablation of the paper: `no_view_direction`, `no_normal`.
    """

    def __init__(
        self,
        width: int = 512,
        depth: int = 4,
        feature_size: int = 256,
        view_octaves: int = 4,
        mode: str = "idr",
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
        self.mode = mode
        self.view_encoding = FrequencyEncoding(view_octaves)
        inputs = 3 + feature_size
        inputs += self.view_encoding.out_features if mode != "no_view_direction" else 0
        inputs += 3 if mode != "no_normal" else 0
        sizes = [inputs] + [width] * depth + [3]
        self.layers = nn.ModuleList(weight_norm(nn.Linear(a, b)) for a, b in pairwise(sizes))

    @property
    def sees_camera(self) -> bool:
        """Whether the colour depends on where the camera is."""
        return self.mode != "no_view_direction"

    def forward(
        self,
        points: Float[Tensor, "points 3"],
        normals: Float[Tensor, "points 3"],
        to_camera: Float[Tensor, "points 3"],
        features: Float[Tensor, "points features"],
    ) -> Float[Tensor, "points 3"]:
        """Colour in [-1, 1] of surface points.

        Args:
            points: on the surface, in unit space.
            normals: ∇f there, not normalised, as in the published code.
            to_camera: unit directions from the surface towards the camera.
            features: of the geometry network.
        """
        inputs = [points, features]
        if self.mode != "no_view_direction":
            inputs.append(self.view_encoding(to_camera))
        if self.mode != "no_normal":
            inputs.append(normals)
        hidden = torch.cat(inputs, dim=1)
        for layer in self.layers[:-1]:
            hidden = torch.relu(layer(hidden))
        return torch.tanh(self.layers[-1](hidden))


class FeatureNetwork(nn.Module):
    """The local feature Q(x) for the rendering network (H3D-Net, section 3, figure 2).

    It stands in for the feature that IDR's geometry network puts out, so that a geometry without a feature, such as a
    shape prior, can be rendered.

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
