"""Folders of runs: each is claimed by one process at a time, and a run that is refused leaves nothing of its own."""

import contextlib
import fcntl
import json
import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

from recon.errors import ConfigError
from recon.files import machine, remove_stale, running
from recon.storage import storage_fault

log = logging.getLogger(__name__)

CHECKPOINT = Path("checkpoints/last.ckpt")
"""Where the state of a run lies in its folder."""
CLAIM = ".running"
"""The file in a run folder by which a process claims it: who that is, locked as long as it runs."""
OWNER = ".run-folder"
"""The file in a folder elsewhere, to which a link in a run folder leads, that names the run folder: a run that starts
writes it, a run that is resumed follows no other link. An archive from a stranger can hold links, and unpacked they are
the user's own; it cannot put such a file into a folder outside of it.
"""


@dataclass(frozen=True)
class Holder:
    """The process that has claimed a folder.

    Attributes:
        host: Name of its machine.
        pid: Its number there.
        started: When it claimed the folder, local date and time.
        machine: `recon.files.machine` of it.
    """

    host: str
    pid: int
    started: str
    machine: str

    @classmethod
    def this(cls) -> "Holder":
        """The present process."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        return cls(platform.node(), os.getpid(), now, machine())

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.started}"

    def may_run(self, *, lock_held: bool | None) -> bool:
        """Whether it may still be there.

        Args:
            lock_held: Whether its lock is held; None where the file system has no locks.
        """
        if lock_held:
            return True
        if self.machine == machine():
            return lock_held is None and self.pid != os.getpid() and running(self.pid)
        return self.host != platform.node()  # after a reboot of this host it is gone


@contextmanager
def claimed(folder: Path, *, resumed: bool = False) -> Iterator[Path]:
    """A context with a folder that no other running process has claimed.

    A folder may be a stranger's: a link in it that leads elsewhere would have the run write there, and is refused when
    the run is resumed, unless the run itself has started with it; see `OWNER`.

    A run that starts gets the folder asked for, or, where another run is at work in it, one of that name with -2, -3,
    … made for it: two runs that start within one second are given the same name. What is logged to a file in the folder
    asked for goes to the other one. A claim left by a process of this machine that is gone is taken over. Stale
    temporary files are removed.

    Args:
        folder: Of the run.
        resumed: The run of this very folder goes on, so that no other folder will do.

    Raises:
        ConfigError: The folder cannot be written, has links that lead out of it, or a run that is to go on is at work
            already.
    """
    holder: Holder | None = None
    for number in count(1):
        mine = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        if not mine.exists():
            note_missing(mine)
        try:
            mine.mkdir(parents=True, exist_ok=number == 1)
        except FileExistsError:
            if number == 1:
                raise ConfigError(f"{mine} is a file, expected the folder of a run") from None
            continue
        except OSError as error:
            raise ConfigError(f"{mine} cannot be made: {error.strerror}. Choose another folder") from error
        if resumed:
            refuse_links(mine)
        else:
            _own_linked_folders(mine)
        claim = _claim(mine)
        if isinstance(claim, int):
            handle = claim
            break
        holder = claim if number == 1 else holder
        if resumed:
            raise ConfigError(
                f"resume={folder}: its run is at work: {claim}. Wait for it or stop it; if it is gone for certain, "
                f"remove {mine / CLAIM}"
            )
    if mine != folder:
        _move_log(folder, mine)
        log.warning("%s belongs to another run, of %s: this one writes to %s", folder, holder, mine)
    for path in [mine, *(path for path in mine.iterdir() if path.is_dir())]:
        remove_stale(path, every=True)
    try:
        yield mine
    finally:
        _release(mine, handle)


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """A context in which no other command that makes data writes to a folder, which is made; stale temporary files
    are removed. What a user has linked into it is left alone.

    Args:
        folder: Of the data.

    Raises:
        ConfigError: Another command is at work there, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror}. Choose another folder") from error
    claim = _claim(folder)
    if not isinstance(claim, int):
        raise ConfigError(
            f"{folder}: another command writes to it: {claim}. Wait for it or stop it, or choose another folder; if it "
            f"is gone for certain, remove {folder / CLAIM}"
        )
    try:
        remove_stale(folder, every=True)
        yield
    finally:
        _release(folder, claim)


def _release(folder: Path, claim: int) -> None:
    """Give a claimed folder back."""
    with contextlib.suppress(OSError):
        (folder / CLAIM).unlink()
    os.close(claim)


def _claim(folder: Path) -> int | Holder:
    """Claim a folder: the locked file, or who has it.

    Raises:
        ConfigError: The folder cannot be written.
    """
    path = folder / CLAIM
    _refuse_link(path, folder)
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be written: {error.strerror}. A run saves its state there; copy it to a folder that "
                "can be written"
            ) from error
        held = _lock(handle)
        found = _read(handle)
        if held is not False or _same_file(handle, path):
            break
        os.close(handle)  # its run has ended between opening and locking
    if held or (found is not None and found.may_run(lock_held=held)):
        os.close(handle)
        return found or Holder(platform.node(), 0, "just now", machine())
    if found is not None:
        log.warning("%s was claimed by %s, which is gone: going on in its place", folder, found)
    os.ftruncate(handle, 0)
    os.pwrite(handle, (json.dumps(asdict(Holder.this())) + "\n").encode(), 0)
    return handle


def _lock(handle: int) -> bool | None:
    """Lock a file; True where another process has it locked, False where it is ours now, None where there are no
    locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def _same_file(handle: int, path: Path) -> bool:
    """Whether an open file still lies at its path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _read(handle: int) -> Holder | None:
    """Who has written a claim; None for an empty or damaged one."""
    try:
        content = json.loads(os.pread(handle, 4096, 0))
        return Holder(
            str(content["host"]), int(content["pid"]), str(content["started"]), str(content["machine"])
        )
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None


def _move_log(old: Path, new: Path) -> None:
    """Have the log files of one folder continued in another."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename).parent == old.absolute():
            handler.close()
            handler.baseFilename = str(new.absolute() / Path(handler.baseFilename).name)
            handler.setStream(handler._open())


def refuse_links(folder: Path) -> None:
    """Refuse a folder in which a run would write to files elsewhere, or wait for ever.

    Args:
        folder: Of the run; what lies deeper than its own folders is not opened for writing.

    Raises:
        ConfigError: A link in it leads out of it, or something is neither file nor folder.
    """
    paths = list(folder.iterdir())
    paths += [path for own in paths if own.is_dir() and not own.is_symlink() for path in own.iterdir()]
    for path in paths:
        _refuse_link(path, folder)


def _own_linked_folders(folder: Path) -> None:
    """Name a run folder in the folders elsewhere to which its links lead, so that the run can be resumed.

    Raises:
        ConfigError: One cannot be written, or belongs to another run.
    """
    for path in folder.iterdir():
        if not (path.is_symlink() and path.is_dir()) or _leads_out(path, folder) is None:
            continue
        mark, own = path / OWNER, str(folder.resolve())
        try:
            with contextlib.suppress(FileExistsError), mark.open("x", encoding="utf-8") as file:
                file.write(f"{own}\n")
            named = mark.read_text(encoding="utf-8", errors="replace").strip()
        except OSError as error:
            raise ConfigError(
                f"{path.resolve()}, to which {path} leads, cannot be written: {error.strerror}"
            ) from error
        if named != own:
            raise ConfigError(
                f"{path} leads to {path.resolve()}, which belongs to the run {named}: choose another folder"
            )


def _owned(target: Path, folder: Path) -> bool:
    """Whether a folder elsewhere says that it belongs to a run folder."""
    try:
        return (target / OWNER).read_text(encoding="utf-8", errors="replace").strip() == str(folder.resolve())
    except OSError:
        return False


def _leads_out(path: Path, folder: Path) -> Path | None:
    """Where a link leads, if that is out of a run folder; None for anything else."""
    leads = Path(os.path.realpath(path)) if path.is_symlink() else None
    return None if leads is None or leads.is_relative_to(os.path.realpath(folder)) else leads


def _refuse_link(path: Path, folder: Path) -> None:
    """Refuse one path of a folder; see `refuse_links`."""
    if (leads := _leads_out(path, folder)) is not None:
        if leads.is_dir() and _owned(leads, folder):
            return
        own = (
            f", or, if the link is yours, the line {folder.resolve()} into {leads / OWNER}"
            if leads.is_dir()
            else ""
        )
        raise ConfigError(
            f"{path} is a link to {leads}, outside of the run folder, to which the run would write: put a copy of that "
            f"in its place{own}"
        )
    if path.is_symlink():
        return
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ConfigError(f"{path} is neither a file nor a folder: remove it")


class RunLog(logging.FileHandler):
    """The log file of a run, which knows whether it was there before: only one that was not is ever removed.

    Raises:
        ConfigError: Something is in its place that leads elsewhere.
    """

    def __init__(self, filename: str) -> None:
        path = Path(filename)
        _refuse_link(path, path.parent)
        self.was_there, self._told = path.exists(), False
        super().__init__(filename, encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Says once on stderr that the file cannot be written, instead of a traceback for each message."""
        fault = sys.exc_info()[1]
        said = None if fault is None else storage_fault(fault, Path(self.baseFilename))
        if said is None:
            super().handleError(record)
        elif not self._told:
            self._told = True
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"{said} What follows is told here alone.\n")


_FOUND: dict[Path, tuple[Path, ...]] = {}
"""Folders that this process was about to make, with all that had to be made: the folder and its missing parents."""


def note_missing(folder: Path) -> None:
    """Remember which of a folder and its parents are not there yet, before they are made."""
    place = folder.absolute()
    _FOUND[place] = tuple(each for each in (place, *place.parents) if not each.exists())


def discard_noted(log_name: str) -> None:
    """Remove what this process made of all folders that `note_missing` has seen; see `discard_if_empty`."""
    for folder in list(_FOUND):
        discard_if_empty(folder, log_name)


def discard_if_empty(folder: Path, log_name: str = "train.log") -> None:
    """Remove of a folder whose run was refused what this process made: its log, then folder and parents, as
    far as `note_missing` or `claimed` has seen that they were not there and nothing else is in them; after `claimed`.

    Args:
        folder: Of the run.
        log_name: Name of its log.
    """
    place = folder.absolute()
    if not place.is_dir() or any(path.name != log_name for path in place.iterdir()):
        return  # with the claim of another run it is that run's
    log_file = place / log_name
    ours = _is_ours(log_file)
    if ours:
        log_file.unlink(missing_ok=True)
    for made in _FOUND.get(place, (place,) if ours else ()):
        with contextlib.suppress(OSError):  # something is in it
            made.rmdir()


def _is_ours(path: Path) -> bool:
    """Whether a log file was made by this process."""
    return any(
        isinstance(handler, RunLog) and Path(handler.baseFilename) == path and not handler.was_there
        for handler in logging.getLogger().handlers
    )
