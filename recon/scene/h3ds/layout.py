"""The H3DS folder layout: where each file lies, and the reader of one scene.

```
<root>/version.txt                     first line: data version
<root>/config.toml                     generated roots only: tags, view counts, default lists
<root>/<scene>/full_head.obj           ground truth, mm
<root>/<scene>/image/img_0000.jpg      photographs
<root>/<scene>/mask/mask_0000.png      foreground masks
<root>/<scene>/ignore/mask_0000.png    an addition to H3DS: pixels that say nothing, where a view has such
<root>/<scene>/landmarks/img_0000.json an addition to H3DS: landmarks in a photograph, where they are known
<root>/<scene>/cameras.npz             world_mat_<i>: world mm to pixels; scale_mat_0: unit to world mm
<root>/<scene>/landmarks.txt           name and vertex index
<root>/<scene>/regions/<name>.txt      vertex indices
```

The published code takes the centre of the first pixel to be at coordinate 0; this package puts it at 0.5, so
the reader adds 0.5 to the principal point and the writer takes it away again. `pixel_centre=0.5` reads files
of the other convention. What a wrong choice costs, measured by triangulating the demo's surface: it moves by
0.5 mm from 8 or 16 views and by 0.7 mm from 3; after a rigid alignment 0.01 to 0.03 mm are left.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recon.errors import SceneError
from recon.scene.annotations import IGNORE_FOLDER, ignore_paths, landmark_paths
from recon.scene.cameras_npz import CameraFile, lazy_camera
from recon.scene.scene import GroundTruth, Scene, View

PIXEL_CENTRE = 0.0
REGIONS = ("face", "face_sphere", "nose")
LANDMARKS = ("right_eye", "left_eye", "nose_tip", "nose_base", "right_lips", "left_lips")


class Paths:
    """Where the files of one scene lie."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.mesh = self.folder / "full_head.obj"
        self.cameras = self.folder / "cameras.npz"
        self.landmarks = self.folder / "landmarks.txt"
        self.regions = self.folder / "regions"

    def image(self, index: int) -> Path:
        """Photograph of a view."""
        return self.folder / "image" / f"img_{index:04d}.jpg"

    def mask(self, index: int) -> Path:
        """Mask of a view: PNG, but JPEG in the very first data release."""
        path = self.folder / "mask" / f"mask_{index:04d}.png"
        first_release = path.with_suffix(".jpg")
        return first_release if not path.exists() and first_release.exists() else path

    def ignored(self, index: int) -> Path:
        """Pixels of a view that say nothing."""
        return self.folder / IGNORE_FOLDER / f"mask_{index:04d}.png"

    def region(self, name: str) -> Path:
        """Index list of a region."""
        return self.regions / f"{name}.txt"


def matches(folder: Path) -> bool:
    """Whether a folder with a `cameras.npz` looks like an H3DS scene."""
    return any((folder / "image").glob("img_[0-9][0-9][0-9][0-9].jpg"))


def read_scene(
    folder: Path,
    *,
    pixel_centre: float = PIXEL_CENTRE,
    default_views: Mapping[int, tuple[int, ...]] | None = None,
    version: str = "",
) -> Scene:
    """Read one scene; images, masks and meshes are opened when they are asked for.

    Args:
        folder: The scene's folder.
        pixel_centre: Where its cameras put the centre of the first pixel.
        default_views: View lists of the data set.
        version: Data version, for the record.

    Raises:
        SceneError: `cameras.npz` is missing, broken or has no usable `scale_mat_0`, or a picture of ignored pixels
            belongs to no mask, or a file of landmarks to no photograph.
    """
    paths = Paths(folder)
    cameras = CameraFile(paths.cameras)
    numbers = [int(path.stem[4:]) for path in (paths.folder / "image").glob("img_[0-9][0-9][0-9][0-9].jpg")]
    count = max([*numbers, cameras.count - 1], default=-1) + 1
    ignored = ignore_paths(paths.folder, [paths.mask(index) for index in range(count)])
    landmarks = landmark_paths(paths.folder, [paths.image(index) for index in range(count)])
    views = tuple(
        View(
            index,
            paths.image(index).stem,
            lazy_camera(cameras, index, paths.image(index), pixel_centre),
            paths.image(index),
            paths.mask(index),
            ignored[index],
            landmarks[index],
        )
        for index in range(count)
    )
    truth = GroundTruth(paths.mesh, paths.landmarks, paths.regions) if paths.mesh.is_file() else None
    return Scene(
        paths.folder.name, paths.folder, views, cameras.scale_mat(), default_views or {}, truth, version
    )


def read_config(path: Path) -> dict[str, Any]:
    """Read a data set description: version, file_id, file_md5 and the table `scenes`.

    Raises:
        SceneError: The file is missing, is not toml, or has no table of scenes.
    """
    try:
        with path.open("rb") as stream:
            config = tomllib.load(stream)
    except OSError as error:
        raise SceneError(f"{path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SceneError(f"{path} is not valid toml: {error}") from error
    if not isinstance(config.get("scenes"), dict):
        raise SceneError(f"{path} has no table [scenes]: it does not describe a data set in the H3DS layout")
    return config


def view_lists(entry: Mapping[str, Any], where: str) -> dict[int, tuple[int, ...]]:
    """Default view lists of one scene of a description, by number of views.

    Raises:
        SceneError: A key is not a number or a list holds something else than indices.
    """
    lists: dict[int, tuple[int, ...]] = {}
    for key, indices in entry.get("default_views_configs", {}).items():
        if not str(key).isdecimal() or not all(isinstance(index, int) and index >= 0 for index in indices):
            raise SceneError(
                f"{where}: default_views_configs.{key} must be 'number = [view indices]', got {indices!r}"
            )
        lists[int(key)] = tuple(indices)
    return lists


def read_version(root: Path) -> str | None:
    """First line of `<root>/version.txt`, or None where it cannot be read."""
    try:
        lines = (root / "version.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return lines[0].rstrip() if lines else ""
