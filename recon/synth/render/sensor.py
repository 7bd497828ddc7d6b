"""The camera's sensor: from linear light to a file by exposure, white balance, contrast, blur, noise and sRGB."""

import io

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy import ndimage

from recon.synth.render.appearance import SensorAppearance


def srgb(linear: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Converts linear light to sRGB (IEC 61966-2-1); values outside [0, 1] are clipped."""
    clipped = np.clip(linear, 0.0, 1.0)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)


def develop(
    linear: Float[np.ndarray, "h w 3"], appearance: SensorAppearance, seed: tuple[int, ...]
) -> UInt8[np.ndarray, "h w 3"]:
    """Develops one exposure as 8-bit sRGB.

    Args:
        linear: Light at the sensor, about 0.2 to 0.6 on lit skin.
        appearance: The camera.
        seed: Seed of the noise, one per picture.

    Returns:
        The picture before JPEG.
    """
    height, width = linear.shape[:2]
    light = ndimage.gaussian_filter(linear, (appearance.blur_px, appearance.blur_px, 0))
    row, column = np.mgrid[0:height, 0:width]
    off_axis = ((row / height - 0.5) ** 2 + (column / width - 0.5) ** 2) * 2.0
    light *= (appearance.exposure * (1.0 - appearance.vignette * off_axis))[..., None]
    light *= np.array([appearance.white_balance[0], 1.0, appearance.white_balance[1]], np.float32)
    rng = np.random.default_rng([0x5E50, *seed])
    scale = np.sqrt(np.maximum(light, 0.0) * appearance.noise**2 + appearance.read_noise**2)
    light = light + scale * rng.standard_normal(light.shape, np.float32)
    grey = light.mean(axis=2, keepdims=True)
    light = grey + appearance.saturation * (light - grey)
    # A shoulder rolls highlights off from 0.7 instead of clipping them.
    bright = np.maximum(light - 0.7, 0.0)
    light = np.minimum(light, 0.7) + 0.3 * (1.0 - np.exp(-bright / 0.3))
    tone = srgb(light)
    curved = tone + appearance.toe * (tone * tone * (3.0 - 2.0 * tone) - tone)
    return np.clip(np.rint(curved * 255.0), 0, 255).astype(np.uint8)


def jpeg(picture: UInt8[np.ndarray, "h w 3"], quality: int) -> bytes:
    """Encodes the picture as a baseline JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(
        buffer, format="JPEG", quality=quality, subsampling=0 if quality > 92 else 2
    )
    return buffer.getvalue()
