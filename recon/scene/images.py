"""Pictures: decoding of photographs and masks of any mode, conversion to 8 bits, log luminance, and masked blurring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from PIL import ExifTags, Image
from scipy.ndimage import binary_dilation, gaussian_filter

from recon.errors import SceneError
from recon.reading import open_picture, reading

SHARP_HEIGHT_PX, SHARP_SHARE = 400, 0.17
"""Height of a head at which photographs are judged sharp, and share of detail of 1 to 2 px in that of 2 to 4 px below
which they are not: at least 0.41 of sharp ones, synthetic and real, 0.19 to 0.23 after a blur of 2 px, 0.15 of 3 px and
0.08 of 6 px."""
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of linear RGB (IEC 61966-2-1)
DARKEST = 0.01
"""Offset of the luminance before the logarithm, so that noise in shadows is not amplified."""


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
    return read_image_and_orientation(path)[0]


def read_image_and_orientation(path: Path) -> tuple[Float[np.ndarray, "h w 3"], int]:
    """A photograph as of `read_image`, and how its pixels lie by EXIF, 1 to 8; 1 where it says nothing.

    Raises:
        SceneError: The file is missing, broken or not an image.
    """
    image = _load(path, "image")
    try:
        tag = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF data
        tag = None
    orientation = tag if isinstance(tag, int) and 1 <= tag <= 8 else 1
    if image.mode.startswith(("I", "F")):
        values = np.array(image, dtype=np.float32)
        values /= np.float32(_full_scale(image))
        return np.repeat(values[..., None], 3, axis=2), orientation
    values = np.array(image if image.mode == "RGB" else image.convert("RGB"), dtype=np.float32)
    values /= 255  # in place: large photographs are decoded once
    return values, orientation


def read_mask(path: Path) -> Bool[np.ndarray, "h w"]:
    """Read a mask: true where the foreground channel is above half of its range.

    The channel is alpha where some of it is above half and some is not, else the brightest colour; a palette is
    applied first. What is no mask of one thing is refused, not read as something.

    Raises:
        SceneError: The file is missing, broken or not an image; nothing in it is above half of its range, but something
            is above 0; or it holds classes, a photograph, or another mask in its colours than in alpha.
    """
    image = _load(path, "mask")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    elif image.mode not in ("1", "L", "LA", "RGB", "RGBA") and not image.mode.startswith(("I", "F")):
        image = image.convert("RGBA" if image.mode in ("RGBa", "La") else "RGB")
    full = _full_scale(image)
    values = _foreground(np.asarray(image), full / 2, path)
    if values.dtype != bool:
        _refuse_another_range(values, full, path)
        _refuse_tones(_rows(values) / full, path)
    return values > full / 2


WHITE_ON_BLACK = "save the head as white on black, and all else as black"
MOST_SAMPLES = 400_000
"""Pixels that are looked at to tell what kind of picture a mask is."""
COLOURED = 48
"""Difference between channels of 255 from which a pixel has a colour."""
MID_TONES = 1 / 8, 7 / 8
"""Values between these are neither black nor white."""


def _rows(values: np.ndarray) -> np.ndarray:
    """Whole rows of a picture, of about `MOST_SAMPLES` pixels."""
    return values[:: max(1, values.shape[0] * values.shape[1] // MOST_SAMPLES)]


def _foreground(values: np.ndarray, half: float, path: Path) -> np.ndarray:
    """The channel that says what is foreground."""
    if values.ndim == 2:
        return values
    alpha = values[..., -1] if values.shape[2] in (2, 4) else None
    colours = values if alpha is None else values[..., :-1]
    if alpha is not None and (alpha > half).any() and not (alpha > half).all():
        shown = _rows(colours)[_rows(alpha) > half].max(axis=-1)
        black, white = (shown < 0.2 * half).mean(), (shown > 1.8 * half).mean()
        if min(black, white) > 0.05 and black + white > 0.95:
            raise SceneError(
                f"mask {path} has a mask in its colours and another one in its alpha channel, so that it is open "
                "which of them counts: save it without alpha"
            )
        return alpha
    if colours.shape[2] == 3:
        _refuse_colours(_rows(colours), path)
    result: np.ndarray = colours.max(axis=-1)
    return result


def _refuse_colours(colours: np.ndarray, path: Path) -> None:
    """Refuse colours that are neither greys nor mixtures of two."""
    pixels = colours.reshape(-1, 3)
    if (np.ptp(pixels, axis=1) > COLOURED).mean() < 0.02:
        return
    bins = (pixels >> 5) @ np.array([64, 8, 1], np.uint16)
    counts = np.bincount(bins, minlength=512)
    first, second = (pixels[bins == k].mean(axis=0) for k in counts.argsort()[::-1][:2])
    along = second - first
    share = np.clip((pixels - first) @ along / max(float(along @ along), 1.0), 0, 1)
    off = np.linalg.norm(pixels - first - share[:, None] * along, axis=1)
    if (off > COLOURED).mean() < 0.02:
        return
    exact = colours @ np.array([65536, 256, 1], np.uint32)
    if _flat(exact, (bins != counts.argmax()).reshape(exact.shape)):
        raise SceneError(
            f"mask {path} has more than two colours, as a map of classes (parsing) has: {WHITE_ON_BLACK}"
        )
    raise SceneError(
        f"mask {path} is a photograph, cut out or whole: {WHITE_ON_BLACK}, or the cut-out with an alpha channel (PNG)"
    )


def _refuse_another_range(values: np.ndarray, full: float, path: Path) -> None:
    """Refuse values of which none is above half of the range, though some are above 0, and floats beyond 1."""
    largest = float(values.max())
    if full == 1 and largest > 1.5:
        raise SceneError(
            f"mask {path} has floating-point values up to {largest:g}: expected are 0 for background to 1 for the head"
        )
    if not 0 < largest <= full / 2:
        return
    if largest == 1:
        remedy = "If it was saved with values 0 and 1, save it with 0 and 255"
    elif largest < 64:
        remedy = f"If it holds numbers of classes (a parsing map), {WHITE_ON_BLACK}"
    elif full == 65535 and largest < 4096:
        bits = 8 if largest < 256 else int(np.ceil(np.log2(largest + 1)))
        remedy = f"It has {bits} bits in a file of 16: save it as a file of 8 bits, with 0 and 255"
    else:
        remedy = WHITE_ON_BLACK.capitalize()
    raise SceneError(
        f"mask {path} is empty: no value is above half of its range, the largest is {largest:g} of {full:g}. {remedy}"
    )


def _refuse_tones(values: np.ndarray, path: Path) -> None:
    """Refuse values in [0, 1] that are classes or the tones of a photograph; soft edges of any width are neither."""
    middle = (values > MID_TONES[0]) & (values < MID_TONES[1])
    levels = np.round(values * 255).astype(np.uint8)
    counts = np.bincount(levels[middle], minlength=256)
    large = counts > 0.005 * values.size
    flat = large[levels] & middle
    if large.sum() >= 3 and _flat(levels, flat):
        raise SceneError(
            f"mask {path} has {large.sum()} wide levels of grey, as a map of classes (parsing) has: {WHITE_ON_BLACK}"
        )
    bright = (values > MID_TONES[0]).sum()
    if middle.sum() > 0.25 * bright and flat.sum() < 0.5 * middle.sum() and _turns(values) > 4:
        raise SceneError(
            f"mask {path} is grey in {middle.sum() / bright:.0%} of what is not black, and from lighter to darker and "
            f"back, as a photograph is, cut out or whole: {WHITE_ON_BLACK}, or the cut-out with an alpha channel (PNG)"
        )


def _turns(values: np.ndarray) -> float:
    """How often a row that is not black turns from lighter to darker or back, by eighths of the range: once where it
    crosses a mask with edges however soft, 6 to 12 times where it crosses a photograph.
    """
    rows = np.minimum(values[(values > MID_TONES[0]).any(axis=1)] * 8, 7).astype(np.int8)
    counts = []
    for row in rows[:: max(1, len(rows) // 256)]:
        steps = np.sign(np.diff(row))
        steps = steps[steps != 0]
        counts.append((steps[1:] != steps[:-1]).sum())
    return float(np.mean(counts)) if counts else 0.0


def _flat(levels: np.ndarray, where: np.ndarray | None = None) -> bool:
    """Whether most pixels have the level of the next one in their row."""
    same = levels[:, :-1] == levels[:, 1:]
    return bool((same if where is None else same[where[:, :-1]]).mean() > 0.8)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels (h, w, ...) turned and mirrored as their EXIF orientation asks."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    vertical, horizontal = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return pixels[:: -1 if vertical else 1, :: -1 if horizontal else 1]


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


def is_blurred(image: Float[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"]) -> bool:
    """Whether a photograph shows no fine detail of what its mask marks: it is out of focus, or was moved or enlarged.

    Detail is compared between two scales, so that neither light nor contrast matters; of large pictures it is what
    is left where the mask is about 400 pixels high.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    step = max(1, round((len(rows) and int(np.ptp(rows)) + 1) / SHARP_HEIGHT_PX))
    height, width = (side // step for side in mask.shape)
    cells = (height, step, width, step)
    brightness = (image[: height * step, : width * step] @ LUMINANCE).reshape(cells).mean(axis=(1, 3))
    near = binary_dilation(
        mask[: height * step, : width * step].reshape(cells).any(axis=(1, 3)), iterations=3
    )
    fine, middle, coarse = (gaussian_filter(brightness, sigma)[near] for sigma in (1.0, 2.0, 4.0))
    detail, structure = ((fine - middle) ** 2).sum(), ((middle - coarse) ** 2).sum()
    return bool(detail < SHARP_SHARE * structure)


def _load(path: Path, kind: str, pixels: bool = True) -> Image.Image:
    """Read an image; every failure names the file and what to do."""
    if not path.exists():
        raise SceneError(f"{kind} {path} is missing: put it there, or leave that view out (views=[...])")
    with (
        reading(f"{kind} {path}", SceneError, "an image", "replace the file"),
        open_picture(path) as image,
    ):
        if pixels:
            image.load()
        return image


def _full_scale(image: Image.Image) -> float:
    """The value that stands for white in a PIL mode."""
    if image.mode == "1":
        return 1.0
    if image.mode.startswith("I"):
        return 65535.0
    if image.mode == "F":
        return 1.0
    return 255.0
