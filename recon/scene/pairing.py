"""Which files belong together, by one rule for every format of scenes and for the masks of plain photographs.

1. Hidden files (`._x` of Macs among them) and files of another kind are passed over; endings count in any case.
2. Two files of one kind whose names differ only in ending or case are refused.
3. A mask, a picture of ignored pixels or a file of landmarks belongs to the photograph of the same name but for the
   ending (and for `mask_` before or `_mask` behind it), else to the only one of the same number: the last number in a
   name, so that `mask_3` belongs to `img_0003`.
4. Photograph n has camera n, where all photographs have different numbers and these are among the numbers of the
   cameras, or hold all of them. Otherwise cameras belong to photographs in alphabetical order, as in IDR and NeuS, if
   there are as many of each and that order is the order of the numbers too. Everything else is refused.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from recon.errors import SceneError

log = logging.getLogger(__name__)

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""Endings of pictures that a scene may hold."""
LEFT_BY_SYSTEMS = ("thumbs.db", "desktop.ini")


def files_in(folder: Path, endings: Sequence[str] = PICTURES, *, warn: bool = True) -> list[Path]:
    """Files with one of some endings, in alphabetical order; what else lies there is named in a warning.

    Args:
        folder: Where to look; there are none where it does not exist.
        endings: In lower case.
        warn: Whether to name what is passed over.

    Raises:
        SceneError: Two have the same name but for ending or case.
    """
    if not folder.is_dir():
        return []
    found: list[Path] = []
    others: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.lower() in LEFT_BY_SYSTEMS:
            continue
        wanted = path.suffix.lower() in endings and path.is_file()
        (found if wanted else others).append(path)
    if warn:
        name_unused(others, f"expected are files ending in {', '.join(endings)}")
    if twins := same_name(found):
        raise SceneError(
            f"{twins[0]} and {twins[1].name} have the same name but for the ending, so that it is open which of them "
            "counts: take one away"
        )
    return found


def same_name(paths: Sequence[Path]) -> tuple[Path, Path] | None:
    """The first two files with the same name but for folder, ending and case; None where there are no such."""
    first: dict[str, Path] = {}
    for path in paths:
        twin = first.setdefault(path.stem.casefold(), path)
        if twin is not path:
            return twin, path
    return None


def name_unused(paths: Collection[Path], reason: str) -> None:
    """Warn of files of one folder that are not used; every one is named."""
    if paths:
        folder = next(iter(paths)).parent
        log.warning("%s: not used: %s (%s)", folder, ", ".join(path.name for path in paths), reason)


def stem_of(path: Path) -> str:
    """A file's name in lower case without ending (both of `a.jpg.png`), without `mask_` before or `_mask` behind it."""
    stem = path.stem.casefold()
    stem = Path(stem).stem if Path(stem).suffix in PICTURES else stem
    return re.sub(r"^masks?[_-]|[_-]masks?$", "", stem)


def number_of(path: Path) -> int | None:
    """The last number in a file's name; None where there is none."""
    digits = re.findall(r"[0-9]+", stem_of(path))
    return int(digits[-1]) if digits else None


def natural_order(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """A key that sorts names with numbers in them by the numbers, upper and lower case alike: img_2 before img_10."""
    return _natural(path.name.casefold()), path.name


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", name)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts if part]


def renumbered(path: Path, number: int) -> Path:
    """The name that a file of another number would have, with as many digits."""
    matches = list(re.finditer(r"[0-9]+", path.stem))
    if not matches:
        return path.with_name(f"{path.stem}{number}{path.suffix}")
    (start, end), width = matches[-1].span(), len(matches[-1][0])
    return path.with_name(f"{path.stem[:start]}{number:0{width}d}{path.stem[end:]}{path.suffix}")


def partners(owners: Sequence[Path], files: Iterable[Path], what: str) -> dict[Path, Path]:
    """The file of each owner that has one: that of its name, else that of its number, if no other owner has it.

    Args:
        owners: Photographs or masks, present or not.
        files: What belongs to them.
        what: Plural noun for the files, for messages.

    Raises:
        SceneError: Two belong to one owner.
    """
    alike: dict[str | int | None, list[Path]] = {}  # by name and by number
    for owner in owners:
        for key in (stem_of(owner), number_of(owner)):
            alike.setdefault(key, []).append(owner)
    found: dict[Path, Path] = {}
    for file in files:
        number = number_of(file)
        same = alike.get(stem_of(file)) or (alike.get(number, []) if number is not None else [])
        mine = same[0] if len(same) == 1 else None
        if mine is None:
            continue
        if mine in found:
            raise SceneError(
                f"{found[mine]} and {file.name} are both {what} of {mine.name}: take one away, or name each like "
                "what it belongs to"
            )
        found[mine] = file
    return found


def strays(files: Iterable[Path], found: Mapping[Path, Path]) -> list[Path]:
    """Files that `partners` gave to no owner."""
    used = set(found.values())
    return [file for file in files if file not in used]


def images_of_cameras(
    images: Sequence[Path], cameras: Sequence[int], source: Path
) -> tuple[dict[int, Path], list[Path]]:
    """The photograph of each camera that has one, by the camera's number; and photographs without a camera.

    Args:
        images: Photographs in alphabetical order, at least one.
        cameras: Numbers of the cameras.
        source: Their file, for messages.

    Raises:
        SceneError: It is open which belong together.
    """
    numbers = [number for image in images if (number := number_of(image)) is not None]
    distinct = len(set(numbers)) == len(images)
    if distinct and (set(numbers) <= set(cameras) or set(cameras) <= set(numbers)):
        every = dict(zip(numbers, images, strict=True))
        return (
            {number: every[number] for number in cameras if number in every},
            [image for number, image in every.items() if number not in cameras],
        )
    folder = images[0].parent
    if len(cameras) != len(images):
        raise SceneError(
            f"{source} has {len(cameras)} cameras for {len(images)} images in {folder}, and the numbers in the images' "
            "names are not those of the cameras: name each image by the number of its camera (007.png for "
            "world_mat_7), or have as many images as cameras, which are then paired in alphabetical order"
        )
    if sorted(images, key=lambda image: _natural(image.name)) != list(images):
        raise SceneError(
            f"{folder}: the alphabetical order of the images is not that of their numbers, so that it is open which "
            f"camera of {source.name} belongs to which. Pad the numbers with zeros, or name each image by the number "
            "of its camera"
        )
    return dict(zip(sorted(cameras), images, strict=True)), []
