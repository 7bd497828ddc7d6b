"""What every geometry offers to the renderer."""

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn


class FieldSample(NamedTuple):
    """What a field says of points: signed distance in unit space (negative inside), and a feature for the
    colour network.
    """

    sdf: Float[Tensor, " points"]
    feature: Float[Tensor, "points features"]


class Field(nn.Module):
    """A signed distance with a feature for the colour network; differentiable twice with respect to the
    points.
    """

    @abstractmethod
    def forward(self, points: Float[Tensor, "points 3"]) -> FieldSample:
        """Signed distance and feature at points of unit space."""

    @abstractmethod
    def sdf(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Signed distance alone: what tracing and meshing ask for."""

    def set_progress(self, progress: float) -> None:
        """Told before every step how far the schedules of the training are, from 0 to 1, or beyond at its end.

        What a field makes of it depends on the progress and on its parameters alone, so that a resumed run is the same;
        a field that is told nothing is as at the end of the training.
        """

    def shape_of_progress(self) -> Hashable:
        """What of the progress decides which operations are done and on how much: while it stays the same, only
        numbers in the field's tensors change, so that a recorded step can be repeated.
        """
        return None

    def parameter_groups(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """Parameters by the part that they play in training: "geometry", and as a field has them "appearance"
        (feature networks, which learn with the rendering network), "code" (a latent code) and "pose".
        """
        return {"geometry": list(self.parameters())}


def sdf_and_gradient(
    field: Field, points: Float[Tensor, "points 3"], *, create_graph: bool = True, analytic: bool = False
) -> tuple[FieldSample, Float[Tensor, "points 3"]]:
    """The field at points together with ∇f there.

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
