"""Measures of rendered images against photographs: PSNR and SSIM."""

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.ndimage import gaussian_filter

from recon.errors import EvaluationError

Image = Float[np.ndarray, "_ _ 3"]  # height, width; the functions say themselves when shapes differ
Mask = Bool[np.ndarray, "_ _"]


def psnr(pred: Image, target: Image, mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio, dB, for values in [0, 1]: -10 log10 of the mean squared difference.

    Args:
        pred: sRGB in [0, 1].
        target: sRGB in [0, 1].
        mask: Pixels that count; all without it.

    Returns:
        dB; infinite for equal images.

    Raises:
        EvaluationError: The shapes differ, the mask is empty, or a counted value is not finite.
    """
    _same_shape(pred, target)
    squares = _masked((np.asarray(pred, np.float64) - target) ** 2, mask)
    error = float(squares.mean())
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def ssim(pred: Image, target: Image, mask: Mask | None = None) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window, sigma 1.5, width 11, mean of the channels.

    Args:
        pred: sRGB in [0, 1].
        target: sRGB in [0, 1].
        mask: Pixels whose windows count; all without it. Windows reach beyond the mask.

    Returns:
        At most 1, which equal images have.

    Raises:
        EvaluationError: As in `psnr`.
    """
    _same_shape(pred, target)
    c1, c2 = 0.01**2, 0.03**2

    def local_mean(values: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
        return gaussian_filter(values, sigma=(1.5, 1.5, 0), truncate=3.5, mode="reflect")

    x, y = np.asarray(pred, np.float64), np.asarray(target, np.float64)
    mx, my = local_mean(x), local_mean(y)
    vx, vy = local_mean(x * x) - mx**2, local_mean(y * y) - my**2
    cov = local_mean(x * y) - mx * my
    similarity = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return float(_masked(similarity, mask).mean())


def _same_shape(pred: Shaped[np.ndarray, "..."], target: Shaped[np.ndarray, "..."]) -> None:
    if pred.shape != target.shape:
        raise EvaluationError(f"the images differ in shape: {pred.shape} against {target.shape}")


def _masked(values: Image, mask: Mask | None) -> Float[np.ndarray, " counted"]:
    if mask is not None:
        if mask.shape != values.shape[:2]:
            raise EvaluationError(f"the mask has shape {mask.shape}, the images {values.shape[:2]}")
        if not mask.any():
            raise EvaluationError("the mask is empty: no pixel to compare")
        values = values[mask]
    if not np.isfinite(values).all():
        raise EvaluationError("an image has values that are not finite")
    return values.reshape(-1)
