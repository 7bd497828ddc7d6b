"""Plain photographs of a scene's views, as people have them: JPEG files without cameras and masks, before another
background if wanted, and stored as a telephone stores them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from PIL import ExifTags, Image
from scipy import ndimage

from recon.files import save_picture
from recon.scene import Scene

Picture = tuple[Float[np.ndarray, "height width 3"], Bool[np.ndarray, "height width"]]
"""A photograph, sRGB in [0, 1], with its mask."""
FILM_DIAGONAL_MM = float(np.hypot(36, 24))
TURNS = {
    1: None,
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
"""What is done to upright pixels so that the EXIF orientation makes them upright again."""
SKIN_AND_HAIR = np.array([[0.78, 0.58, 0.47], [0.55, 0.37, 0.27], [0.22, 0.15, 0.11], [0.07, 0.06, 0.06]])
"""Colours that objects have as often as others, so that a background may look like the person."""


@dataclass(frozen=True)
class Storage:
    """How photographs are stored.

    Attributes:
        long_side: Pixels; None keeps the views' own size. Larger ones are interpolated.
        orientation: EXIF orientation, 1, 3, 6 or 8: 6 is a telephone held upright.
        focal: Whether EXIF tells the focal length, equivalent to 35 mm film, in whole millimetres.
        quality: Of JPEG.
    """

    long_side: int | None = None
    orientation: int = 1
    focal: bool = False
    quality: int = 92


def write_plain_photographs(
    scene: Scene,
    views: Sequence[int],
    folder: Path,
    storage: Storage | None = None,
    *,
    pictures: Sequence[Picture] | None = None,
    clutter: int | None = None,
    stranger: Scene | None = None,
) -> list[Path]:
    """Writes views of a scene as photographs `IMG_0000.jpg`, …, numbered as the views are given.

    Args:
        scene: With cameras and masks.
        views: Numbers of its views.
        folder: Where to; it is made.
        storage: How they are stored.
        pictures: What the photographs show in place of what the views show, for each of them.
        clutter: Seed of a background of objects and textures, a different one in each photograph; None keeps the
            views' own.
        stranger: Somebody whose shoulder is seen at the border of cluttered photographs.
    """
    storage = storage or Storage()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, index in enumerate(views):
        view = scene.views[index]
        pixels, mask = (view.image(), view.mask()) if pictures is None else pictures[number]
        if clutter is not None:
            rng = np.random.default_rng([clutter, number])
            background = cluttered_background(pixels.shape[0], pixels.shape[1], rng)
            if stranger is not None:
                background = with_shoulder(background, stranger, rng)
            pixels = before_background(pixels, mask, background)
        path = folder / f"IMG_{number:04d}.jpg"
        film_mm = view.camera.intrinsics[0, 0] / np.hypot(*pixels.shape[:2]) * FILM_DIAGONAL_MM
        _write(path, pixels, storage, round(film_mm))
        paths.append(path)
    return paths


def _write(path: Path, pixels: Float[np.ndarray, "height width 3"], storage: Storage, film_mm: int) -> None:
    picture = Image.fromarray(np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8))
    if storage.long_side is not None:
        factor = storage.long_side / max(picture.size)
        size = round(picture.width * factor), round(picture.height * factor)
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    turn = TURNS[storage.orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = storage.orientation
    if storage.focal:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = film_mm
    turned = picture if turn is None else picture.transpose(turn)
    save_picture(turned, path, quality=storage.quality, subsampling=0, exif=exif)


def before_background(
    pixels: Float[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"],
    background: Float[np.ndarray, "height width 3"],
) -> Float[np.ndarray, "height width 3"]:
    """A person before another background; the border of one pixel is mixed."""
    covered = ndimage.gaussian_filter(ndimage.binary_erosion(mask).astype(float), 0.7)[..., None]
    result: np.ndarray = covered * pixels + (1 - covered) * background
    return result


def cluttered_background(
    height: int, width: int, rng: np.random.Generator, objects: int = 14
) -> Float[np.ndarray, "height width 3"]:
    """A wall with a gradient and a texture, and objects before it, some in colours of skin and hair.

    Args:
        height: Pixels.
        width: Pixels.
        rng: Generator, consumed.
        objects: How many.
    """
    long = max(height, width)
    y, x = np.mgrid[:height, :width] / long
    slope = rng.normal(size=2)
    ramp = (x * slope[0] + y * slope[1])[..., None]
    picture = rng.uniform(0.15, 0.85, 3) + 0.35 * ramp * rng.normal(size=3)
    picture = picture + _texture(height, width, rng)
    for _ in range(objects):
        centre, half = rng.uniform(0, 1, 2) * [width / long, height / long], rng.uniform(0.03, 0.2, 2)
        turn = rng.uniform(0, np.pi)
        across = (x - centre[0]) * np.cos(turn) + (y - centre[1]) * np.sin(turn)
        along = (y - centre[1]) * np.cos(turn) - (x - centre[0]) * np.sin(turn)
        power = rng.choice([2.0, 10.0])  # ellipses and boxes
        inside = (np.abs(across / half[0]) ** power + np.abs(along / half[1]) ** power < 1)[..., None]
        colour = SKIN_AND_HAIR[rng.integers(4)] if rng.random() < 0.5 else rng.uniform(0, 1, 3)
        look = colour * (1 + 0.3 * across / half[0])[..., None] + rng.choice([0.2, 1.0]) * _texture(
            height, width, rng
        )
        picture = np.where(inside, look, picture)
    blur = rng.uniform(0.0, 0.004) * long
    return np.clip(ndimage.gaussian_filter(picture, (blur, blur, 0)), 0.0, 1.0)


def _texture(height: int, width: int, rng: np.random.Generator) -> Float[np.ndarray, "height width 3"]:
    """Noise of several scales, or stripes."""
    if rng.random() < 0.3:
        y, x = np.mgrid[:height, :width]
        turn, period = rng.uniform(0, np.pi), rng.uniform(6, 40)
        stripes = np.sin(2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / period)
        return 0.12 * stripes[..., None] * rng.uniform(-1, 1, 3)
    total = np.zeros((height, width, 3))
    for step in (4, 16, 64):
        coarse = rng.normal(size=(height // step + 2, width // step + 2, 3))
        total += 0.05 * ndimage.zoom(coarse, (step, step, 1), order=1)[:height, :width]
    return total


def with_shoulder(
    background: Float[np.ndarray, "height width 3"], stranger: Scene, rng: np.random.Generator
) -> Float[np.ndarray, "height width 3"]:
    """A background with a part of a second person, face outside the picture, at its left or right border."""
    view = stranger.views[stranger.available()[len(stranger.available()) // 2]]
    height, width = background.shape[:2]
    if view.mask().shape != (height, width):
        return background
    shift = int(rng.choice([-1, 1]) * rng.uniform(0.62, 0.72) * width)
    pixels = ndimage.shift(view.image(), (0, shift, 0), order=0)
    mask = ndimage.shift(view.mask(), (0, shift), order=0)
    return before_background(pixels, mask, background)
