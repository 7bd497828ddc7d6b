"""What fits ask of a shape model and of its heads (protocols), and a head with an SDF offset on a lattice."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from recon.fields import FeatureGrid
from recon.fitting.brightness import BrightnessModel


@runtime_checkable
class Shape(Protocol):
    """One head of a shape model, in canonical unit space; no method keeps a graph."""

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
    """Heads by a latent code whose prior is a standard normal, in canonical unit space.

    Attributes:
        latent_size: Length of the code.
    """

    latent_size: int

    @property
    def brightness_model(self) -> BrightnessModel | None:
        """Brightness of its faces in photographs, where that is known."""
        ...

    @property
    def coarse_level(self) -> "ShapeModel":
        """A cheaper approximation with the same code, with which a fit may begin; the shape model itself if there
        is none.
        """
        ...

    def shape_of(self, code: Float[Tensor, " latent"]) -> Shape:
        """The head of a code; what can be computed once for all points is computed here."""
        ...


def lattice(cell_unit: float) -> FeatureGrid:
    """A grid of zeros that covers the canonical unit ball.

    Args:
        cell_unit: Size of its cells, canonical unit space.
    """
    cells = int(-(-2.0 // cell_unit))
    half = cells * cell_unit / 2
    return FeatureGrid([-half] * 3, [half] * 3, [cells] * 3, 1).requires_grad_(False)


@dataclass(frozen=True)
class OffsetShape:
    """A head with an offset added to its signed distance; a `recon.fitting.Shape`.

    Its basis has one column of ones: rows of `residuals` then hold the derivative by the signed distance itself.

    Attributes:
        head: The head.
        offset: Grid of what is added to the signed distance, canonical unit; negative values raise the surface.
    """

    head: Shape
    offset: FeatureGrid

    @torch.no_grad()
    def sdf(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Signed distance at points, without a graph."""
        return self.head.sdf(points) + self.offset(points.to(self.offset.low))[:, 0].to(points)

    def sdf_and_gradient(
        self, points: Float[Tensor, "points 3"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]]:
        """Signed distance at points with its derivative by the point, without a graph."""
        sdf, gradient = self.head.sdf_and_gradient(points)
        with torch.enable_grad():
            at = points.detach().to(self.offset.low).requires_grad_(True)
            offset = self.offset(at)[:, 0]
            (by_point,) = torch.autograd.grad(offset.sum(), at)
        return sdf + offset.detach().to(sdf), gradient + by_point.to(gradient)

    def basis(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 1"]:
        """Derivative of the signed distance at points by itself."""
        return torch.ones(len(points), 1, dtype=points.dtype, device=points.device)
