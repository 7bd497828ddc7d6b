"""Photographs as people have them: turned upright, in sRGB, scaled to a working size, with the focal length that the
camera wrote down; and the list of those in a folder.

Pixels are those of the working picture, upright: (0, 0) is the outer corner of its first pixel, as in
`recon.scene.camera`.
"""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import ExifTags, Image, ImageCms

from recon.errors import SceneError
from recon.reading import IMAGE_PIXELS, cause, open_picture
from recon.scene.images import upright
from recon.scene.pairing import natural_order, same_name

log = logging.getLogger(__name__)

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "HEIF")
"""What is decoded, by its content; see `recon.reading.FORMATS`."""
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".heic", ".heif", ".avif")
LONG_SIDE = 1600
"""Pixels of the longer side of the working picture."""
MOST_PIXELS = 210_000_000
"""Larger pictures are refused before they are decoded; phones make up to 200 megapixels."""
WHOLE = 0.0, 0.0, 1.0, 1.0
"""The part of a picture that is all of it."""
FILM_DIAGONAL_MM = math.hypot(36, 24)
SENSOR_MM = 4.0, 60.0
"""The longer side of sensors that there are, from telephones to medium format."""
UNITS_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""Length of FocalPlaneResolutionUnit: inch, cm, mm, µm."""


@dataclass(frozen=True, eq=False)
class Photograph:
    """One photograph, ready to be looked at.

    Attributes:
        image: (h, w, 3) float32, sRGB in [0, 1], upright.
        path: The file.
        alpha: (h, w) float32 opacity in [0, 1]; None where the file has none, or the same everywhere.
        focal_px: Focal length in pixels of `image`; None where the file does not tell.
        focal_source: The EXIF tags that tell it, or why it is not known.
        original_size: (width, height) of the file's picture, upright.
        orientation: The EXIF orientation that was applied, 1 to 8; 1 is none.
        part: What `image` shows of the upright picture: left, top, right, bottom as shares of its sides.
        warnings: What was amiss with the file, as sentences.
    """

    image: Float[np.ndarray, "height width 3"]
    path: Path
    alpha: Float[np.ndarray, "height width"] | None = None
    focal_px: float | None = None
    focal_source: str = "the file has no EXIF"
    original_size: tuple[int, int] = (0, 0)
    orientation: int = 1
    part: tuple[float, float, float, float] = WHOLE
    warnings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.original_size == (0, 0):
            object.__setattr__(self, "original_size", self.size)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the working picture."""
        return self.image.shape[1], self.image.shape[0]

    @property
    def scale(self) -> tuple[float, float]:
        """Working pixels per pixel of the original, across and down: intrinsics follow by these factors."""
        left, top, right, bottom = self.part
        width, height = self.original_size
        return self.size[0] / (width * (right - left)), self.size[1] / (height * (bottom - top))

    @property
    def principal_point(self) -> tuple[float, float]:
        """The middle of the whole picture, in pixels of `image`; it may lie beyond them."""
        left, top, right, bottom = self.part
        return self.size[0] * (0.5 - left) / (right - left), self.size[1] * (0.5 - top) / (bottom - top)


@dataclass(frozen=True)
class PhotographFolder:
    """What a folder of photographs holds.

    Attributes:
        photographs: Files, in the order of their names; numbers in names count as numbers.
        unused: Everything else in the folder but hidden files, with the reason.
    """

    photographs: tuple[Path, ...]
    unused: Mapping[Path, str]


def photographs_in(folder: Path) -> PhotographFolder:
    """The photographs of a folder. Hidden files (also the `._` files of Macs) are passed over.

    Raises:
        SceneError: There is no such folder, it holds no photograph, or two have the same name but for the ending.
    """
    if not folder.is_dir():
        raise SceneError(
            f"{folder} is not a folder: expected a folder of photographs ({', '.join(EXTENSIONS)})"
        )
    found: list[Path] = []
    unused: dict[Path, str] = {}
    for path in sorted(folder.iterdir(), key=natural_order):
        if path.name.startswith("."):
            continue
        if not path.is_file():
            unused[path] = "not a file"
        elif path.suffix.lower() not in EXTENSIONS:
            unused[path] = f"{path.suffix or 'no ending'} is not the ending of a photograph"
        else:
            found.append(path)
    if twins := same_name(found):
        raise SceneError(
            f"{twins[0]} and {twins[1].name} have the same name but for the ending, so that what is made of one "
            "would replace what is made of the other: rename one, or take it away if it is a copy"
        )
    if not found:
        held = f"; it holds {', '.join(path.name for path in list(unused)[:5])}" if unused else ""
        raise SceneError(f"{folder} holds no photograph ({', '.join(EXTENSIONS)}){held}")
    return PhotographFolder(tuple(found), unused)


def photographs_at(paths: Sequence[Path]) -> PhotographFolder:
    """The photographs that paths name: files, and folders of them.

    Raises:
        SceneError: A path leads to no photograph, or two photographs have the same name but for the ending.
    """
    found: list[Path] = []
    unused: dict[Path, str] = {}
    for path in paths:
        if path.is_dir():
            listed = photographs_in(path)
            found += listed.photographs
            unused |= listed.unused
        elif path.is_file():
            found.append(path)
        else:
            raise SceneError(f"{path} does not exist: expected a photograph, or a folder of photographs")
    if twins := same_name(found):
        raise SceneError(f"{twins[0]} and {twins[1]} have the same name: rename one, or name it once")
    return PhotographFolder(tuple(found), unused)


def read_photograph(
    path: Path, long_side: int | None = LONG_SIDE, part: tuple[float, float, float, float] = WHOLE
) -> Photograph:
    """A photograph, upright, in sRGB, and scaled down where its longer side is longer than `long_side`.

    The size is checked by the header before pixels are decoded; a JPEG is decoded at 1/2, 1/4 or 1/8 where that is
    enough. Where a file holds several pictures, the first is taken.

    Args:
        path: JPEG, PNG, WebP, TIFF, BMP, or with the extra `photos` HEIF.
        long_side: Pixels; None keeps the original size.
        part: Left, top, right and bottom of the part of the upright picture that is wanted, as shares of its sides; it
            is scaled by its own longer side.

    Raises:
        SceneError: The file is missing, damaged, too large, or no picture of these formats.
    """
    _register_heif(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _read(path, long_side, part)
    except FileNotFoundError:
        raise SceneError(f"photograph {path} is missing") from None
    except Exception as error:  # decoders raise all kinds
        why = cause(error)
        if isinstance(error, Image.UnidentifiedImageError):
            why = f"its content is none of {', '.join(FORMATS)}"
        raise SceneError(
            f"photograph {path} cannot be read ({why}): replace the file, or take it away"
        ) from error


def _register_heif(path: Path) -> None:
    """Teaches Pillow HEIF where the file's first bytes say that it is one."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return
    if head[4:8] != b"ftyp":
        return
    try:
        import pillow_heif
    except ImportError:
        raise SceneError(
            f"photograph {path} is a HEIF picture: install the extra that reads them, pip install 'headrecon[photos]', "
            "or save it as JPEG"
        ) from None
    pillow_heif.register_heif_opener()


def _read(path: Path, long_side: int | None, part: tuple[float, float, float, float]) -> Photograph:
    with open_picture(path, FORMATS, MOST_PIXELS) as picture:  # HEIF is an extra
        width, height = picture.size
        # JPEG is decoded at a part of its size.
        if picture.format != "JPEG" and width * height > IMAGE_PIXELS:
            raise ValueError(
                f"it has {width} x {height} pixels, more than {IMAGE_PIXELS // 1_000_000} megapixels: scale it down, "
                "or save it as JPEG"
            )
        exif, remarks = _exif(picture)
        tag = _number(exif, ExifTags.Base.Orientation)
        orientation = int(tag) if tag and tag in range(1, 9) else 1
        upright_size = (height, width) if orientation >= 5 else (width, height)
        extent = max(upright_size[0] * (part[2] - part[0]), upright_size[1] * (part[3] - part[1]))
        factor = 1.0 if long_side is None else min(1.0, long_side / extent)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        if factor < 1:
            picture.draft(None, size)  # decodes a JPEG at the next larger of 1/1, 1/2, 1/4, 1/8
        picture.load()
        profile = picture.info.get("icc_profile")
        pixels, alpha = _split(picture)
    pixels, remark = _to_srgb(pixels, profile, path)
    remarks += remark
    pixels = _upright(pixels, size, orientation)
    alpha = None if alpha is None else _upright(alpha, size, orientation)
    if part != WHOLE:
        sides = np.array([*pixels.size, *pixels.size])
        box = np.rint(np.array(part) * sides).astype(int)
        part = tuple((box / sides).tolist())
        pixels = pixels.crop(tuple(box.tolist()))
        alpha = None if alpha is None else alpha.crop(tuple(box.tolist()))
    opacity = None if alpha is None else np.asarray(alpha, np.float32) / np.float32(255)
    if opacity is not None and opacity.min() == opacity.max():
        opacity = None
    focal, source = focal_from_exif(exif, width, height)
    return Photograph(
        image=np.asarray(pixels, np.float32) / np.float32(255),
        path=path,
        alpha=opacity,
        focal_px=None if focal is None else focal * size[0] / width,
        focal_source=source,
        original_size=upright_size,
        orientation=orientation,
        part=part,
        warnings=tuple(remarks),
    )


def _split(picture: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours (L, RGB, CMYK, LAB) and opacity of a picture of any mode."""
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture, np.float32) / (65535 if picture.mode.startswith("I") else 1)
        return Image.fromarray(np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)), None
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA" if "transparency" in picture.info or picture.mode == "PA" else "RGB")
    elif "transparency" in picture.info and picture.mode in ("L", "RGB"):
        picture = picture.convert("RGBA")
    alpha = picture.getchannel("A") if picture.mode in ("RGBA", "LA") else None
    plain = {"RGBA": "RGB", "LA": "L", "1": "L", "RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB"}
    mode = plain.get(picture.mode, picture.mode)
    return picture if mode == picture.mode else picture.convert(mode), alpha


def _to_srgb(pixels: Image.Image, profile: bytes | None, path: Path) -> tuple[Image.Image, list[str]]:
    """The picture in sRGB by its colour profile, and what was amiss with the profile."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                pixels, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted, []
        except Exception as error:  # profiles are as broken as files are
            log.warning("%s: its colour profile cannot be used (%s); taken as sRGB", path, error)
            return pixels.convert("RGB"), [
                "the colour profile in the file cannot be used: colours may be off"
            ]
    return pixels if pixels.mode == "RGB" else pixels.convert("RGB"), []


def _upright(picture: Image.Image, size: tuple[int, int], orientation: int) -> Image.Image:
    """The picture at the working size, turned by its EXIF orientation."""
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return Image.fromarray(upright(np.asarray(picture), orientation))


def _exif(picture: Image.Image) -> tuple[dict[int, object], list[str]]:
    """EXIF tags of a picture, those of the photograph itself among them; none where they are broken."""
    try:
        tags = picture.getexif()
        return {**tags, **tags.get_ifd(ExifTags.IFD.Exif)}, []
    except Exception:  # of all kinds, as above
        return {}, ["the EXIF data in the file is damaged: orientation and focal length are not known"]


def focal_from_exif(exif: Mapping[int, object], width: int, height: int) -> tuple[float | None, str]:
    """Focal length in pixels of the stored picture, and the tags that tell it or why it is not known.

    A focal length equivalent to 35 mm film is one of the same angle across the *diagonal* (CIPA DCG-001). A picture
    that was cropped, by the size that EXIF gives, has lost what its focal length meant in pixels.

    Args:
        exif: Tags by number.
        width: Pixels, as stored.
        height: Pixels, as stored.
    """
    tag = ExifTags.Base
    across, down = _number(exif, tag.ExifImageWidth), _number(exif, tag.ExifImageHeight)
    if across and down and abs(math.log(across / down * height / width)) > 0.02:
        if abs(math.log(across / down * width / height)) > 0.02:
            return None, f"it was cropped after it was taken ({across:.0f} x {down:.0f} in EXIF)"
        across, down = down, across  # some programs turn the pixels and leave these two
    equivalent = _number(exif, tag.FocalLengthIn35mmFilm)
    if equivalent:
        return equivalent / FILM_DIAGONAL_MM * math.hypot(width, height), "FocalLengthIn35mmFilm"
    length, density = _number(exif, tag.FocalLength), _number(exif, tag.FocalPlaneXResolution)
    unit = UNITS_MM.get(int(_number(exif, tag.FocalPlaneResolutionUnit) or 2), 25.4)
    if length and density:
        long_side = max(across or width, down or height)
        sensor_mm = long_side / density * unit
        if SENSOR_MM[0] < sensor_mm < SENSOR_MM[1]:
            return length / sensor_mm * max(width, height), "FocalLength and FocalPlaneXResolution"
        return (
            None,
            f"its EXIF speaks of a sensor of {sensor_mm:.1f} mm, so the picture was resized after it was taken",
        )
    return None, "its EXIF has no focal length in pixels" if exif else "the file has no EXIF"


def _number(exif: Mapping[int, object], tag: int) -> float | None:
    """A positive number of a tag; None where there is none."""
    value = exif.get(tag)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ArithmeticError):
        return None
    return number if math.isfinite(number) and number > 0 else None
