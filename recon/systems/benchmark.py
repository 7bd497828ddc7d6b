"""A benchmark: subjects x views x methods x seeds, each a run of train.py in a process of its own.

`<out>/runs/<method>/<views>/<scene>-<seed>/` is the run folder of a cell. Beside what train.py leaves there it
holds `benchmark.json`: how the run was made. `<scene>-<seed>.log` beside the folder is what train.py printed,
`<scene>-<seed>.failed.json` why there are no numbers. A cell is done when it has a `metrics.json`.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import yaml

from recon.errors import ConfigError
from recon.files import replacing
from recon.systems.machine import machine, revision

TRAIN = Path(__file__).parents[2] / "train.py"
_GRACE_S = 120.0
_WHERE_AND_WHAT = ("scene", "views", "seed", "resume", "hydra.run.dir")


@dataclass(frozen=True)
class Cell:
    """One run of the benchmark.

    Attributes:
        method: a name of conf/method, or a label whose overrides name the method.
        views: number of input views asked for.
        scene: name of the subject.
        seed: of every random draw.
    """

    method: str
    views: int
    scene: str
    seed: int

    def __str__(self) -> str:
        return (
            f"{self.method}, {self.scene}, {self.views} view{'s' if self.views > 1 else ''}, seed {self.seed}"
        )

    def folder(self, out: Path) -> Path:
        """Its run folder."""
        return out / "runs" / self.method / str(self.views) / f"{self.scene}-{self.seed}"

    def log(self, out: Path) -> Path:
        """What train.py printed."""
        return self.folder(out).with_name(f"{self.scene}-{self.seed}.log")

    def failure(self, out: Path) -> Path:
        """Why it has no numbers."""
        return self.folder(out).with_name(f"{self.scene}-{self.seed}.failed.json")

    def done(self, out: Path) -> bool:
        """Whether it has its numbers."""
        return (self.folder(out) / "metrics.json").is_file()


@dataclass(frozen=True)
class Plan:
    """What is to be run, and how.

    Attributes:
        out: folder of the benchmark, absolute.
        subjects: scene folders by name.
        views: numbers of input views.
        methods: rows of the table.
        seeds: runs of each.
        preset: of train.py.
        extra: overrides of train.py for every run.
        overrides: further ones, by method.
        command: the trainer.
    """

    out: Path
    subjects: Mapping[str, Path]
    views: Sequence[int]
    methods: Sequence[str]
    seeds: Sequence[int] = (0,)
    preset: str = "auto"
    extra: Sequence[str] = ()
    overrides: Mapping[str, Sequence[str]] = field(default_factory=dict)
    command: Sequence[str] = (sys.executable, str(TRAIN))

    def cells(self) -> list[Cell]:
        """All runs, in the order in which they are started: all methods of a subject after one another, so
        that an unfinished benchmark can already be compared.
        """
        return [
            Cell(method, views, scene, seed)
            for seed in self.seeds
            for views in self.views
            for scene in self.subjects
            for method in self.methods
        ]

    def arguments(self, cell: Cell) -> list[str]:
        """Arguments of train.py for a cell; of several for one option the last counts."""
        settings = [
            f"method={cell.method}",
            f"preset={self.preset}",
            *self.extra,
            *self.overrides.get(cell.method, ()),
            f"scene={_quoted(self.subjects[cell.scene])}",
            f"views={cell.views}",
            f"seed={cell.seed}",
            f"hydra.run.dir={_quoted(cell.folder(self.out))}",
        ]
        return list({setting.partition("=")[0]: setting for setting in settings}.values())


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


def _quoted(path: Path) -> str:
    """A path as a value in Hydra's grammar."""
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"


def check(plan: Plan) -> None:
    """Refuse before any work what would mix runs made with different options.

    Raises:
        ConfigError: a run folder that this plan would use was made with other options.
    """
    for cell in plan.cells():
        path = cell.folder(plan.out) / "overrides.yaml"
        if not path.is_file():
            continue
        stored, wanted = (
            {o for o in options if o.partition("=")[0] not in _WHERE_AND_WHAT}
            for options in (yaml.safe_load(path.read_text()) or [], plan.arguments(cell))
        )
        if stored != wanted:
            raise ConfigError(
                f"{cell.folder(plan.out)} was run with other options: there {_listed(stored - wanted)}; "
                f"now {_listed(wanted - stored)}. Numbers of the two must not be mixed: "
                "use another out=, or remove that folder"
            )


def _listed(options: set[str]) -> str:
    return ", ".join(sorted(options)) or "nothing more"


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
    """A run of train.py at work."""

    def __init__(self, plan: Plan, cell: Cell, slot: int, lock: int, context: Mapping[str, Any]) -> None:
        self.plan, self.cell, self.slot, self.context = plan, cell, slot, context
        folder = cell.folder(plan.out)
        self.resumed = (folder / "checkpoints" / "last.ckpt").is_file()
        if self.resumed:
            arguments = [f"resume={_quoted(folder)}"]
        else:
            shutil.rmtree(folder, ignore_errors=True)  # a run that came to nothing
            arguments = plan.arguments(cell)
        self.command = [*plan.command, *arguments]
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.started, self.date = time.monotonic(), now()
        with cell.log(plan.out).open("a" if self.resumed else "w") as log:
            log.write(f"{self.date} {' '.join(self.command)}\n")
            log.flush()
            self.process = subprocess.Popen(  # noqa: S603 (our own train.py)
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(slot),
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
    """Variables of a child: one thread on a CPU; with several GPUs, its own."""
    env = dict(os.environ)
    gpus = torch.cuda.device_count()
    if not gpus:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
            env.setdefault(name, "1")
    elif gpus > 1:
        visible = env.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
        env["CUDA_VISIBLE_DEVICES"] = visible.split(",")[slot % gpus]
    return env


def _error(log: Path, code: int) -> str:
    """The last error that train.py logged, else the last line that it printed."""
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
            child.send_signal(signal.SIGINT)
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
