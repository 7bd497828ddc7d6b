"""One photograph of a scene."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from recon.errors import SceneError
from recon.scene.annotations import read_pixels
from recon.scene.camera import Camera
from recon.scene.images import image_size, read_image, read_mask


class View:
    """One photograph of a scene, with its mask and camera; files are read on use.

    Attributes:
        index: Position in the scene's views.
        name: The image's file name without extension.
        image_path: File of the photograph; it may be missing in a partial copy.
        mask_path: File of the foreground mask; it may be missing too, which is an error on use.
        ignore_path: Picture of the pixels to ignore, such as a hand before the head; None where there are none.
        landmarks_path: File of its landmarks (see `recon.scene.annotations`); None where there are none.
    """

    def __init__(
        self,
        index: int,
        name: str,
        camera: Camera | Callable[[], Camera],
        image_path: Path,
        mask_path: Path,
        ignore_path: Path | None = None,
        landmarks_path: Path | None = None,
    ) -> None:
        self.index = index
        self.name = name
        self.image_path = Path(image_path)
        self.mask_path = Path(mask_path)
        self.ignore_path = ignore_path
        self.landmarks_path = landmarks_path
        self._camera = camera

    def __repr__(self) -> str:
        return f"View({self.index}, {str(self.image_path)!r})"

    def with_mask(self, mask_path: Path, ignore_path: Path | None = None) -> View:
        """The same photograph with another mask; without `ignore_path` its ignored pixels stay."""
        ignored = ignore_path or self.ignore_path
        return View(
            self.index, self.name, self._camera, self.image_path, mask_path, ignored, self.landmarks_path
        )

    @property
    def available(self) -> bool:
        """Whether photograph and mask exist."""
        return self.image_path.is_file() and self.mask_path.is_file()

    @cached_property
    def camera(self) -> Camera:
        """World camera of the photograph, in pixels of its own size.

        Raises:
            SceneError: The camera or the image's size cannot be read; the message names the file.
        """
        return self._camera if isinstance(self._camera, Camera) else self._camera()

    def image(self) -> Float[np.ndarray, "h w 3"]:
        """The photograph, float32 sRGB in [0, 1], decoded on each call.

        Raises:
            SceneError: The file is missing or cannot be read.
        """
        return read_image(self.image_path)

    def mask(self) -> Bool[np.ndarray, "h w"]:
        """The foreground, decoded on each call (see `recon.scene.images.read_mask`).

        Raises:
            SceneError: The file is missing or cannot be read.
        """
        return read_mask(self.mask_path)

    def ignored(self) -> Bool[np.ndarray, "h w"]:
        """The pixels at which photograph and mask do not count, decoded on each call.

        Raises:
            SceneError: The file, or without one the mask, is missing or cannot be read.
        """
        if self.ignore_path is not None:
            return read_mask(self.ignore_path)
        width, height = image_size(self.mask_path)
        return np.zeros((height, width), dtype=bool)

    def landmarks(self) -> dict[str, Float[np.ndarray, " 2"]]:
        """Positions (x, y) in pixels of the landmarks known in the photograph, by name; empty where there are none.

        Raises:
            SceneError: The file of landmarks, or the photograph, is broken.
        """
        if self.landmarks_path is None:
            return {}
        return read_pixels(self.landmarks_path, *image_size(self.image_path))


def check_sizes(view: View, image: np.ndarray, mask: np.ndarray, ignored: np.ndarray | None = None) -> None:
    """Refuse pictures of a view that are not of one size.

    Args:
        view: Names the files.
        image: (height, width, 3).
        mask: (height, width).
        ignored: (height, width), where it is there already.

    Raises:
        SceneError: With both sizes and what to do.
    """
    height, width = image.shape[:2]
    remedy = "resize it (nearest neighbour) to the image's size"
    if mask.shape != (height, width):
        raise SceneError(
            f"mask {view.mask_path} is {mask.shape[1]}x{mask.shape[0]}, but its image {view.image_path} is "
            f"{width}x{height}: {remedy}"
        )
    if ignored is not None and ignored.shape != (height, width):
        raise SceneError(
            f"{view.ignore_path} is {ignored.shape[1]}x{ignored.shape[0]}, but its mask is {width}x{height}: {remedy}"
        )
