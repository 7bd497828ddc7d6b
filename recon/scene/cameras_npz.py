"""The camera file of IDR, NeuS and H3DS, `cameras.npz` with world_mat_<i> and scale_mat_<i>, and the views that belong
to its cameras.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from recon.errors import SceneError
from recon.geometry.frames import similarity_scale
from recon.reading import read_arrays, reading, shortened
from recon.scene.annotations import ignore_paths, landmark_paths
from recon.scene.camera import Camera
from recon.scene.images import image_size
from recon.scene.pairing import (
    PICTURES,
    files_in,
    images_of_cameras,
    name_unused,
    number_of,
    partners,
    renumbered,
    stem_of,
    strays,
)
from recon.scene.scene import CameraSource
from recon.scene.view import View

CAMERA_FILE = "cameras.npz"
CAMERA_BYTES = 16 << 20
"""Most bytes of the matrices of cameras."""
LAST_CAMERA = 99_999
"""Highest number of a camera; there is a view for each number up to it."""
IMAGE_FOLDERS = ("image", "images")
MASK_FOLDERS = ("mask", "masks")


class CameraFile:
    """The matrices of a `cameras.npz`, read once, on first use.

    Args:
        path: The file.

    Raises:
        SceneError: From every accessor, when the file is missing or broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @property
    def source(self) -> CameraSource:
        """The names of the file and its matrices, for messages."""
        return CameraSource(self.path, "world_mat_{index}", "scale_mat_0")

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays of the file that are matrices of cameras."""
        if not self.path.exists():
            raise SceneError(f"{self.path} is missing: a scene needs its cameras there")
        with reading(self.path, SceneError, "a numpy archive", "replace the file"):
            return read_arrays(self.path, _is_camera, CAMERA_BYTES)

    @cached_property
    def numbers(self) -> list[int]:
        """Numbers i of the cameras world_mat_<i>, ascending."""
        found = (re.fullmatch(r"world_mat_([0-9]+)", name) for name in self.arrays)
        numbers = sorted({int(match[1]) for match in found if match and len(match[1]) <= 9})
        if numbers and numbers[-1] > LAST_CAMERA:
            raise SceneError(
                f"{self.path} has a camera of number {numbers[-1]}: numbers may go to {LAST_CAMERA}"
            )
        return numbers

    def world_mat(self, index: int) -> Float[np.ndarray, "rows 4"]:
        """Projection matrix of a view, world to homogeneous pixels of the file's convention.

        Raises:
            SceneError: The file has no such matrix or it has a wrong shape.
        """
        return self._matrix(f"world_mat_{index}", ((3, 4), (4, 4)))

    def scale_mat(self) -> Float[np.ndarray, "4 4"]:
        """`scale_mat_0`, the similarity that takes the unit sphere to the world.

        Raises:
            SceneError: It is missing, not finite, or not a similarity (uniform scale, no reflection).
        """
        if "scale_mat_0" not in self.arrays:
            raise SceneError(
                f"{self.path} has no scale_mat_0: add the 4x4 similarity that takes the unit sphere around "
                "the head to world coordinates (diag(r, r, r, 1) with the sphere's centre in the last column)"
            )
        matrix = self._matrix("scale_mat_0", ((4, 4),))
        scale = similarity_scale(matrix) if np.isfinite(matrix).all() else None
        # a size at which products of three lengths keep their digits, which all later arithmetic needs
        similar = scale is not None and 1e-9 < scale < 1e9 and np.abs(matrix[:3, 3]).max() < 1e9 * scale
        similar = similar and np.allclose(matrix[3], (0, 0, 0, 1), atol=1e-6)
        # cameras are taken to the unit sphere by its inverse
        if not similar or similarity_scale(np.linalg.inv(matrix)) is None:
            raise SceneError(
                f"{self.path}: scale_mat_0 must be a finite similarity without reflection, unit sphere to "
                f"world, got {shortened(np.array2string(matrix, precision=4))}"
            )
        return matrix

    def _matrix(self, name: str, shapes: tuple[tuple[int, int], ...]) -> np.ndarray:
        if name not in self.arrays:
            raise SceneError(
                f"{self.path} has no {name}: it holds {len(self.numbers)} cameras (world_mat_0 ...); "
                "each photograph needs one"
            )
        matrix = self.arrays[name]
        if matrix.shape not in shapes or matrix.dtype.kind not in "fiu":
            expected = " or ".join(f"{rows}x{columns}" for rows, columns in shapes)
            raise SceneError(
                f"{self.path}: {name} must be a {expected} matrix, got {shortened(matrix.dtype)} {matrix.shape}"
            )
        return matrix.astype(np.float64)


def _is_camera(name: str) -> bool:
    """Whether an array of a name is a matrix of a camera; inverses stand beside them in files of IDR."""
    return name.startswith(("world_mat_", "scale_mat_")) and not name.startswith("world_mat_inv")


def views_of(folder: Path, cameras: CameraFile, pixel_centre: float) -> tuple[View, ...]:
    """The views of a scene with images, masks and annotations in folders of their own, paired by the rule of
    `recon.scene.pairing`; view i has world_mat_<i>. Files that belong to no view are named in warnings.

    Args:
        folder: The scene's folder.
        cameras: Its camera file.
        pixel_centre: Coordinate of the centre of the first pixel in it.

    Raises:
        SceneError: There are no images or cameras, or it is open which files belong together.
    """
    image_folder, mask_folder = _subfolder(folder, IMAGE_FOLDERS), _subfolder(folder, MASK_FOLDERS)
    images = files_in(image_folder)
    if not images:
        raise SceneError(f"{image_folder} holds no image ({', '.join(PICTURES)})")
    if not cameras.numbers:
        raise SceneError(f"{cameras.path} has no camera: expected matrices world_mat_0, world_mat_1, ...")
    by_camera, unused = images_of_cameras(images, cameras.numbers, cameras.path)
    name_unused(unused, f"{cameras.path.name} has no camera of their numbers")
    owners = [
        by_camera.get(index) or renumbered(images[0], index) for index in range(cameras.numbers[-1] + 1)
    ]
    masks = _masks(owners, mask_folder, by_camera)
    ignored, landmarks = ignore_paths(folder, masks), landmark_paths(folder, owners)
    return tuple(
        View(
            i,
            image.stem,
            lazy_camera(cameras, i, image, pixel_centre),
            image,
            masks[i],
            ignored[i],
            landmarks[i],
        )
        for i, image in enumerate(owners)
    )


def _masks(owners: list[Path], folder: Path, present: Mapping[int, Path]) -> list[Path]:
    """The mask of each photograph; a path that does not exist where one is missing."""
    files = files_in(folder)
    found = partners(owners, files, "masks")
    if files and not found:
        raise SceneError(
            f"{folder} has {len(files)} masks for {len(present)} images and their names do not pair: "
            f"name each mask like its image, for instance {owners[0].stem}.png for {owners[0].name}"
        )
    name_unused(strays(files, found), "no photograph that is used has their name or number")
    pairs = [(image, mask) for image, mask in found.items() if stem_of(image) != stem_of(mask)]

    def missing(image: Path) -> Path:
        number = number_of(image)
        if pairs and number is not None:
            return renumbered(pairs[0][1], number)
        return folder / f"{re.sub('^img_', 'mask_', image.stem) if not found else image.stem}.png"

    return [found.get(image) or missing(image) for image in owners]


def _subfolder(folder: Path, names: tuple[str, ...]) -> Path:
    """The first of some subfolders that exists, else where the first would be; others that exist are named."""
    there = [folder / name for name in names if (folder / name).is_dir()]
    name_unused(there[1:], f"{there[0].name}/ is" if there else "")
    return there[0] if there else folder / names[0]


def lazy_camera(file: CameraFile, index: int, image_path: Path, pixel_centre: float) -> Callable[[], Camera]:
    """A camera that is decomposed, and its image's size read, on first use (picklable)."""
    return partial(_read_camera, file, index, image_path, pixel_centre)


def _read_camera(file: CameraFile, index: int, image_path: Path, pixel_centre: float) -> Camera:
    matrix = file.world_mat(index)
    width, height = image_size(image_path)
    try:
        return Camera.from_projection(matrix, width, height, pixel_centre)
    except SceneError as error:
        raise SceneError(f"{file.path}: world_mat_{index}: {error}") from error
