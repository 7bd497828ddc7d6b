"""`recon.scene.open`: from what a user names (a folder, an H3DS id) to a scene."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recon.errors import SceneError
from recon.scene import idr
from recon.scene.h3ds import layout as h3ds
from recon.scene.h3ds.tables import table_entry, tables
from recon.scene.scene import Scene

ROOT_VARIABLE = "H3DS_ROOT"


def open(
    path_or_id: str | os.PathLike[str],
    *,
    h3ds_root: str | os.PathLike[str] | None = None,
    pixel_centre: float | None = None,
) -> Scene:
    """Open a scene; photographs, masks and meshes are read when they are asked for.

    Args:
        path_or_id: A scene folder in the H3DS or the IDR / DTU layout (`~` is expanded); or the id of an
            H3DS scene (16 hex digits, or the name of a scene of a generated root) below `h3ds_root`.
        h3ds_root: Where the data set lies; without it `$H3DS_ROOT`.
        pixel_centre: Where the files' cameras put the centre of the first pixel; None takes the convention
            of the layout (0.0 for both; COLMAP-like tools use 0.5). The effect is half a pixel.

    Returns:
        The scene, with the data set's default view lists: from `config.toml` beside its folder (generated
        roots), else from the built-in H3DS tables if the folder has the id of an H3DS scene.

    Raises:
        SceneError: Nothing is there, the layout is not known, or the files that describe the scene are
            broken; the message lists what was looked for.
    """
    folder = _find(path_or_id, h3ds_root)
    if not (folder / "cameras.npz").is_file() or not idr.matches(folder):
        raise SceneError(_unknown_layout(folder))
    if not h3ds.matches(folder):
        return idr.read_scene(folder, pixel_centre=idr.PIXEL_CENTRE if pixel_centre is None else pixel_centre)
    version = h3ds.read_version(folder.parent) or ""
    entry = _entry(folder, version)
    return h3ds.read_scene(
        folder,
        pixel_centre=h3ds.PIXEL_CENTRE if pixel_centre is None else pixel_centre,
        default_views=h3ds.view_lists(entry, f"{folder.parent}, scene {folder.name}"),
        version=version,
    )


def _find(path_or_id: str | os.PathLike[str], h3ds_root: str | os.PathLike[str] | None) -> Path:
    """The folder of a scene."""
    folder = Path(path_or_id).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if folder.exists():
        raise SceneError(f"{folder} is a file: a scene is a folder with cameras.npz, image/ and mask/")
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
    parent = folder.parent
    present = sorted(path.parent.name for path in parent.glob("*/cameras.npz")) if parent.is_dir() else []
    known = present or sorted({name for table in tables().values() for name in table["scenes"]})
    close = difflib.get_close_matches(folder.name, known, n=3)
    text = f"; did you mean {', '.join(close)}?" if close else ""
    if present:
        more = f", ... ({len(present)} in all)" if len(present) > 8 else ""
        text += f"; scenes there: {', '.join(present[:8])}{more}"
    return text


def _unknown_layout(folder: Path) -> str:
    scenes = sorted(path.parent.name for path in folder.glob("*/cameras.npz"))
    if scenes:
        return (
            f"{folder} is not a scene but a folder of {len(scenes)} scenes: name one of them, "
            f"for instance {folder / scenes[0]}"
        )
    looked_for = {
        "cameras.npz": (folder / "cameras.npz").is_file(),
        "image/img_0000.jpg, ... (H3DS)": h3ds.matches(folder),
        "image/ or images/ with pictures of any name (IDR, DTU)": idr.matches(folder),
    }
    report = "; ".join(f"{what}: {'found' if found else 'missing'}" for what, found in looked_for.items())
    return f"{folder} is not in a layout that can be read. Looked for {report}"


def _entry(folder: Path, version: str) -> Mapping[str, Any]:
    """What a data set's description says of a scene: a table of its own beside it, else the built-in ones."""
    config = folder.parent / "config.toml"
    if config.is_file():
        return h3ds.read_config(config)["scenes"].get(folder.name, {})
    return table_entry(folder.name, version) or {}
