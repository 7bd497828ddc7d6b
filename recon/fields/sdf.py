"""The signed distance network of IDR."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from recon.fields.analytic import gradient_by_points, value_and_gradient
from recon.fields.encoding import FrequencyEncoding
from recon.fields.field import Field, FieldSample


class SDFNetwork(Field):
    """The geometry network of IDR, f(x; θ) → (signed distance, feature) (section 3; settings of its supplement).

    It is an MLP over a frequency encoding with softplus, weight normalisation, and a skip that feeds the encoded
    input in again. It is initialised to the signed distance of a sphere (Atzmon and Lipman, SAL, theorem 1),
    so that tracing finds a surface at once.

    Args:
        width: units of each hidden layer.
        depth: number of hidden layers.
        skip: indices of the linear layers that take the encoded input again, divided by √2 together with the
            hidden units.
        octaves: frequencies of the encoding.
        feature_size: size of the feature for the colour network; 0 for none.
        radius: radius of the initial sphere, in unit space.
        beta: sharpness of the softplus.

    Raises:
        ValueError: if the network is too narrow for its skip.
    """

    def __init__(
        self,
        width: int = 512,
        depth: int = 8,
        skip: Sequence[int] = (4,),
        octaves: int = 6,
        feature_size: int = 256,
        radius: float = 0.6,
        beta: float = 100.0,
    ) -> None:
        super().__init__()
        self.encoding = FrequencyEncoding(octaves)
        self.feature_size = feature_size
        self.skip = frozenset(skip)
        self.beta = beta
        encoded = self.encoding.out_features
        if self.skip and width <= encoded:
            raise ValueError(
                f"width is {width}: with a skip it must exceed the {encoded} inputs that {octaves} octaves make"
            )
        layers = []
        for index in range(depth + 1):
            fan_in = encoded if index == 0 else width
            fan_out = 1 + feature_size if index == depth else width
            if index + 1 in self.skip:
                fan_out -= encoded
            layers.append(
                weight_norm(_sphere_linear(index, depth, fan_in, fan_out, encoded, self.skip, radius))
            )
        self.layers = nn.ModuleList(layers)

    def forward(self, points: Float[Tensor, "points 3"]) -> FieldSample:
        """Signed distance and feature at points of unit space; differentiable twice."""
        output = self.layers[-1](self._hidden(points))
        return FieldSample(output[:, 0], output[:, 1:])

    def sdf(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Signed distance alone: does not compute the feature."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        return functional.linear(self._hidden(points), last.weight[:1], last.bias[:1])[:, 0]

    def with_gradient(
        self, points: Float[Tensor, "points 3"]
    ) -> tuple[FieldSample, Float[Tensor, "points 3"]]:
        """The field at points together with ∇f there, both differentiable once, by derivatives written out by hand."""
        encoded = self.encoding(points)
        layers = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        output, gradient = value_and_gradient(
            encoded,
            [layer.weight for layer in layers],
            [layer.bias for layer in layers],
            self.skip,
            self.beta,
        )
        return FieldSample(output[:, 0], output[:, 1:]), gradient_by_points(gradient, points, self.encoding)

    def _hidden(self, points: Tensor) -> Tensor:
        encoded = self.encoding(points)
        hidden = encoded
        for index, layer in enumerate(self.layers[:-1]):
            if index in self.skip:
                hidden = torch.cat([hidden, encoded], dim=1) / math.sqrt(2)
            hidden = functional.softplus(layer(hidden), beta=self.beta)
        return hidden


def _sphere_linear(
    index: int, depth: int, fan_in: int, fan_out: int, encoded: int, skip: frozenset[int], radius: float
) -> nn.Linear:
    """One linear layer of the geometric initialisation: the whole network starts as about ‖x‖ − radius.

    Columns that see sines and cosines start at zero, so the encoding plays no part at first.
    """
    layer = nn.Linear(fan_in, fan_out)
    with torch.no_grad():
        if index == depth:
            layer.weight.normal_(math.sqrt(math.pi / fan_in), 1e-4)
            layer.bias.fill_(-radius)
            return layer
        layer.weight.normal_(0.0, math.sqrt(2 / fan_out))
        layer.bias.zero_()
        if index == 0:
            layer.weight[:, 3:] = 0.0
        elif index in skip:
            layer.weight[:, fan_in - (encoded - 3) :] = 0.0
    return layer
