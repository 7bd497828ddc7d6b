"""The losses of IDR (section 3.3 of the paper), as plain functions; P is the set of pixels of a step."""

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
    """The colour loss 1/|P| · Σ ‖I − M‖₁, over the pixels in the mask whose rays hit the surface.

    Args:
        predicted: colours M of those pixels, in [-1, 1].
        photograph: colours I of the photograph there, in [-1, 1].
        pixels: |P|, number of all pixels of the step.
        counted: whether each of the given colours is of such a pixel; None for all. The others must be finite.
    """
    difference = (predicted - photograph).abs()
    if counted is not None:
        difference = torch.where(counted[:, None], difference, 0.0)
    return difference.sum() / pixels


def mask_loss(
    minimum_sdf: Float[Tensor, " rays"],
    mask: Bool[Tensor, " rays"],
    agreed: Bool[Tensor, " rays"],
    alpha: float | Float[Tensor, ""],
    *,
    fixed: bool = False,
) -> Float[Tensor, ""]:
    """The mask loss 1/(α|P|) · Σ BCE(sigmoid(−α s), mask), over all pixels except the agreed ones (IDR, equation 7).

    Args:
        minimum_sdf: s, the least signed distance along each ray.
        mask: whether the pixel is in the photograph's mask.
        agreed: pixels in P_in: in the mask, and the ray hits the surface.
        alpha: sharpness α; grows while training.
        fixed: whether shapes are independent of `agreed`, so that nothing is read back from a device; the sum is the
            same, but for the order of its terms.
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
    """The eikonal loss, the mean of (‖∇f‖ − 1)², which keeps f a signed distance (Gropp et al., IGR)."""
    return ((torch.linalg.vector_norm(gradient, dim=-1) - 1) ** 2).mean()
