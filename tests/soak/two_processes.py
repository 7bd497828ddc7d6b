"""Strikes on one of two processes that train a prior together (DDP on gloo): kill -9 and SIGTERM at random times."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak import subjects

ROOT = Path(__file__).parents[2]
KINDS = ("KILL first", "KILL second", "TERM first")
"""Signal and process, the first of which is the command that was typed."""
END_S = 60.0
"""Seconds within which both are gone after one was struck."""


def members(group: int) -> list[int]:
    """Processes of a process group that run, zombies left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of) == group and state != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


def _workers(group: int) -> list[int]:
    """The processes that the first has started to train with it."""
    found = []
    for pid in members(group):
        try:
            if pid != group and b"LOCAL_RANK=1" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
        except OSError:
            continue
    return found


@dataclass
class TwoProcesses:
    """Strikes on a pretraining by two processes, and what came of them.

    Attributes:
        base: Folder of all runs.
        random: Source of times.
        faults: What was wrong, in words.
        counts: Number of strikes of each kind.
    """

    base: Path
    random: random.Random
    faults: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.options = [
            *subjects.pretraining_options(self.base), "trainer.devices=2", "trainer.strategy=ddp", "size.steps=40",
            "size.lattice_share=0.2",
        ]  # fmt: skip
        whole, started = self.base / "whole", time.monotonic()
        code, said = self._ended(self._start(whole), END_S * 5)
        if code:
            raise SystemExit(f"two processes do not even run:\n{said[-3000:]}")
        self.seconds, self.expected = time.monotonic() - started, subjects.fingerprint(whole)

    def strike(self) -> None:
        """Strikes once, goes on as a user would, and compares the result with that of the run left alone."""
        kind = KINDS[self.counts.total() % len(KINDS)]
        self.counts[kind] += 1
        folder = self.base / "run"
        shutil.rmtree(folder, ignore_errors=True)
        process = self._start(folder)
        after = self.random.uniform(0.2, 0.95) * self.seconds
        where = f"two processes: {kind} after {after:.1f} s"
        time.sleep(after)
        struck = _workers(process.pid)[:1] if kind.endswith("second") else [process.pid]
        for pid in struck if process.poll() is None else ():
            os.kill(pid, getattr(signal, f"SIG{kind.split()[0]}"))
        code, said = self._ended(process, END_S)
        if code is None:
            self.faults.append(f"{where}: a process was still there {END_S:.0f} s later: {said[-1500:]}")
        elif kind.startswith("TERM") and (code not in (0, 143) or "Traceback" in said):
            self.faults.append(f"{where}: code {code}: {said[-1500:]}")
        resumes = (folder / "checkpoints/last.ckpt").is_file()
        code, said = self._ended(self._start(folder, resumes=resumes), END_S * 5)
        if code:
            self.faults.append(f"{where}: going on ended with {code}: {said[-1500:]}")
            return
        changed = subjects.differences(self.expected, subjects.fingerprint(folder))
        if changed or (stale := subjects.left_behind(folder)):
            self.faults.append(f"{where}: differs in {changed}, left behind {stale if not changed else '?'}")

    def _start(self, folder: Path, *, resumes: bool = False) -> subprocess.Popen[str]:
        options = [f"resume={folder}"] if resumes else [*self.options, f"hydra.run.dir={folder}"]
        said = folder.with_suffix(".said").open("w")
        with said:
            return subprocess.Popen(
                [sys.executable, str(ROOT / "scripts/pretrain_prior.py"), *options],
                cwd=ROOT, stdout=said, stderr=said, text=True, start_new_session=True,
            )  # fmt: skip

    def _ended(self, process: subprocess.Popen[str], within_s: float) -> tuple[int | None, str]:
        """Exit code, None where one of its group had to be killed, and what it said."""
        limit, hung = time.monotonic() + within_s, False
        while process.poll() is None or members(process.pid):
            if time.monotonic() > limit:
                hung = True
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                break
            time.sleep(0.1)
        folder = next(a for a in process.args[2:] if re.match("resume=|hydra.run.dir=", a)).partition("=")[2]
        text = Path(folder).with_suffix(".said").read_text(errors="replace")
        return (None if hung else process.returncode), text
