"""Derivatives of a field with respect to position."""

import torch
from jaxtyping import Float
from torch import Tensor

from recon.fields.field import Field, FieldSample


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
