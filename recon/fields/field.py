"""The interface of geometries to the renderer: signed distance, feature and gradient at points."""

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn


class FieldSample(NamedTuple):
    """Values of a field at points.

    Attributes:
        sdf: Signed distance in unit space, negative inside.
        feature: Feature for the colour network.
    """

    sdf: Float[Tensor, " points"]
    feature: Float[Tensor, "points features"]


class Field(nn.Module):
    """A signed distance with a feature for the colour network, differentiable twice by the points."""

    @abstractmethod
    def forward(self, points: Float[Tensor, "points 3"]) -> FieldSample:
        """Signed distance and feature at points of unit space."""

    @abstractmethod
    def sdf(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Signed distance alone, for tracing and meshing."""

    def set_progress(self, progress: float) -> None:
        """Set how far the schedules of the training are; called before every step.

        The state that follows depends on the progress and the parameters alone, so that a resumed run is the same. A
        field for which it is never called is as at the end of the training.

        Args:
            progress: From 0 to 1, or beyond at the end.
        """

    def shape_of_progress(self) -> Hashable:
        """The part of the progress on which operations and their shapes depend.

        While it stays the same, only numbers in the field's tensors change, so that a recorded step can be replayed.
        """
        return None

    def parameter_groups(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """Parameters by the group in which the optimiser trains them.

        Every field has "geometry"; some have "appearance" (feature networks, which learn with the rendering network),
        "code" (a latent code) and "pose".
        """
        return {"geometry": list(self.parameters())}


def sdf_and_gradient(
    field: Field, points: Float[Tensor, "points 3"], *, create_graph: bool = True, analytic: bool = False
) -> tuple[FieldSample, Float[Tensor, "points 3"]]:
    """Values of the field at points, with its gradient ∇f there.

    Args:
        field: the geometry.
        points: where; gradients flow through them if they require it.
        create_graph: keep the graph of ∇f, for a loss or a colour that depends on it.
        analytic: take the derivatives that the field has written out by hand (`with_gradient`), if it has; they
            are the same but for rounding, and can be differentiated once.

    Returns:
        The sample, and ∇f, not normalised.
    """
    with_gradient = getattr(field, "with_gradient", None)
    if analytic and create_graph and with_gradient is not None:
        result: tuple[FieldSample, Tensor] = with_gradient(points)
        return result
    with torch.enable_grad():
        if not points.requires_grad:
            points = points.detach().requires_grad_(True)
        sample = field(points)
        (gradient,) = torch.autograd.grad(
            sample.sdf, points, torch.ones_like(sample.sdf), create_graph=create_graph, retain_graph=True
        )
    return sample, gradient
