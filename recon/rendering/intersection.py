"""The differentiable intersection of IDR: the traced point as a function of the network and of the camera."""

import torch
from jaxtyping import Float
from torch import Tensor


def intersect(
    origins: Float[Tensor, "hits 3"],
    directions: Float[Tensor, "hits 3"],
    depth: Float[Tensor, " hits"],
    sdf: Float[Tensor, " hits"],
    gradient: Float[Tensor, "hits 3"],
    *,
    least_slope: float = 1e-2,
) -> Float[Tensor, "hits 3"]:
    """x(θ, τ) = c + (t₀ − (f(c + t₀v; θ) − f₀) / (∇f₀·v₀)) v (IDR, equation 3), everything with subscript 0
    constant.

    Its value is the traced point; its first derivatives with respect to network and camera are those of the
    true intersection.

    Args:
        origins: camera centres c, with their gradients.
        directions: unit view directions v, with their gradients.
        depth: t₀ of the tracer.
        sdf: f at `origins + depth * directions`, with gradients to network (and camera).
        gradient: ∇f there; used as a constant.
        least_slope: grazing rays have |∇f₀·v₀| near zero, where the derivative is unbounded: it is kept at
            least this large. The published code has no such guard.
    """
    slope = (gradient.detach() * directions.detach()).sum(1)
    sign = torch.where(slope > 0, 1.0, -1.0).to(slope.dtype)
    slope = sign * slope.abs().clamp_min(least_slope)
    moved = depth.detach() - (sdf - sdf.detach()) / slope
    return origins + moved[:, None] * directions
