"""The losses of IDR (section 3.3 of the paper), as plain functions. P is the set of sampled pixels of a
step.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional


def colour_loss(
    predicted: Float[Tensor, "hits 3"],
    photograph: Float[Tensor, "hits 3"],
    pixels: int,
    counted: Bool[Tensor, " hits"] | None = None,
) -> Float[Tensor, ""]:
    """1/|P| · Σ ‖I − M‖₁ over the pixels where the traced surface and the mask agree that there is something.

    Args:
        predicted: colours of those pixels, in [-1, 1].
        photograph: what the photograph shows there, in [-1, 1].
        pixels: |P|, all pixels of the step.
        counted: which of the colours given are of such pixels; None for all. Those of others can be anything finite.
    """
    away = (predicted - photograph).abs()
    if counted is not None:
        away = torch.where(counted[:, None], away, 0.0)
    return away.sum() / pixels


def mask_loss(
    minimum_sdf: Float[Tensor, " rays"],
    mask: Bool[Tensor, " rays"],
    agreed: Bool[Tensor, " rays"],
    alpha: float | Float[Tensor, ""],
    *,
    fixed: bool = False,
) -> Float[Tensor, ""]:
    """1/(α|P|) · Σ BCE(sigmoid(−α s), mask) over all pixels but the agreed ones (IDR, equation 7).

    Args:
        minimum_sdf: s, the least signed distance along each ray.
        mask: whether the photograph's mask has the object there.
        agreed: pixels in P_in: the ray hit the surface and the mask has the object.
        alpha: sharpness; grows while training.
        fixed: keep the shapes whatever agrees, so that nothing is read back from a device: the same sum, but for the
            order of its terms.
    """
    if fixed:
        every = functional.binary_cross_entropy_with_logits(
            -alpha * minimum_sdf, mask.to(minimum_sdf.dtype), reduction="none"
        )
        return torch.where(agreed, 0.0, every).sum() / (alpha * len(mask))
    logits = -alpha * minimum_sdf[~agreed]
    target = mask[~agreed].to(logits.dtype)
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="sum") / (alpha * len(mask))


def eikonal_loss(gradient: Float[Tensor, "points 3"]) -> Float[Tensor, ""]:
    """Mean of (‖∇f‖ − 1)² (Gropp et al., IGR): keeps f a signed distance."""
    return ((torch.linalg.vector_norm(gradient, dim=-1) - 1) ** 2).mean()
