"""Shape models of heads: signed distance networks with a latent code, F(x; z).

All live in the canonical unit frame: the mean head's frame, scaled so that a ball which holds every bust has
radius 1 (see `recon.geometry.frames.CanonicalFrame`). Distances are in that unit, negative inside.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from recon.fields import FeatureGrid, FrequencyEncoding, distance_to_box
from recon.fitting.brightness import BrightnessModel


class ShapeNetwork(nn.Module):
    """Signed distance of the head that a latent code describes; differentiable twice.

    Attributes:
        latent_size: Length of the code. The prior of a code is a standard normal.
    """

    latent_size: int

    @property
    def brightness_model(self) -> BrightnessModel | None:
        """Brightness of its faces in photographs, where that is known."""
        return None

    @property
    def coarse_level(self) -> "ShapeNetwork":
        """A cheaper approximation, with which a fit may begin; the shape model itself if there is none."""
        return self

    @abstractmethod
    def forward(
        self, points: Float[Tensor, "points 3"], latent: Float[Tensor, "*points latent"]
    ) -> Float[Tensor, " points"]:
        """Signed distance at points for one code, or for a code for each point."""

    def shape_of(self, code: Float[Tensor, " latent"]) -> "NetworkShape":
        """The head of a code."""
        return NetworkShape(self, code.detach())

    def latent_gradient(
        self, points: Float[Tensor, "points 3"], latent: Float[Tensor, " latent"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points latent"]]:
        """Signed distance at points with its derivative by the code, without a graph."""
        with torch.enable_grad():
            codes = latent.detach().expand(len(points), -1).clone().requires_grad_(True)
            sdf = self(points.detach(), codes)
            (gradient,) = torch.autograd.grad(sdf.sum(), codes)
        return sdf.detach(), gradient

    @abstractmethod
    def absorb(self, mean: Float[Tensor, " latent"], scale: Float[Tensor, " latent"]) -> None:
        """Substitutes the code, in place: afterwards F(x; z) is what F(x; mean + scale · z) was."""


@dataclass(frozen=True)
class NetworkShape:
    """One head of a shape model, a `recon.fitting.Shape`.

    Attributes:
        network: The shape model.
        code: Code z of the head.
    """

    network: ShapeNetwork
    code: Float[Tensor, " latent"]

    @torch.no_grad()
    def sdf(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Signed distance at points, without a graph."""
        result: Tensor = self.network(points, self.code)
        return result

    def sdf_and_gradient(
        self, points: Float[Tensor, "points 3"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]]:
        """Signed distance at points with its derivative by the point, without a graph."""
        with torch.enable_grad():
            moved = points.detach().requires_grad_(True)
            sdf = self.network(moved, self.code)
            (gradient,) = torch.autograd.grad(sdf.sum(), moved)
        return sdf.detach(), gradient

    def basis(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points latent"]:
        """Derivative of the signed distance at points by the code, without a graph."""
        return self.network.latent_gradient(points, self.code)[1]


class DeepSDFNetwork(ShapeNetwork):
    """The decoder of DeepSDF with the encoding of H3D-Net: an MLP over γ(x) and z.

    It has softplus activations, weight normalisation, a skip of the whole input, and starts as the sphere of IGR
    (DeepSDF, section 4; IGR's shape space; H3D-Net, section 3).

    Args:
        latent_size: Length of the code.
        width: Units of each hidden layer.
        depth: Number of hidden layers.
        skip: Layers that take the input again, divided by √2 together with the hidden units.
        octaves: Frequencies of the encoding of x; 0 is DeepSDF's plain x.
        radius: Radius of the initial sphere, in canonical unit space.
        beta: Sharpness of the softplus.

    Raises:
        ValueError: The network is too narrow for its skip.
    """

    def __init__(
        self,
        latent_size: int = 256,
        width: int = 512,
        depth: int = 8,
        skip: Sequence[int] = (4,),
        octaves: int = 6,
        radius: float = 0.5,
        beta: float = 100.0,
    ) -> None:
        super().__init__()
        self.latent_size, self.skip, self.beta = latent_size, frozenset(skip), beta
        self.encoding = FrequencyEncoding(octaves)
        inputs = self.encoding.out_features + latent_size
        if self.skip and width <= inputs:
            raise ValueError(f"width is {width}: with a skip it must exceed the {inputs} inputs")
        layers = []
        for index in range(depth + 1):
            fan_in = inputs if index == 0 else width
            fan_out = 1 if index == depth else width - (inputs if index + 1 in self.skip else 0)
            layers.append(weight_norm(self._linear(index, depth, fan_in, fan_out, inputs, radius)))
        self.layers = nn.ModuleList(layers)

    def _linear(
        self, index: int, depth: int, fan_in: int, fan_out: int, inputs: int, radius: float
    ) -> nn.Linear:
        """A layer of the geometric initialisation (SAL, theorem 1): only x counts at first."""
        layer = nn.Linear(fan_in, fan_out)
        with torch.no_grad():
            if index == depth:
                layer.weight.normal_(math.sqrt(math.pi / fan_in), 1e-4)
                layer.bias.fill_(-radius)
                return layer
            layer.weight.normal_(0.0, math.sqrt(2 / fan_out))
            layer.bias.zero_()
            if index == 0 or index in self.skip:
                # Codes begin small, and sines and cosines silent.
                layer.weight[:, fan_in - (inputs - 3) :] = 0.0
                layer.weight[:, fan_in - self.latent_size :].normal_(0.0, 1e-2)
        return layer

    def forward(self, points: Tensor, latent: Tensor) -> Tensor:
        """Signed distance at points for one code, or for a code for each point."""
        inputs = torch.cat([self.encoding(points), latent.expand(len(points), -1)], dim=1)
        hidden = inputs
        for index, layer in enumerate(self.layers[:-1]):
            if index in self.skip:
                hidden = torch.cat([hidden, inputs], dim=1) / math.sqrt(2)
            hidden = functional.softplus(layer(hidden), beta=self.beta)
        result: Tensor = self.layers[-1](hidden)[:, 0]
        return result

    @torch.no_grad()
    def absorb(self, mean: Tensor, scale: Tensor) -> None:
        """Folds mean and scale into the layers that see the code."""
        for index in {0, *self.skip}:
            layer = self.layers[index]
            assert isinstance(layer, nn.Linear)
            weight = layer.weight.detach().clone()
            shared = 1.0 if index == 0 else math.sqrt(2)
            layer.bias.add_(weight[:, -self.latent_size :] @ mean, alpha=1 / shared)
            weight[:, -self.latent_size :] *= scale
            layer.weight = weight  # through the weight normalisation


class FeatureGridSDFNetwork(ShapeNetwork):
    """The linear shape model mean(x) + ⟨B(x), z⟩ over feature grids, which a few CPU minutes can train.

    B is a small MLP over smooth feature grids, so that detail costs memory instead of arithmetic; being linear
    in z, the last layer is folded with the code before any point is seen. Outside the box of the grids the
    distance to the box is added.

    Args:
        latent_size: Length of the code.
        width: Units of each hidden layer.
        depth: Number of hidden layers.
        low: Lower corner of the grids, canonical unit space.
        high: Upper corner.
        mean_cells: Cells of the mean head's grid along x, y, z.
        grids: For each feature grid its cells along x, y, z and its channels.
    """

    def __init__(
        self,
        latent_size: int,
        width: int,
        depth: int,
        low: Sequence[float],
        high: Sequence[float],
        mean_cells: Sequence[int],
        grids: Sequence[Sequence[int]],
    ) -> None:
        super().__init__()
        self.latent_size = latent_size
        self.register_buffer("low", torch.tensor(low), persistent=False)
        self.register_buffer("high", torch.tensor(high), persistent=False)
        self.mean = FeatureGrid(low, high, mean_cells, 1)
        # One grid of the mean's cells shares its indices and weights.
        self.grids = nn.ModuleList(
            FeatureGrid(low, high, cells, channels, scale=0.1) for *cells, channels in grids
        )
        sizes = [3 + sum(channels for *_, channels in grids)] + [width] * depth
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.basis = nn.Linear(width, latent_size + 1, bias=False)  # the last row is a correction of the mean
        nn.init.normal_(self.basis.weight, std=1e-3)

    low: Tensor
    high: Tensor

    def forward(self, points: Tensor, latent: Tensor) -> Tensor:
        """Signed distance at points for one code, or for a code for each point."""
        coordinates = functional.linear(
            functional.pad(latent, (0, 1), value=1.0), self.basis.weight.t()
        )  # (*points, width)
        base, hidden = self.features(points)
        deviation = hidden @ coordinates if latent.dim() == 1 else (hidden * coordinates).sum(1)
        return base + deviation

    def latent_gradient(self, points: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Signed distance at points with its derivative by the code: the basis itself."""
        with torch.no_grad():
            base, hidden = self.features(points)
            basis = self.basis(hidden)
            return base + basis[:, :-1] @ latent + basis[:, -1], basis[:, :-1]

    @torch.no_grad()
    def absorb(self, mean: Tensor, scale: Tensor) -> None:
        """Folds the mean into the correction of the mean head, and the scale into the basis."""
        self.basis.weight[-1] += mean @ self.basis.weight[:-1]
        self.basis.weight[:-1] *= scale[:, None]

    def all_codes(
        self, points: Float[Tensor, "points 3"], latents: Float[Tensor, "heads latent"]
    ) -> Float[Tensor, "points heads"]:
        """Signed distance at the same points for many codes; features of points are computed once."""
        coordinates = functional.linear(functional.pad(latents, (0, 1), value=1.0), self.basis.weight.t())
        base, hidden = self.features(points)
        return base[:, None] + hidden @ coordinates.t()

    def features(
        self, points: Float[Tensor, "points 3"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points width"]]:
        """The mean head's signed distance (before the correction by the last row of the basis), and the
        features that the basis is linear in.
        """
        inside = points.maximum(self.low).minimum(self.high)
        taps: dict[Sequence[int], tuple[Tensor, Tensor]] = {}
        looked_up = []
        for grid in (self.mean, *self.grids):
            assert isinstance(grid, FeatureGrid)
            if grid.shape not in taps:
                taps[grid.shape] = grid.taps(inside)
            looked_up.append(grid.gather(*taps[grid.shape]))
        base = looked_up[0][:, 0] + distance_to_box(points, self.low, self.high)
        hidden = torch.cat([points, *looked_up[1:]], dim=1)
        for layer in self.layers:
            hidden = functional.silu(layer(hidden))
        return base, hidden


def fit_code(
    network: ShapeNetwork,
    points: Float[Tensor, "points 3"],
    distances: Float[Tensor, " points"] | float = 0.0,
    *,
    sigma: float = 2e-3,
    steps: int = 8,
    start: Float[Tensor, " latent"] | None = None,
    chunk: int = 16_384,
) -> Float[Tensor, " latent"]:
    """Finds the most probable code of a head by least squares over points with known distance.

    Minimises Σ ρ((F(xᵢ; z) − dᵢ) / σ) + ‖z‖² with a Huber ρ, the second term being the standard normal prior. DeepSDF
    (section 4.3) descends the same kind of objective by Adam, in a hundred times as many steps.

    Args:
        network: The shape model.
        points: Points, canonical unit space.
        distances: Signed distances of the points; 0 for points on the surface.
        sigma: Standard deviation of a distance; points of a head are far from independent.
        steps: Number of steps of Gauss–Newton.
        start: Initial code; zero by default.
        chunk: Number of points at a time.
    """
    code = torch.zeros(network.latent_size) if start is None else start.detach().clone()
    code = code.to(points)
    wanted = torch.as_tensor(distances, dtype=points.dtype, device=points.device).expand(len(points))
    # The points of a head share their errors: about a thousand of them count as independent.
    share = min(1.0, 1000 / len(points))
    for _ in range(steps):
        normal = torch.eye(len(code), dtype=torch.float64, device=points.device)
        gradient = code.double()
        for part, target in zip(points.split(chunk), wanted.split(chunk), strict=True):
            sdf, basis = network.latent_gradient(part, code)
            residual = (sdf - target).double() / sigma
            weight = share * (3.0 / residual.abs().clamp_min(3.0))
            basis = basis.double() / sigma
            normal += (basis * weight[:, None]).T @ basis
            gradient = gradient + basis.T @ (weight * residual)
        code = code - torch.linalg.solve(normal, gradient).to(code.dtype)
    return code
