"""Atomic writing of files: a reader finds the old file or the new one, never a part. Reading of text of any Unicode."""

import codecs
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache of this package: `$XDG_CACHE_HOME/headrecon`, by default `~/.cache/headrecon`; it may not be
    there yet.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrecon"


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte-order mark, or in UTF-16 with one, as Windows writes it.

    Raises:
        OSError: The file cannot be read.
        UnicodeDecodeError: It is no such text.
    """
    return decoded(path.read_bytes())


def decoded(content: bytes) -> str:
    """The text that some bytes are; see `read_text`."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if wide else "utf-8-sig")


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
