"""A head whose signed distances are changed by a smooth function on a lattice."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from recon.fields import FeatureGrid
from recon.fitting.brightness import BrightnessModel


@runtime_checkable
class Shape(Protocol):
    """One head of a shape model, in canonical unit space; nothing here keeps a graph."""

    def sdf(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Signed distance at points."""
        ...

    def sdf_and_gradient(
        self, points: Float[Tensor, "points 3"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]]:
        """Signed distance at points with its derivative by the point."""
        ...

    def basis(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points latent"]:
        """Derivative of the signed distance at points by the code."""
        ...


@runtime_checkable
class ShapeModel(Protocol):
    """Heads by a code whose prior is a standard normal, in a canonical unit space.

    Attributes:
        latent_size: Length of the code.
    """

    latent_size: int

    @property
    def brightness_model(self) -> BrightnessModel | None:
        """What photographs of its faces look like, where that is known."""
        ...

    @property
    def coarse_level(self) -> "ShapeModel":
        """Nearly the same shape model with the same code, cheaper; what a fit may begin with. Itself if there is
        none.
        """
        ...

    def at(self, code: Float[Tensor, " latent"]) -> Shape:
        """The head of a code; what can be computed once for all points is computed here."""
        ...


def lattice(cell_unit: float) -> FeatureGrid:
    """A grid of zeros about the canonical unit ball.

    Args:
        cell_unit: Size of its cells, canonical unit space.
    """
    cells = int(-(-2.0 // cell_unit))
    half = cells * cell_unit / 2
    return FeatureGrid([-half] * 3, [half] * 3, [cells] * 3, 1).requires_grad_(False)


@dataclass(frozen=True)
class OffsetShape:
    """A head, plus a change of its signed distance; a `recon.fitting.Shape`.

    Its basis has one column of ones: rows of `residuals` then hold the derivative by the signed distance itself.

    Attributes:
        head: The head.
        change: What is added to its signed distance; negative values raise the surface.
    """

    head: Shape
    change: FeatureGrid

    @torch.no_grad()
    def sdf(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Signed distance at points, without a graph."""
        return self.head.sdf(points) + self.change(points.to(self.change.low))[:, 0].to(points)

    def sdf_and_gradient(
        self, points: Float[Tensor, "points 3"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]]:
        """Signed distance at points with its derivative by the point, without a graph."""
        sdf, gradient = self.head.sdf_and_gradient(points)
        with torch.enable_grad():
            at = points.detach().to(self.change.low).requires_grad_(True)
            change = self.change(at)[:, 0]
            (by_point,) = torch.autograd.grad(change.sum(), at)
        return sdf + change.detach().to(sdf), gradient + by_point.to(gradient)

    def basis(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 1"]:
        """Derivative of the signed distance at points by itself."""
        return torch.ones(len(points), 1, dtype=points.dtype, device=points.device)
