"""The reader of scenes in the H3DS layout (see `recon.scene.h3ds.layout`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recon.scene.annotations import ignore_paths, landmark_paths
from recon.scene.cameras_npz import CAMERA_FILE, CameraFile, lazy_camera
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
from recon.scene.scene import GroundTruth, Scene
from recon.scene.view import View

_IMAGES = "image/img_[0-9][0-9][0-9][0-9].jpg"


class H3DSReader:
    """The reader of the published data set and of generated ones like it."""

    name = "H3DS"
    looked_for = (CAMERA_FILE, "image/img_????.jpg")

    def matches(self, folder: Path) -> bool:
        """Whether a folder has cameras and at least one photograph named as in H3DS."""
        return (folder / CAMERA_FILE).is_file() and any(folder.glob(_IMAGES))

    def read(self, folder: Path, *, pixel_centre: float | None = None) -> Scene:
        """Read one scene with the default view lists that its data set has for it.

        The lists come from `config.toml` beside the folder (generated data sets), else from the built-in tables if
        the folder has the id of an H3DS scene.

        Args:
            folder: The scene's folder.
            pixel_centre: Coordinate of the centre of the first pixel in its cameras; None for the published 0.

        Raises:
            SceneError: The cameras are missing, broken or have no usable `scale_mat_0`; a picture of ignored pixels
                belongs to no mask, or a file of landmarks to no photograph; or `config.toml` is broken.
        """
        paths = Paths(folder)
        centre = PIXEL_CENTRE if pixel_centre is None else pixel_centre
        version = read_version(folder.parent) or ""
        default_views = view_lists(_entry(folder, version), f"{folder.parent}, scene {folder.name}")
        cameras = CameraFile(paths.cameras)
        numbers = [int(path.stem[4:]) for path in folder.glob(_IMAGES)]
        count = max([*numbers, cameras.count - 1], default=-1) + 1
        ignored = ignore_paths(folder, [paths.mask(index) for index in range(count)])
        landmarks = landmark_paths(folder, [paths.image(index) for index in range(count)])
        views = tuple(
            View(
                index,
                paths.image(index).stem,
                lazy_camera(cameras, index, paths.image(index), centre),
                paths.image(index),
                paths.mask(index),
                ignored[index],
                landmarks[index],
            )
            for index in range(count)
        )
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


def _entry(folder: Path, version: str) -> Mapping[str, Any]:
    """What a data set's description says of a scene: a table of its own beside it, else the built-in ones."""
    config = folder.parent / CONFIG_FILE
    if config.is_file():
        return read_config(config)["scenes"].get(folder.name, {})
    return table_entry(folder.name, version) or {}
