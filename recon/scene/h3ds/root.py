"""The descriptions of an H3DS root, `config.toml` and `version.txt`, which several processes may write."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recon.errors import SceneError
from recon.files import replacing
from recon.scene.h3ds.layout import CONFIG_FILE, VERSION_FILE, read_config, read_version


def check_version(root: Path, version: str) -> None:
    """Check that a root, if it exists, holds this data version.

    Raises:
        SceneError: It holds another.
    """
    present = read_version(root)
    if present is not None and present != version:
        raise SceneError(
            f"{root} holds data version {present!r}, not {version!r}: never mix versions, "
            "write to another folder"
        )


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """A context with one writer at a time in a root, across processes where the system has advisory locks."""
    try:
        import fcntl
    except ImportError:  # Windows: generate with one process there
        yield
        return
    handle = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def enter(
    root: Path,
    name: str,
    version: str,
    count: int,
    default_views: Mapping[int, Sequence[int]],
    tags: Sequence[str],
) -> None:
    """Merge a scene into the root's description; the order of scenes is that of their names."""
    check_version(root, version)
    path = root / CONFIG_FILE
    scenes: dict[str, Any] = dict(read_config(path)["scenes"]) if path.exists() else {}
    lists = {str(key): [int(index) for index in default_views[key]] for key in sorted(default_views)}
    scenes[name] = {"tags": list(tags), "views": count, "default_views_configs": lists}
    lines = [f"version = {json.dumps(version)}", 'file_id = ""', 'file_md5 = ""', "", "[scenes]"]
    for key in sorted(scenes):
        entry = scenes[key]
        lines += [
            "",
            f"[scenes.{key}]",
            f"tags = {json.dumps(entry.get('tags', []))}",
            f"views = {entry['views']}",
        ]
        lines += [f"[scenes.{key}.default_views_configs]"]
        lines += [
            f"{number} = {indices}" for number, indices in entry.get("default_views_configs", {}).items()
        ]
    for target, text in ((path, "\n".join(lines) + "\n"), (root / VERSION_FILE, f"{version}\n")):
        with replacing(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
