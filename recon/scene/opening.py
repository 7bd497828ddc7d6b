"""`recon.scene.open`: from what a user names (a folder, an H3DS id) to a scene."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from recon.errors import SceneError
from recon.scene import readers
from recon.scene.h3ds.tables import table_entry, tables
from recon.scene.scene import Scene

ROOT_VARIABLE = "H3DS_ROOT"
PHOTOGRAPHS_REMEDY = (
    "A folder of photographs needs none: headrecon scene=FOLDER, or headrecon-photos FOLDER out=SCENE"
)


def open(
    path_or_id: str | os.PathLike[str],
    *,
    h3ds_root: str | os.PathLike[str] | None = None,
    pixel_centre: float | None = None,
) -> Scene:
    """Open a scene; photographs, masks and meshes are read when they are asked for.

    Args:
        path_or_id: A scene folder in one of the formats of `recon.scene.readers.READERS` (`~` is expanded); or the
            name of a scene below `h3ds_root`, such as the id of an H3DS scene (16 hex digits).
        h3ds_root: Folder of the data set; without it `$H3DS_ROOT`.
        pixel_centre: Coordinate of the centre of the first pixel in the files' cameras; None takes the convention of
            the format (0.0 for H3DS and IDR; COLMAP-like tools use 0.5). The effect is half a pixel.

    Returns:
        The scene, with the default view lists of its data set if the format has such.

    Raises:
        SceneError: Nothing is there, the format is not known, or the files that describe the scene are
            broken; the message lists what was looked for.
    """
    folder = _find(path_or_id, h3ds_root)
    reader = readers.reader_of(folder)
    if reader is None:
        raise SceneError(_unknown_format(folder))
    return reader.read(folder, pixel_centre=pixel_centre)


def _find(path_or_id: str | os.PathLike[str], h3ds_root: str | os.PathLike[str] | None) -> Path:
    """The folder of a scene."""
    folder = Path(path_or_id).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if folder.exists():
        formats = " or ".join(f"{', '.join(reader.looked_for)} ({reader.name})" for reader in readers.READERS)
        raise SceneError(f"{folder} is a file: a scene is a folder with {formats}")
    name = os.fspath(path_or_id)
    is_name = re.fullmatch(r"[\w.-]+", name) is not None
    given = h3ds_root if h3ds_root is not None else os.environ.get(ROOT_VARIABLE)
    if not is_name:
        raise SceneError(f"scene folder {folder} does not exist{_suggestion(folder)}")
    if not given:
        known = "an H3DS scene" if table_entry(name) else f"no folder here ({folder.absolute()})"
        raise SceneError(
            f"scene {name!r} is {known}; to open scenes of a data set by id say where it lies: "
            f"data.h3ds_root=FOLDER or {ROOT_VARIABLE}=FOLDER"
        )
    root = Path(given).expanduser()
    if not root.is_dir():
        raise SceneError(f"the H3DS root {root} does not exist: check data.h3ds_root or ${ROOT_VARIABLE}")
    if not (root / name).is_dir():
        note = " (it is an H3DS id: this copy of the data set lacks it)" if table_entry(name) else ""
        raise SceneError(f"no scene {name!r} below {root}{note}{_suggestion(root / name)}")
    return (root / name).resolve()


def _suggestion(folder: Path) -> str:
    """What else lies beside a folder that does not exist."""
    present = readers.scenes_below(folder.parent)
    known = present or sorted({name for table in tables().values() for name in table["scenes"]})
    close = difflib.get_close_matches(folder.name, known, n=3)
    text = f"; did you mean {', '.join(close)}?" if close else ""
    if present:
        more = f", ... ({len(present)} in all)" if len(present) > 8 else ""
        text += f"; scenes there: {', '.join(present[:8])}{more}"
    return text


def _unknown_format(folder: Path) -> str:
    """The message for a folder that no reader matches: what each format looks for, and what of it is there."""
    scenes = readers.scenes_below(folder)
    if scenes:
        return (
            f"{folder} is not a scene but a folder of {len(scenes)} scenes: name one of them, "
            f"for instance {folder / scenes[0]}"
        )
    formats = "; ".join(
        f"{reader.name}: {', '.join(_found_or_missing(folder, pattern) for pattern in reader.looked_for)}"
        for reader in readers.READERS
    )
    return f"{folder} is not a scene of a known format. Looked for {formats}. {PHOTOGRAPHS_REMEDY}"


def _found_or_missing(folder: Path, pattern: str) -> str:
    """A glob pattern, and whether anything in the folder fits it."""
    return f"{pattern} ({'found' if any(folder.glob(pattern)) else 'missing'})"
