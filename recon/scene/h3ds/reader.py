"""The reader of scenes in the H3DS layout (see `recon.scene.h3ds.layout`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recon.scene.cameras_npz import CAMERA_FILE, IMAGE_FOLDERS, CameraFile, views_of
from recon.scene.h3ds.layout import (
    CONFIG_FILE,
    PHOTOGRAPHS,
    PIXEL_CENTRE,
    Paths,
    read_config,
    read_version,
    view_lists,
)
from recon.scene.h3ds.tables import table_entry
from recon.scene.pairing import PICTURES
from recon.scene.scene import GroundTruth, Scene


class H3DSReader:
    """The reader of the published data set and of generated ones like it."""

    name = "H3DS"
    looked_for = (CAMERA_FILE, "image/img_*")

    def matches(self, folder: Path) -> bool:
        """Whether a folder has cameras, images, and either the ground truth of H3DS or a photograph named as there, of
        any ending.
        """
        if not (folder / CAMERA_FILE).is_file():
            return False
        images = [
            path for name in IMAGE_FOLDERS if (folder / name).is_dir() for path in (folder / name).iterdir()
        ]
        return bool(images and Paths(folder).mesh.is_file()) or any(map(_named_as_in_h3ds, images))

    def read(self, folder: Path, *, pixel_centre: float | None = None) -> Scene:
        """Read one scene with the default view lists that its data set has for it.

        The lists come from `config.toml` beside the folder (generated data sets), else from the built-in tables if
        the folder has the id of an H3DS scene.

        Args:
            folder: The scene's folder.
            pixel_centre: Coordinate of the centre of the first pixel in its cameras; None for the published 0.

        Raises:
            SceneError: The cameras are missing, broken or have no usable `scale_mat_0`; it is open which files belong
                together; or `config.toml` is broken.
        """
        paths = Paths(folder)
        centre = PIXEL_CENTRE if pixel_centre is None else pixel_centre
        version = read_version(folder.parent) or ""
        default_views = view_lists(_entry(folder, version))
        cameras = CameraFile(paths.cameras)
        views = views_of(folder, cameras, centre)
        return Scene(
            folder.name,
            folder,
            views,
            cameras.scale_mat(),
            default_views,
            GroundTruth(paths.mesh, paths.landmarks, paths.regions) if paths.mesh.is_file() else None,
            version,
            cameras.source,
            body_ignored=version.startswith(PHOTOGRAPHS),
        )


def _named_as_in_h3ds(image: Path) -> bool:
    """Whether a file is called img_<number>, with any ending of a picture."""
    return re.fullmatch(r"img_[0-9]+", image.stem) is not None and image.suffix.lower() in PICTURES


def _entry(folder: Path, version: str) -> Mapping[str, Any]:
    """What a data set's description says of a scene: a table of its own beside it, else the built-in ones."""
    config = folder.parent / CONFIG_FILE
    if config.is_file():
        return read_config(config)["scenes"].get(folder.name, {})
    return table_entry(folder.name, version) or {}
