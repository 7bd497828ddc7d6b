"""Atomic writing of files: a reader finds the old file or the new one, never a part. Reading of text of any Unicode."""

import codecs
import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recon.errors import StorageError

ADVICE = {
    errno.ENOSPC: "free space there{free}, or choose another folder",
    errno.EDQUOT: "free some of your quota{free}, or choose another folder",
    errno.EFBIG: "files may not grow so large here (ulimit -f, or the file system): choose another folder",
    errno.EROFS: "choose a folder on a file system that is not read-only",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EIO: "the disk or its connection fails; what was written before may be read back and kept elsewhere",
    errno.EXDEV: "the folder is joined from several file systems: choose another folder",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EMFILE: "too many files are open in this process (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
}
"""What to do about each error of the system that means that a file cannot be written."""


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


def storage_fault(error: BaseException, path: Path | None = None) -> str | None:
    """What to say of an error, or of that which it came of, if it means that a file cannot be written; else None.

    Args:
        error: The error. PyTorch and safetensors hide that of the system: in what theirs came of, or in its text.
        path: The file; None for that which the error names.
    """
    number, named = _system_error(error)
    if number not in ADVICE:
        return None
    where = path or (Path(os.fsdecode(named)) if named else None)
    said = f"{os.strerror(number)} (errno {number}): {ADVICE[number].format(free=_free(where))}."
    return f"{where} cannot be written: {said}" if where else f"a file cannot be written: {said}"


def _system_error(error: BaseException | None) -> tuple[int, str | bytes | None]:
    """Number of the system's error that an error came of, and the file that it names; 0 where there is none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            named = error.filename2 or error.filename
            return error.errno, named if isinstance(named, str | bytes) else None
        if found := re.search(r"\(os error (\d+)\)", str(error)):
            return int(found[1]), None
        error = error.__cause__ or error.__context__
    return 0, None


def _free(path: Path | None) -> str:
    """How much is free on the file system of a path, in brackets."""
    for folder in path.absolute().parents if path else ():
        if folder.is_dir():
            return f" ({shutil.disk_usage(folder).free / 2**20:.0f} MB are left)"
    return ""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A context with a temporary path in the same folder, which is renamed to `path` if the block ends without error.

    After an error it is removed. The file is flushed to disk before it is renamed, and its folder after, so that a
    power cut leaves the old or the new file. The temporary name keeps the suffix, for writers that go by it.

    Raises:
        StorageError: The file cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.tmp-{os.getpid()}{path.suffix}")
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
        with suppress(OSError):  # of a file system that is read-only now
            temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have a file or folder written to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
