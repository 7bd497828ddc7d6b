"""The scenes of the published H3DS releases: tags, numbers of views, default view lists.

The lists are facts of the data set, kept as published: their order matters, some name a view twice, and in
scene 16ac29e87716206b the lists "8", "16" and "32" have one view more than their name says.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from recon.errors import SceneError
from recon.scene.h3ds.layout import CONFIG_FILE, read_config, read_version

CONFIGS = ("config_v1", "config_v2")
_FOLDER = Path(__file__).parent.parent / "data"


@cache
def tables() -> dict[str, dict[str, Any]]:
    """Both tables by config id: `version`, `file_id`, `file_md5` and `scenes` in published order."""
    return {
        config_id: json.loads((_FOLDER / f"h3ds_{config_id[-2:]}.json").read_text(encoding="utf-8"))
        for config_id in CONFIGS
    }


def table_entry(scene_id: str, version: str = "") -> dict[str, Any] | None:
    """Tags, views and lists of a scene in the release of that data version, or None.

    Without a version, or with one that is not published, the newest release that has the scene counts.
    """
    every = list(tables().values())
    ordered = [table for table in every if table["version"] == version] or every[::-1]
    return next((table["scenes"][scene_id] for table in ordered if scene_id in table["scenes"]), None)


def scene_ids(
    tag: str | None = None, config_id: str | None = None, *, root: Path | str | None = None
) -> list[str]:
    """Scene ids in published order; with a tag, those that carry it.

    Args:
        tag: For instance `h3d-net` (10 scenes) or `sira++` (all).
        config_id: `config_v1` or `config_v2`. Without it the release of `root`, else `config_v2`.
        root: A copy of the data set, whose `version.txt` names its release, or a generated one with a
            `config.toml`.

    Raises:
        SceneError: There is no such release or tag, or the root's `config.toml` is broken.
    """
    if config_id is not None and config_id not in CONFIGS:
        raise SceneError(f"unknown H3DS release {config_id!r}: choose one of {', '.join(CONFIGS)}")
    table = tables()[config_id or "config_v2"]
    if config_id is None and root is not None:
        own = Path(root).expanduser() / CONFIG_FILE
        version = read_version(Path(root).expanduser())
        same = [known for known in tables().values() if known["version"] == version]
        table = read_config(own) if own.is_file() else (same or [table])[0]
    scenes = table["scenes"]
    if tag is None:
        return list(scenes)
    tagged = [name for name, entry in scenes.items() if tag in entry.get("tags", [])]
    if not tagged:
        known_tags = sorted({known for entry in scenes.values() for known in entry.get("tags", [])})
        where = f"version {table.get('version')}"
        raise SceneError(
            f"no scene of {where} carries the tag {tag!r}; tags are {', '.join(known_tags) or 'none'}"
        )
    return tagged
