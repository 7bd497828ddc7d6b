"""Atomic writing of files: a reader finds the old file or the new one, never a part."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache of this package: `$XDG_CACHE_HOME/headrecon`, by default `~/.cache/headrecon`; it may not be
    there yet.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrecon"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A context with a temporary path in the same folder, which is renamed to `path` if the block ends without error.

    After an error it is removed. The file is flushed to disk before it is renamed, and its folder after, so that a
    power cut leaves the old or the new file. The temporary name keeps the suffix, for writers that go by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.tmp-{os.getpid()}{path.suffix}")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have a file or folder written to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
