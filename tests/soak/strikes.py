"""Commands in forked processes that are struck at a chosen moment.

Moments are counted: every operation of a process that changes what lies on disk (opening a file for writing, flushing,
renaming, removing, making a folder) and every training step is one. A first run without a strike counts them.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FAULTS = {"ENOSPC": errno.ENOSPC, "EROFS": errno.EROFS, "EIO": errno.EIO, "EXDEV": errno.EXDEV}
Kind = Literal["none", "KILL", "TERM", "INT", "TERM twice", "ENOSPC", "EROFS", "EIO", "EXDEV", "short write"]
SHORT_BYTES = 700
"""Number of bytes of a file that a short write leaves."""


@dataclass(frozen=True)
class Strike:
    """What happens to a process, and when.

    Attributes:
        kind: A signal, an error of the disk, or none.
        moment: Number of the moment, from 1; 0 for never.
        after_s: Seconds after which the signal comes instead; None for a moment.
    """

    kind: Kind = "none"
    moment: int = 0
    after_s: float | None = None

    def __str__(self) -> str:
        when = f"at moment {self.moment}" if self.after_s is None else f"after {self.after_s:.2f} s"
        return f"{self.kind} {when}"


@dataclass(frozen=True)
class Outcome:
    """How a process ended.

    Attributes:
        code: Exit code; negative for the signal that killed it.
        text: What it wrote on stdout and stderr.
        moments: Names of the moments that it counted, in order.
        seconds: Length of the process.
    """

    code: int
    text: str
    moments: list[str]
    seconds: float


class _Moments:
    """The moments of a process, counted in it; each is told through a pipe before it happens."""

    def __init__(self, strike: Strike, root: Path, record: int) -> None:
        self.strike, self.root, self.record = strike, root, record
        self.count, self.struck = 0, False

    def at(self, name: str, path: object = "") -> None:
        """Counts one moment, and strikes if it is the one."""
        self.count += 1
        os.write(self.record, f"{name} {Path(str(path)).name}\n".encode())
        kind = self.strike.kind
        due = self.count == self.strike.moment
        if kind in ("KILL", "TERM", "INT") and due:
            os.kill(os.getpid(), getattr(signal, f"SIG{kind}"))
        elif kind == "TERM twice" and self.count in (self.strike.moment, self.strike.moment + 1):
            os.kill(os.getpid(), signal.SIGTERM)
        elif kind in FAULTS and self._fails(name, due):
            raise OSError(FAULTS[kind], os.strerror(FAULTS[kind]), str(path))

    def _fails(self, name: str, due: bool) -> bool:
        """Whether a storage operation fails: a full or read-only disk stays so, other errors come once."""
        if name == "step":
            return False
        if self.strike.kind == "EXDEV":
            # Renaming across file systems, which only os.replace does.
            return (
                name == "rename" and not self.struck and self.count >= self.strike.moment and self._strike()
            )
        if self.strike.kind == "EIO":
            return not self.struck and self.count >= self.strike.moment and self._strike()
        lasting = bool(self.strike.moment) and self.count >= self.strike.moment
        return lasting and name not in ("remove", "remove folder")

    def _strike(self) -> bool:
        self.struck = True
        return True

    def inside(self, path: object) -> bool:
        """Whether a path is one of the struck command's own outputs."""
        with suppress(TypeError, ValueError):
            return os.path.abspath(os.fspath(path)).startswith(str(self.root))  # type: ignore[call-overload]
        return False


def _watch(moments: _Moments) -> None:
    """Wraps the operations that change what lies on disk, for paths of the command's outputs."""

    def wrapped(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def operation(path: Any, *rest: Any, **named: Any) -> Any:
            if moments.inside(path):
                moments.at(name, path)
            return function(path, *rest, **named)

        return operation

    def opened(function: Callable[..., Any]) -> Callable[..., Any]:
        def operation(path: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            if not set(mode) & set("wax+") or not moments.inside(path):
                return function(path, mode, *rest, **named)
            moments.at("write", path)
            file = function(path, mode, *rest, **named)
            if moments.strike.kind == "short write" and moments.count == moments.strike.moment:
                _cut_short()
            return file

        return operation

    def _cut_short() -> None:
        # From now on no file of this process grows beyond this: the kernel writes a part and then refuses.
        resource.setrlimit(resource.RLIMIT_FSIZE, (SHORT_BYTES, resource.RLIM_INFINITY))

    for name, attribute in {
        "rename": "replace", "remove": "unlink", "make folder": "mkdir", "remove folder": "rmdir",
    }.items():  # fmt: skip
        setattr(os, attribute, wrapped(getattr(os, attribute), name))
    fsync = os.fsync

    def flushed(handle: int) -> None:
        moments.at("flush")
        fsync(handle)

    os.fsync = flushed
    builtins.open = opened(builtins.open)
    io.open = opened(io.open)


def _count_steps(moments: _Moments) -> None:
    """Counts training steps as moments too, where there can be any."""
    lightning = sys.modules.get("pytorch_lightning")
    if lightning is None:
        return
    original = lightning.LightningModule.optimizer_step

    def step(self: Any, *arguments: Any, **named: Any) -> Any:
        moments.at("step")
        return original(self, *arguments, **named)

    lightning.LightningModule.optimizer_step = step


def struck(command: Callable[[], object], strike: Strike, root: Path, timeout_s: float = 120.0) -> Outcome:
    """Runs a command in a forked process and strikes it.

    The process must not have computed anything in parallel before: threads do not survive a fork.

    Args:
        command: The command; SystemExit is its code.
        strike: What happens to it.
        root: Folder of its outputs; nothing else counts as a moment.
        timeout_s: After so long it is killed, and counts as hung.

    Raises:
        TimeoutError: It hung.
    """
    root.mkdir(parents=True, exist_ok=True)
    said, record = _Pipe(), _Pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(command, strike, root, said.into, record.into)
    status = _waited(child, strike, started, timeout_s, (said, record))
    text, moments = said.read(), record.read().splitlines()
    seconds = time.monotonic() - started
    if status is None:
        raise TimeoutError(f"{strike}: hung for {timeout_s} s\n{text[-3000:]}")
    return Outcome(os.waitstatus_to_exitcode(status), text, moments, seconds)


class _Pipe:
    """A pipe that a struck process writes to: a limit of the size of files does not count for it."""

    def __init__(self) -> None:
        self.out, self.into = os.pipe()
        os.set_blocking(self.out, False)
        self.content = bytearray()

    def drain(self) -> None:
        """Takes what waits in the pipe, so that the process never waits for room."""
        with suppress(BlockingIOError):
            while part := os.read(self.out, 65536):
                self.content += part

    def read(self) -> str:
        """Closes the pipe, and returns all that came."""
        os.close(self.into)
        self.drain()
        os.close(self.out)
        return self.content.decode(errors="replace")


def _waited(
    child: int, strike: Strike, started: float, timeout_s: float, pipes: Sequence[_Pipe]
) -> int | None:
    """Waits for a process, striking it when its time has come; its status, or None if it hung and was killed."""
    pending = strike.after_s is not None
    while True:
        for pipe in pipes:
            pipe.drain()
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        elapsed = time.monotonic() - started
        if pending and elapsed >= (strike.after_s or 0.0):
            os.kill(child, getattr(signal, f"SIG{strike.kind}"))
            pending = False
        if elapsed > timeout_s:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.01)


def _child(command: Callable[[], object], strike: Strike, root: Path, said: int, record: int) -> None:
    """Runs the command and ends the process."""
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
    moments = _Moments(strike, root, record)
    _count_steps(moments)
    _watch(moments)
    code = 0
    try:
        command()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\n")
    except BaseException:
        traceback.print_exc()
        code = 70
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
