"""Atomic writing of files: a reader finds the old file or the new one, never a part. Reading of text of any Unicode."""

import codecs
import contextlib
import functools
import hashlib
import io
import os
import platform
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from recon.errors import StorageError
from recon.storage import storage_fault

TEMPORARY = re.compile(
    r"\..+\.tmp-(?:(?P<machine>[0-9a-f]{8})-)?(?P<pid>\d+)(?:-[0-9a-f]{8})?(?:\.[^.]*)?", re.DOTALL
)
"""Names of temporary files, with the machine and the process that made them."""
STALE_S = 24 * 3600.0
"""Seconds after which a temporary file that nobody writes to is stale, whosever it is."""
_CLEARED: set[Path] = set()
"""Folders in which this process has looked for stale files."""


def cache_folder() -> Path:
    """The user's cache of this package: `$XDG_CACHE_HOME/headrecon`, by default `~/.cache/headrecon`; it may not be
    there yet. A user without a home, as in a container, has it in a temporary folder of its own.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrecon"
    except RuntimeError:  # neither $HOME nor an entry in the list of users
        return _own_temporary_folder()


@functools.cache
def _own_temporary_folder() -> Path:
    """A temporary folder that no other user can write to."""
    folder = Path(tempfile.gettempdir()) / f"headrecon-{os.getuid()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
            return folder
    return Path(tempfile.mkdtemp(prefix="headrecon-"))


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


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def machine() -> str:
    """Eight hexadecimal digits for where process ids mean what they mean here: host, its present boot, and namespace
    of processes, which containers of one host do not share.
    """
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def running(pid: int) -> bool:
    """Whether a process of this machine is there, whosever it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def is_temporary(path: Path) -> bool:
    """Whether a file has a name that `replacing` gives to temporary ones, also that of earlier versions."""
    return TEMPORARY.fullmatch(path.name) is not None


def remove_stale(folder: Path, *, every: bool = False) -> list[Path]:
    """Remove temporary files that processes which were killed have left in a folder.

    Args:
        folder: Not those below it.
        every: All temporary files, as no other process is at work there. Otherwise those of processes of this machine
            that are gone, and of others those that nobody has written to for a day.

    Returns:
        What was removed.
    """
    removed = []
    with contextlib.suppress(OSError):
        for path in [path for path in folder.iterdir() if is_temporary(path)]:
            with contextlib.suppress(OSError):
                if every or _is_stale(path):
                    path.unlink()
                    removed.append(path)
    return removed


def _is_stale(path: Path) -> bool:
    """Whether the process that made a temporary file is gone, as far as that can be known here."""
    parts = TEMPORARY.fullmatch(path.name)
    if parts and parts["machine"] == machine() and not running(int(parts["pid"])):
        return True
    return time.time() - path.stat().st_mtime > STALE_S


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A context with a temporary path in the same folder, which is renamed to `path` if the block ends without error.

    After an error it is removed. The file is flushed to disk before it is renamed, and its folder after, so that a
    power cut leaves the old or the new file. The temporary name is that of no other process or thread, wherever the
    folder is shared to, and keeps the suffix, for writers that go by it. The first call for a folder also removes what
    killed processes have left there.

    Raises:
        StorageError: The file cannot be written.
    """
    if path.parent not in _CLEARED:
        _CLEARED.add(path.parent)
        remove_stale(path.parent)
    mine = f"{machine()}-{os.getpid()}-{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.stem}.tmp-{mine}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    except Exception as error:
        if (fault := storage_fault(error, path)) is None:
            raise
        raise StorageError(fault) from error
    finally:
        with contextlib.suppress(OSError):  # of a file system that is read-only now
            temporary.unlink(missing_ok=True)


def save_picture(picture: Image.Image, path: Path, **options: Any) -> None:
    """Writes a picture in the format of the path's ending.

    It is encoded in memory first: where a disk refuses, Pillow's own writing does not tell why.

    Args:
        picture: The picture.
        path: Where to.
        **options: Options of Pillow's encoder, for instance quality.

    Raises:
        OSError: The file cannot be written.
        ValueError: The ending is of no format that Pillow writes.
    """
    if (kind := Image.registered_extensions().get(path.suffix.lower())) is None:
        raise ValueError(f"pictures cannot be written as {path.suffix or 'a file without an ending'}")
    content = io.BytesIO()
    picture.save(content, format=kind, **options)
    path.write_bytes(content.getbuffer())


def _flush(path: Path) -> None:
    """Have a file or folder written to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
