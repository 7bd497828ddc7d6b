"""Reader of the IDR / DTU layout: `cameras.npz`, a folder of images, a folder of masks, names of any pattern.

Images in alphabetical order belong to world_mat_0, world_mat_1, ...: that is how IDR and NeuS pair them. A
mask belongs to the image with the same name or, failing that, with the same last number in its name
(`000012.png` and `012.png`, `img_0012.jpg` and `mask_0012.png`). Only folders whose names share nothing are
paired in order. Pictures in `ignore/` have the names of the masks, files in `landmarks/` those of the images.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from recon.errors import SceneError
from recon.scene.annotations import ignore_paths, landmark_paths
from recon.scene.cameras_npz import CAMERA_FILE, CameraFile, lazy_camera
from recon.scene.images import EXTENSIONS, pictures_in
from recon.scene.scene import Scene
from recon.scene.view import View

IMAGE_FOLDERS = ("image", "images")
MASK_FOLDERS = ("mask", "masks")
PIXEL_CENTRE = 0.0

log = logging.getLogger(__name__)


class IDRReader:
    """The reader of the layout of IDR, NeuS and their DTU scans."""

    name = "IDR, DTU"
    looked_for = (CAMERA_FILE, "image*/")

    def matches(self, folder: Path) -> bool:
        """Whether a folder has cameras and a folder of images."""
        return (folder / CAMERA_FILE).is_file() and _subfolder(folder, IMAGE_FOLDERS) is not None

    def read(self, folder: Path, *, pixel_centre: float | None = None) -> Scene:
        """Read one scene; images and masks are opened when they are asked for.

        Args:
            folder: The scene's folder.
            pixel_centre: Coordinate of the centre of the first pixel in its cameras; None for 0, since the published
                IDR code shoots rays through integer coordinates.

        Raises:
            SceneError: Images or cameras are missing; there are more cameras than images, so that it is open which
                belong together; or masks cannot be paired with images, ignored pixels with masks, or landmarks with
                images.
        """
        centre = PIXEL_CENTRE if pixel_centre is None else pixel_centre
        image_folder = _subfolder(folder, IMAGE_FOLDERS) or folder / IMAGE_FOLDERS[0]
        images = pictures_in(image_folder)
        if not images:
            raise SceneError(f"{image_folder} holds no image ({', '.join(EXTENSIONS)})")
        cameras = CameraFile(folder / CAMERA_FILE)
        if cameras.count > len(images):
            raise SceneError(
                f"{cameras.path} has {cameras.count} cameras for {len(images)} images in {image_folder}: they "
                "are paired in alphabetical order, so put the missing images back or remove their cameras"
            )
        numbers = [_number(path) for path in images]
        if None not in numbers and numbers != sorted(numbers, key=lambda number: number or 0):
            log.warning(
                "%s: the alphabetical order of the images is not that of their numbers; cameras follow the "
                "alphabetical one, as in IDR. Pad the numbers with zeros if that is not meant.",
                image_folder,
            )
        masks = _pair_masks(folder, images)
        views = tuple(
            View(index, image.stem, lazy_camera(cameras, index, image, centre), image, mask, ignored, marks)
            for index, (image, mask, ignored, marks) in enumerate(
                zip(images, masks, ignore_paths(folder, masks), landmark_paths(folder, images), strict=True)
            )
        )
        return Scene(folder.name, folder, views, cameras.scale_mat(), camera_source=cameras.source)


def _subfolder(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The first of some subfolders that exists."""
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _number(path: Path) -> int | None:
    """The last number in a file's name."""
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else None


def _pair_masks(folder: Path, images: list[Path]) -> list[Path]:
    """The mask of each image; a path that does not exist where one is missing."""
    mask_folder = _subfolder(folder, MASK_FOLDERS) or folder / MASK_FOLDERS[0]
    masks = pictures_in(mask_folder)
    by_stem = {mask.stem: mask for mask in masks}
    if not masks or any(image.stem in by_stem for image in images):
        return [by_stem.get(image.stem, mask_folder / f"{image.stem}.png") for image in images]
    by_number = {_number(mask): mask for mask in masks}
    numbers = [_number(image) for image in images]
    distinct = None not in by_number and len(by_number) == len(masks) and len(set(numbers)) == len(images)
    if distinct and any(number in by_number for number in numbers):
        return [by_number.get(number) or _renumbered(masks[0], number) for number in numbers]
    if len(masks) != len(images):
        raise SceneError(
            f"{mask_folder} has {len(masks)} masks for {len(images)} images and their names do not pair: "
            "name each mask like its image"
        )
    return masks


def _renumbered(mask: Path, number: int | None) -> Path:
    """The name that a mask of another number would have."""
    start, digits = list(re.finditer(r"\d+", mask.stem))[-1].span(), len(re.findall(r"\d+", mask.stem)[-1])
    stem = f"{mask.stem[: start[0]]}{number or 0:0{digits}d}{mask.stem[start[1] :]}"
    return mask.with_name(stem + mask.suffix)
