"""What to say where a disk refuses: one sentence with path, error of the system, and what to do."""

import errno
import os
import re
import shutil
from pathlib import Path

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
