"""Attack running commands for a while: python -m tests.soak minutes=60 (make soak)

Options: minutes=60 (how long), strikes=0 (or how many; then minutes do not count), seed=0, subjects=[reconstruction,
pretraining], out=FOLDER (a temporary one by default), kinds=[] (all). By minutes, a tenth of the time goes to two
processes that train together, and three tenths to `tools/fuzz.py` with 20,000 files for each parser.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: threads do not survive a fork
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

from recon.commands.command_line import say
from tests.soak import subjects
from tests.soak.strikes import Kind, Outcome, Strike, struck
from tests.soak.subjects import Subject
from tests.soak.two_processes import TwoProcesses

KINDS: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if kind != "none")
CODES: dict[str, set[int]] = {"KILL": {-9, 0}, "TERM": {143, 0}, "INT": {130, 0}, "TERM twice": {143, 0}}
"""Codes that a struck process may end with; 0 where the strike came too late to matter."""
ERRNOS = {
    "ENOSPC": "No space left",
    "EROFS": "Read-only",
    "EIO": "Input/output error",
    "short write": "File too large",
}


STRIKES_SHARE, TWO_PROCESSES_SHARE = 0.6, 0.1
"""Shares of the minutes for strikes on single processes and on two; the rest is the fuzzer's."""


@dataclass
class Attack:
    """Strikes on one subject, and what came of them.

    Attributes:
        subject: The command.
        base: Folder of all runs.
        random: Source of moments.
        faults: What was wrong, in words.
        counts: Number of strikes of each kind.
    """

    subject: Subject
    base: Path
    random: random.Random
    faults: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        whole = self.base / "whole"
        outcome = struck(lambda: self.subject.start(whole), Strike(), whole)
        if outcome.code:
            raise SystemExit(f"{self.subject.name} does not even run:\n{outcome.text[-3000:]}")
        self.moments, self.seconds = outcome.moments, outcome.seconds
        self.expected = subjects.fingerprint(whole)

    def strike(self, kind: Kind, *, at_random: bool = False) -> None:
        """Strikes once, goes on as a user would, and compares the result with that of the run left alone."""
        folder = self.base / "run"
        shutil.rmtree(folder, ignore_errors=True)
        moment = self.random.randint(1, len(self.moments))
        after = (
            self.random.uniform(0, self.seconds) if at_random and kind in ("KILL", "TERM", "INT") else None
        )
        strike = Strike(kind, 0 if after is not None else moment, after)
        self.counts[kind] += 1
        where = f"{self.subject.name}: {strike}" + ("" if after else f" ({self.moments[moment - 1]})")
        try:
            outcome = struck(lambda: self.subject.start(folder), strike, folder)
            self.faults += [f"{where}: {fault}" for fault in self._faults_of(kind, outcome)]
            again = struck(self.subject.again(folder), Strike(), folder)
        except TimeoutError as hung:
            self.faults.append(f"{where}: {hung}")
            return
        if again.code:
            self.faults.append(f"{where}: going on ended with {again.code}: {again.text[-1500:]}")
            return
        changed = subjects.differences(self.expected, subjects.fingerprint(folder))
        stale = subjects.left_behind(folder)
        if changed or stale:
            self.faults.append(f"{where}: differs in {changed}, left behind {stale}")

    def _faults_of(self, kind: Kind, outcome: Outcome) -> list[str]:
        """What is wrong with how a struck process ended."""
        if kind in CODES:
            found = [] if outcome.code in CODES[kind] else [f"code {outcome.code}: {outcome.text[-1500:]}"]
            if kind != "KILL" and outcome.code and "Traceback" in outcome.text:
                found.append(f"a traceback: {outcome.text[-1500:]}")
            return found
        if outcome.code == 0:
            return []
        last = outcome.text.strip().splitlines()[-1:] or [""]
        if outcome.code != 1 or "Traceback" in outcome.text:
            return [f"code {outcome.code}: {outcome.text[-1500:]}"]
        said = ERRNOS.get(kind)
        return [f"does not say why: {last[0]}"] if said and said not in outcome.text else []


def main(arguments: Sequence[str]) -> int:
    """Attack, print a table, and return 1 where anything was wrong."""
    given = dict(argument.partition("=")[::2] for argument in arguments)
    names = given.get("subjects", "reconstruction,pretraining").strip("[]").split(",")
    kinds = [kind for kind in given.get("kinds", "").strip("[]").split(",") if kind] or KINDS
    limit, budget = int(given.get("strikes", 0)), 60 * float(given.get("minutes", 60))
    for module in ("train", "pretrain"):
        importlib.import_module(f"recon.commands.{module}")
    _import_what_runs_import()
    source, began, faults, counts = (
        random.Random(int(given.get("seed", 0))),
        time.monotonic(),
        [],
        Counter[str](),
    )
    with tempfile.TemporaryDirectory(dir=given.get("out")) as folder:
        attacks = []
        for name in names:
            base = Path(folder) / name
            base.mkdir()
            attacks.append(Attack(getattr(subjects, name)(Path(folder)), base, source))
            say(f"{name}: {len(attacks[-1].moments)} moments in {attacks[-1].seconds:.1f} s")
        number = 0
        while number < limit if limit else time.monotonic() - began < STRIKES_SHARE * budget:
            attack, kind = attacks[number % len(attacks)], kinds[number // len(attacks) % len(kinds)]
            before = len(attack.faults)
            attack.strike(kind, at_random=bool(number // len(attacks) // len(kinds) % 2))
            for fault in attack.faults[before:]:
                say(f"FAULT {fault}")
            number += 1
        for attack in attacks:
            faults += attack.faults
            counts += attack.counts
        if not limit:
            two = _two_processes(Path(folder), source, TWO_PROCESSES_SHARE * budget)
            faults += two.faults
            counts += two.counts
            faults += _fuzzed(began + budget)
    minutes = round((time.monotonic() - began) / 60, 1)
    say(json.dumps({"strikes": dict(counts), "faults": len(faults), "minutes": minutes}))
    return 1 if faults else 0


def _two_processes(folder: Path, source: random.Random, seconds: float) -> TwoProcesses:
    """Strikes on two processes that train together, for a while, and at least one."""
    base, until = folder / "two_processes", time.monotonic() + seconds
    base.mkdir()
    two = TwoProcesses(base, source)
    while not two.counts or time.monotonic() < until:
        before = len(two.faults)
        two.strike()
        for fault in two.faults[before:]:
            say(f"FAULT {fault}")
    say(f"two processes: {dict(two.counts)}")
    return two


def _fuzzed(until: float) -> list[str]:
    """What the fuzzer found in the time that is left; it tells of each parser that it is done with."""
    command = [
        sys.executable,
        "tools/fuzz.py",
        "parser=all",
        "mutations=20000",
        f"workers={os.cpu_count() or 1}",
    ]
    root, faults = Path(__file__).parents[2], []
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True, start_new_session=True)
    timer = threading.Timer(max(until - time.monotonic(), 1.0), os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    assert process.stdout is not None
    for line in process.stdout:
        say(line.rstrip())
        if re.match(r"[\w ]+ \d+: ", line):  # parser, number of the file: what it did
            faults.append(line)
    timer.cancel()
    if process.wait() not in (0, -signal.SIGKILL) and not faults:
        faults.append(f"the fuzzer ended with {process.returncode}")
    return faults


def _import_what_runs_import() -> None:
    """Imports once, before the forks, what every run would import."""
    for module in ("trimesh", "skimage.measure", "scipy.sparse.linalg", "matplotlib", "PIL.Image", "hydra"):
        try:
            importlib.import_module(module)
        except ImportError:
            continue
    gc.freeze()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
