"""The running of a parser over mutated files, in a child process with limits of memory and time."""

import json
import logging
import mmap
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

from recon.errors import ReconError
from tools.fuzzing.mutations import mutated
from tools.fuzzing.parsers import Parser

SECONDS, BYTES = 1.0, 1 << 30
"""CPU time and memory beyond what the process has that one file may take."""
STUCK_S = 60.0
"""Seconds of the clock without an answer after which a child is given up: native code that no signal interrupts."""
LONGEST = 2000
"""Characters of a message beyond which it is no sentence."""


class TooSlow(BaseException):
    """A file took more than its time; no parser's `except Exception` takes it up."""


@dataclass(frozen=True)
class Fault:
    """What a parser did with a file that it should not.

    Attributes:
        parser: Name of the parser.
        kind: "foreign exception", "unnamed" (the message does not name the file), "slow", "memory" or "killed".
        number: Number of the mutation, which finds the file again.
        what: The exception and where it was raised.
    """

    parser: str
    kind: str
    number: int
    what: str


@dataclass
class Findings:
    """The result of a campaign.

    Attributes:
        mutations: Files read, by parser.
        refused: Those that ended in an error of the project, by parser.
        faults: Faults; of those alike the first.
        counts: Number of faults alike by parser, kind and what.
        cpu_s: CPU time by parser.
        slowest_s: CPU time of the slowest file by parser.
    """

    mutations: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    counts: dict[tuple[str, str, str], int] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)
    slowest_s: dict[str, float] = field(default_factory=dict)

    def add(self, fault: Fault) -> None:
        """Keep a fault, or count it with those alike."""
        key = fault.parser, fault.kind, fault.what
        if key not in self.counts:
            self.faults.append(fault)
        self.counts[key] = self.counts.get(key, 0) + 1


def file_of(parser: Parser, content: bytes, seed: int, number: int) -> bytes:
    """The mutated file of a number; number 0 is the file as it is."""
    if number == 0:
        return content
    return mutated(content, parser.form, Random(f"{parser.name}:{seed}:{number}"))


def fuzz(
    parsers: Sequence[Parser],
    mutations: int,
    seed: int = 0,
    *,
    workers: int = 1,
    first: int = 0,
    told: Callable[[Findings, str], None] = lambda findings, name: None,
) -> Findings:
    """Read mutated files by each of some parsers.

    Args:
        parsers: Parsers to try.
        mutations: Files for each.
        seed: Determines the files.
        workers: Parsers at a time, each in a child process.
        first: Number of the first mutation.
        told: Called with what was found so far, and the name of each parser that is done.

    Returns:
        What was found. Each parser must read the unmutated file (number 0), which is read first.
    """
    findings = Findings()
    waiting = [(parser, first) for parser in parsers]
    running: dict[int, _Child] = {}
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_fast_folder()) as folder:
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    parser, start = waiting.pop(0)
                    child = _Child(parser, Path(folder), seed, start, first + mutations)
                    running[child.pid] = child
                for child in [each for each in running.values() if each.ended()]:
                    del running[child.pid]
                    again = child.collect(findings)
                    if again is not None:
                        waiting.insert(0, (child.parser, again))
                    else:
                        told(findings, child.parser.name)
                time.sleep(0.01)
        finally:
            for child in running.values():
                os.kill(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)
    return findings


def _fast_folder() -> str | None:
    """A folder in memory, where there is one."""
    shared = Path("/dev/shm")  # noqa: S108
    return str(shared) if shared.is_dir() and os.access(shared, os.W_OK) else None


class _Child:
    """A child process that reads the files of one parser."""

    def __init__(self, parser: Parser, folder: Path, seed: int, start: int, end: int) -> None:
        self.parser, self.start, self.end = parser, start, end
        self.folder = Path(tempfile.mkdtemp(dir=folder, prefix=f"{parser.name}-"))
        self.report = self.folder.with_suffix(".jsonl")
        self.progress = mmap.mmap(-1, 8)
        self.seen, self.since = -1, time.monotonic()
        self.status = 0
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                _read_files(parser, self.folder, self.report, self.progress, seed, start, end)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)

    def ended(self) -> bool:
        """Whether the process ended; it is killed if it is stuck."""
        pid, self.status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            return True
        number = int.from_bytes(self.progress[:], "little")
        if number != self.seen:
            self.seen, self.since = number, time.monotonic()
        elif time.monotonic() - self.since > STUCK_S:
            os.kill(self.pid, signal.SIGKILL)
        return False

    def collect(self, findings: Findings) -> int | None:
        """Add what the process found; the number to go on with if it was killed."""
        number, name = int.from_bytes(self.progress[:], "little"), self.parser.name
        lines = self.report.read_text().splitlines() if self.report.exists() else []
        for line in lines:
            entry = json.loads(line)
            if "parser" in entry:
                findings.add(Fault(**entry))
            else:
                findings.refused[name] = findings.refused.get(name, 0) + entry["refused"]
                findings.slowest_s[name] = max(findings.slowest_s.get(name, 0.0), entry["slowest_s"])
                findings.cpu_s[name] = findings.cpu_s.get(name, 0.0) + entry["cpu_s"]
        shutil.rmtree(self.folder, ignore_errors=True)
        whole = self.status == 0
        done = self.end if whole else number + 1
        findings.mutations[name] = findings.mutations.get(name, 0) + done - self.start
        if whole:
            return None
        if os.WIFSIGNALED(self.status):
            how = f"killed by {signal.Signals(os.WTERMSIG(self.status)).name}"
        else:
            how = "the fuzzer itself failed"
        findings.add(Fault(name, "killed", number, how))
        return number + 1 if number + 1 < self.end else None


def _read_files(
    parser: Parser, folder: Path, report: Path, progress: mmap.mmap, seed: int, start: int, end: int
) -> None:
    """What a child does."""
    logging.disable(logging.CRITICAL)
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(null, stream)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    (folder / "seed").mkdir()
    path = parser.make(folder / "seed")
    content = path.read_bytes()
    with suppress(ReconError):  # a few sound files are refused
        parser.read(path)  # imports and tables that are made once are not the first mutation's
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    refused, slowest = 0, 0.0
    began = time.process_time()
    with report.open("w") as out:
        for number in range(start, end):
            progress[:] = number.to_bytes(8, "little")
            path.write_bytes(file_of(parser, content, seed, number))
            before = time.process_time()
            fault, error = read_one(parser, path, number)
            slowest = max(slowest, time.process_time() - before)
            refused += error
            if fault is not None:
                out.write(json.dumps(asdict(fault)) + "\n")
                out.flush()
        totals = {"refused": refused, "slowest_s": slowest, "cpu_s": time.process_time() - began}
        out.write(json.dumps(totals) + "\n")


def read_one(parser: Parser, path: Path, number: int) -> tuple[Fault | None, bool]:
    """The fault of reading a file, if there is one, and whether it was refused."""
    try:
        with _limited():
            parser.read(path)
    except TooSlow:
        return Fault(parser.name, "slow", number, f"more than {SECONDS:g} s"), False
    except Exception as error:
        if _of_memory(error):
            return Fault(parser.name, "memory", number, _where(error)), False
        if not isinstance(error, ReconError):
            return Fault(parser.name, "foreign exception", number, _where(error)), False
        message = str(error)
        if path.name not in message and path.parent.name not in message:
            return Fault(parser.name, "unnamed", number, f"{_where(error)}: {message[-160:]}"), True
        if len(message) > LONGEST:
            return Fault(parser.name, "unnamed", number, f"{_where(error)}: {len(message)} characters"), True
        return None, True
    return None, False


@contextmanager
def _limited() -> Iterator[None]:
    """A context in which `TooSlow` is raised after `SECONDS` of CPU time."""

    def stop(*_: object) -> None:
        raise TooSlow

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or one that it came from, says that there is no memory."""
    seen = 0
    while error is not None and seen < 20:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def _where(error: BaseException) -> str:
    """The kind of an exception, and the last line of ours and of all that it was raised in."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/recon/" in frame.filename]
    places = {f"{'/'.join(Path(f.filename).parts[-2:])}:{f.lineno}" for f in (ours[-1:] + frames[-1:])}
    return f"{type(error).__name__} at {', '.join(sorted(places))}"
