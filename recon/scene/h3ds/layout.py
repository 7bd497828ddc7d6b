"""The H3DS folder layout: where each file lies, and the descriptions of data sets.

```
<root>/version.txt                     first line: data version
<root>/config.toml                     generated roots only: tags, view counts, default lists
<root>/<scene>/full_head.obj           ground truth, mm
<root>/<scene>/image/img_0000.jpg      photographs
<root>/<scene>/mask/mask_0000.png      foreground masks
<root>/<scene>/ignore/mask_0000.png    an addition to H3DS: pixels to ignore, where a view has such
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
from recon.files import decoded, read_text
from recon.reading import cause, integer, listed, read_bytes, reading, table, text
from recon.scene.annotations import IGNORE_FOLDER
from recon.scene.cameras_npz import CAMERA_FILE

CONFIG_FILE = "config.toml"
VERSION_FILE = "version.txt"
PHOTOGRAPHS = "photographs"
"""The version of a scene that calibration made of plain photographs begins so: what it ignores below the collar is no
fault."""
MESH_FILE = "full_head.obj"
PIXEL_CENTRE = 0.0
MOST_VIEWS = 100_000
REGIONS = ("face", "face_sphere", "nose")
LANDMARKS = ("right_eye", "left_eye", "nose_tip", "nose_base", "right_lips", "left_lips")


class Paths:
    """Where the files of one scene lie."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.mesh = self.folder / MESH_FILE
        self.cameras = self.folder / CAMERA_FILE
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
        """Picture of the ignored pixels of a view."""
        return self.folder / IGNORE_FOLDER / f"mask_{index:04d}.png"

    def region(self, name: str) -> Path:
        """Index list of a region."""
        return self.regions / f"{name}.txt"


def scenes_with_mesh(root: Path) -> list[str]:
    """Names of the scenes of a data set that have a ground truth, sorted."""
    return sorted(
        path.parent.name for path in root.glob(f"*/{MESH_FILE}") if not path.parent.name.startswith(".")
    )


def read_config(path: Path) -> dict[str, Any]:
    """Read a data set description: version, file_id, file_md5 and the table `scenes`.

    Raises:
        SceneError: The file is missing, is not toml, or has no table of scenes.
    """
    try:
        config = tomllib.loads(decoded(read_bytes(path)))
    except OSError as error:
        raise SceneError(f"{path} cannot be read: {cause(error)}") from error
    except (ValueError, RecursionError) as error:
        raise SceneError(f"{path} is not valid toml: {cause(error)}") from error
    if not isinstance(config.get("scenes"), dict):
        raise SceneError(f"{path} has no table [scenes]: it does not describe a data set in the H3DS layout")
    with reading(path, SceneError, "the description of a data set"):
        for name, entry in config["scenes"].items():
            _check_entry(entry, f"scenes.{name}")
    return config


def _check_entry(entry: Any, what: str) -> None:
    """Check what a description says of a scene.

    Raises:
        ValueError: It has another form.
    """
    table(entry, what)
    if "views" in entry:
        integer(entry["views"], f"{what}.views", high=MOST_VIEWS)
    for tag in listed(entry.get("tags", []), f"{what}.tags"):
        text(tag, f"a tag of {what}")
    for key, indices in table(
        entry.get("default_views_configs", {}), f"{what}.default_views_configs"
    ).items():
        where = f"{what}.default_views_configs.{key}"
        if not key.isdecimal() or len(key) > 5:
            raise ValueError(f"{where} must be 'number = [view indices]'")
        for index in listed(indices, where):
            integer(index, f"an index of {where}", high=MOST_VIEWS)


def view_lists(entry: Mapping[str, Any]) -> dict[int, tuple[int, ...]]:
    """Default view lists of one scene of a description that `read_config` read, by number of views."""
    lists = entry.get("default_views_configs", {})
    return {int(key): tuple(indices) for key, indices in lists.items() if len(indices)}


def read_version(root: Path) -> str | None:
    """First line of `<root>/version.txt`, or None where it cannot be read."""
    try:
        lines = read_text(root / VERSION_FILE).splitlines()
    except (OSError, UnicodeError):
        return None
    return lines[0].rstrip() if lines else ""
