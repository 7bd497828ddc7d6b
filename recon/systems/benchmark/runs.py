"""Running the cells of a benchmark: processes in parallel, stopped cleanly, every failure kept."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from recon.errors import ConfigError
from recon.files import replacing
from recon.processes import tell_starter
from recon.resources import CHECKOUT
from recon.systems.benchmark.machine import machine, revision
from recon.systems.benchmark.plan import Cell, Plan, quoted

_GRACE_S = 120.0


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        cell: which.
        error: why it has no numbers; None if it has.
        seconds: that its process took.
    """

    cell: Cell
    error: str | None
    seconds: float


@contextlib.contextmanager
def alone(out: Path) -> Iterator[int]:
    """Keeps other benchmarks out of a folder; the lock is the children's too, so that runs left behind by a
    killed benchmark count.

    Yields:
        The lock's file descriptor, to be passed to the children.

    Raises:
        ConfigError: another one is at work there.
    """
    out.mkdir(parents=True, exist_ok=True)
    handle = os.open(out / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"out={out}: another benchmark, or a run that it left behind, is at work there. "
                "Wait for it, stop it, or use another out="
            ) from error
        yield handle
    finally:
        os.close(handle)


def run(plan: Plan, cells: Sequence[Cell], workers: int, done: Callable[[Outcome], None]) -> None:
    """Runs cells, several at a time; a failing one does not stop the others.

    On an interruption (or an error in `done`) the children are asked to save their state, waited for, and
    after two minutes or a second interruption killed; the same call goes on where they stopped.

    Args:
        plan: how.
        cells: those to run, in order.
        workers: processes at a time.
        done: called with each outcome.

    Raises:
        ConfigError: another benchmark is at work in the folder.
    """
    context = {"machine": machine(), "revision": revision(), "workers": workers}
    waiting, free = list(cells), list(range(workers))
    running: dict[subprocess.Popen, _Child] = {}
    with alone(plan.out) as lock:
        try:
            while waiting or running:
                while waiting and free:
                    child = _Child(plan, waiting.pop(0), free.pop(0), lock, context)
                    running[child.process] = child
                time.sleep(0.1)
                for process in [p for p in running if p.poll() is not None]:
                    child = running.pop(process)
                    free.append(child.slot)
                    done(child.outcome())
        finally:
            _stop(list(running))


class _Child:
    """A run of headrecon at work."""

    def __init__(self, plan: Plan, cell: Cell, slot: int, lock: int, context: Mapping[str, Any]) -> None:
        self.plan, self.cell, self.slot, self.context = plan, cell, slot, context
        folder = cell.folder(plan.out)
        self.resumed = (folder / "checkpoints" / "last.ckpt").is_file()
        if self.resumed:
            arguments = [f"resume={quoted(folder)}"]
        else:
            shutil.rmtree(folder, ignore_errors=True)  # a run that came to nothing
            arguments = plan.arguments(cell)
        self.command = [*plan.command, *arguments]
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.started, self.date = time.monotonic(), now()
        if cell.log(
            plan.out
        ).is_symlink():  # of a stranger's folder: what it leads to is not ours to write to
            cell.log(plan.out).unlink()
        with cell.log(plan.out).open("a" if self.resumed else "w") as log:
            log.write(f"{self.date} {' '.join(self.command)}\n")
            log.flush()
            self.process = subprocess.Popen(  # noqa: S603 (our own headrecon)
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=tell_starter(environment(slot)),
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C reaches us alone, and we ask each child once
            )

    def outcome(self) -> Outcome:
        """What became of it, once it has ended; also written down."""
        out, cell, code = self.plan.out, self.cell, self.process.returncode
        seconds = round(time.monotonic() - self.started, 1)
        made = {
            "command": self.command,
            "date": self.date,
            "process_s": seconds,
            "resumed": self.resumed,
            **self.context,
        }
        if code == 0 and cell.done(out):
            _write(cell.folder(out) / "benchmark.json", made)
            cell.failure(out).unlink(missing_ok=True)
            return Outcome(cell, None, seconds)
        error = _error(cell.log(out), code)
        _write(cell.failure(out), {"error": error, "exit_code": code, "log": str(cell.log(out)), **made})
        return Outcome(cell, error, seconds)


def environment(slot: int) -> dict[str, str]:
    """Variables of a child: where a checkout imports from; one thread on a CPU; with several GPUs, its own."""
    env = dict(os.environ)
    if CHECKOUT:
        env["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), *filter(None, [env.get("PYTHONPATH")])])
    gpus = torch.cuda.device_count()
    if not gpus:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
            env.setdefault(name, "1")
    elif gpus > 1:
        visible = env.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
        env["CUDA_VISIBLE_DEVICES"] = visible.split(",")[slot % gpus]
    return env


def _error(log: Path, code: int) -> str:
    """The last error that headrecon logged, else the last line that it printed."""
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (" (memory may have run out)" if code == -signal.SIGKILL else "")
    lines = [line for line in log.read_text(errors="replace").splitlines()[1:] if line.strip()]
    errors = [i for i, line in enumerate(lines) if re.match(r"[\d:]+ E ", line)]
    said = [re.sub(r"^[\d:]+ E ", "", line).strip() for line in lines[errors[-1] if errors else -1 :]]
    return " ".join(said[:4]) or f"exit code {code}, and nothing was printed"


def _stop(children: Sequence[subprocess.Popen]) -> None:
    """Ask children to save and end, and end them."""
    try:
        for child in children:
            child.terminate()
        until = time.monotonic() + _GRACE_S
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(until - time.monotonic(), 0))
    finally:
        for child in children:
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def now() -> str:
    """The date and time here, as written into results."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
