"""Pictures: decoding of photographs and masks of any mode, conversion to 8 bits, log luminance, and masked blurring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from scipy.ndimage import gaussian_filter

from recon.errors import SceneError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of linear RGB (IEC 61966-2-1)
DARKEST = 0.01
"""Offset of the luminance before the logarithm, so that noise in shadows is not amplified."""


def pictures_in(folder: Path) -> list[Path]:
    """Image files of a folder in alphabetical order, without hidden ones; none where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.name[0] != "."
    )


def image_size(path: Path) -> tuple[int, int]:
    """Width and height from the file's header, without decoding the pixels.

    Raises:
        SceneError: The file is missing or not an image.
    """
    return _load(path, "image", pixels=False).size


def read_image(path: Path) -> Float[np.ndarray, "h w 3"]:
    """Read a photograph as float32 sRGB in [0, 1].

    Grey images are repeated over the channels; an alpha channel is dropped. The EXIF orientation is not
    applied: cameras are calibrated on the pixels as they are stored.

    Raises:
        SceneError: The file is missing, broken or not an image.
    """
    image = _load(path, "image")
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float32) / np.float32(_full_scale(image))
        return np.repeat(values[..., None], 3, axis=2)
    return np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255)


def read_mask(path: Path) -> Bool[np.ndarray, "h w"]:
    """Read a mask: true where the foreground channel is above half of its range.

    The channel is the only one of `1`, `L`, `I;16`; the first one of `RGB`; that of `P` after its palette is
    applied. Of `LA`, `PA` and `RGBA` it is alpha, unless alpha is the same everywhere (an image program
    saved it along), in which case it is the first colour.

    Raises:
        SceneError: The file is missing, broken or not an image.
    """
    image = _load(path, "mask")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    half = _full_scale(image) / 2
    values = np.asarray(image)
    if values.ndim == 2:
        return values > half
    if values.shape[2] in (2, 4) and values[..., -1].min() != values[..., -1].max():
        return values[..., -1] > half
    return values[..., 0] > half


def to_uint8(image: np.ndarray | Image.Image, what: str) -> np.ndarray:
    """The (h, w, 3) uint8 array of an RGB picture given as uint8, as floats in [0, 1], or as a PIL image.

    Raises:
        SceneError: Another shape or type, or floats that are not finite.
    """
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3:
        raise SceneError(f"{what}: expected an RGB image (h, w, 3), got shape {array.shape}")
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
        raise SceneError(f"{what}: expected uint8 or finite floats in [0, 1], got {array.dtype}")
    return np.round(np.clip(array, 0, 1) * 255).astype(np.uint8)


def log_luminance(image: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width"]:
    """Logarithm of the linear luminance of an sRGB picture in [0, 1] (IEC 61966-2-1)."""
    linear = np.where(image <= 0.04045, image / 12.92, ((np.maximum(image, 0.04045) + 0.055) / 1.055) ** 2.4)
    result: np.ndarray = np.log(linear.astype(np.float32) @ LUMINANCE + DARKEST)
    return result


def blurred_within(
    picture: Float[np.ndarray, "height width"], mask: Bool[np.ndarray, "height width"], sigma_px: float
) -> Float[np.ndarray, "height width"]:
    """The picture blurred within its mask by normalised convolution, so that the background does not leak in."""
    share = gaussian_filter(mask.astype(np.float32), sigma_px)
    smooth = gaussian_filter(np.where(mask, picture, 0).astype(np.float32), sigma_px)
    result: np.ndarray = np.where(share > 1e-3, smooth / np.maximum(share, 1e-3), picture)
    return result


def _load(path: Path, kind: str, pixels: bool = True) -> Image.Image:
    """Read an image; every failure names the file and what to do."""
    try:
        with Image.open(path) as image:
            if pixels:
                image.load()
            return image
    except FileNotFoundError:
        raise SceneError(
            f"{kind} {path} is missing: put it there, or leave that view out (views=[...])"
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise SceneError(f"{kind} {path} cannot be read as an image ({error}): replace the file") from error


def _full_scale(image: Image.Image) -> float:
    """The value that stands for white in a PIL mode."""
    if image.mode == "1":
        return 1.0
    if image.mode.startswith("I"):
        return 65535.0
    if image.mode == "F":
        return 1.0
    return 255.0
