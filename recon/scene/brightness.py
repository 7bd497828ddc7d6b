"""How bright photographs are: logarithms of luminance, blurred within a mask."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
DARKEST = 0.01
"""Added to luminance before the logarithm, so that noise in shadows does not count for more than light does."""


def log_luminance(image: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width"]:
    """Logarithm of the linear luminance of an sRGB picture in [0, 1] (IEC 61966-2-1)."""
    linear = np.where(image <= 0.04045, image / 12.92, ((np.maximum(image, 0.04045) + 0.055) / 1.055) ** 2.4)
    result: np.ndarray = np.log(linear.astype(np.float32) @ LUMINANCE + DARKEST)
    return result


def blurred_within(
    picture: Float[np.ndarray, "height width"], mask: Bool[np.ndarray, "height width"], sigma_px: float
) -> Float[np.ndarray, "height width"]:
    """The picture blurred within its mask: what is outside has no say, so that the backdrop does not leak in."""
    share = gaussian_filter(mask.astype(np.float32), sigma_px)
    smooth = gaussian_filter(np.where(mask, picture, 0).astype(np.float32), sigma_px)
    result: np.ndarray = np.where(share > 1e-3, smooth / np.maximum(share, 1e-3), picture)
    return result
