"""The camera file of IDR, NeuS and H3DS: `cameras.npz` with world_mat_<i> and scale_mat_<i>."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from recon.errors import SceneError
from recon.scene.camera import Camera
from recon.scene.images import image_size
from recon.scene.scene import CameraSource

CAMERA_FILE = "cameras.npz"


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
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                names = [name for name in stored.files if name.startswith(("world_mat_", "scale_mat_"))]
                return {name: stored[name] for name in names if not name.startswith("world_mat_inv")}
        except FileNotFoundError:
            raise SceneError(f"{self.path} is missing: a scene needs its cameras there") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise SceneError(
                f"{self.path} cannot be read as a numpy archive ({error}): replace the file"
            ) from error

    @cached_property
    def count(self) -> int:
        """Number of cameras: world_mat_0 up to the first that is missing."""
        count = 0
        while f"world_mat_{count}" in self.arrays:
            count += 1
        return count

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
        linear = matrix[:3, :3]
        scale = np.cbrt(np.linalg.det(linear)) if np.isfinite(matrix).all() else np.nan
        similar = np.isfinite(scale) and scale > 0
        if not similar or not np.allclose(linear.T @ linear, scale**2 * np.eye(3), atol=1e-4 * scale**2):
            raise SceneError(
                f"{self.path}: scale_mat_0 must be a finite similarity without reflection, unit sphere to "
                f"world, got {np.array2string(matrix, precision=4)}"
            )
        return matrix

    def _matrix(self, name: str, shapes: tuple[tuple[int, int], ...]) -> np.ndarray:
        if name not in self.arrays:
            raise SceneError(
                f"{self.path} has no {name}: it holds {self.count} cameras (world_mat_0 ...); "
                "each photograph needs one"
            )
        matrix = self.arrays[name]
        if matrix.shape not in shapes or matrix.dtype.kind not in "fiu":
            expected = " or ".join(f"{rows}x{columns}" for rows, columns in shapes)
            raise SceneError(
                f"{self.path}: {name} must be a {expected} matrix, got {matrix.dtype} {matrix.shape}"
            )
        return matrix.astype(np.float64)


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
