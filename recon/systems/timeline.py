"""Where the time of a run goes, stage by stage."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path


class Timeline:
    """Seconds of each stage of a run, in the order in which the stages first came, and of named parts of them.

    All the time since the timeline was made, or since the last lap, belongs to the next lap: nothing is left out.

    Args:
        clock: Seconds that never run backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first = self._last = clock()
        self._seconds: dict[str, float] = {}
        self._parts: dict[str, dict[str, float]] = {}

    def lap(self, stage: str, part: str | None = None) -> None:
        """Give the time since the last lap to a stage, and to a part of it; laps of one name add up."""
        now = self._clock()
        passed, self._last = now - self._last, now
        self._seconds[stage] = self._seconds.get(stage, 0.0) + passed
        if part is not None:
            parts = self._parts.setdefault(stage, {})
            parts[part] = parts.get(part, 0.0) + passed

    def before(self, stage: str, seconds: float | None) -> None:
        """Name what passed before the timeline was made; None is nothing known."""
        if seconds is not None:
            self._seconds = {stage: seconds, **self._seconds}

    def elapsed(self) -> float:
        """Seconds since the timeline was made."""
        return self._clock() - self._first

    def total(self) -> float:
        """Seconds of all stages, what passed before the timeline was made included."""
        return sum(self._seconds.values())

    def seconds(self) -> Mapping[str, float]:
        """Seconds by stage, rounded to hundredths."""
        return {stage: round(value, 2) for stage, value in self._seconds.items()}

    def parts(self) -> Mapping[str, Mapping[str, float]]:
        """Seconds by stage and part, rounded to hundredths, of the stages that have named parts."""
        return {
            stage: {part: round(value, 2) for part, value in parts.items()}
            for stage, parts in self._parts.items()
        }

    def __str__(self) -> str:
        """One line: `import 3.1, open 0.4, initialise 4.5 (fit 4.3), … = 17.9 s`."""
        stages = ", ".join(
            f"{stage} {value:.1f}{self._in_brackets(stage)}" for stage, value in self._seconds.items()
        )
        return f"{stages} = {self.total():.1f} s"

    def _in_brackets(self, stage: str) -> str:
        parts = ", ".join(f"{part} {value:.1f}" for part, value in self._parts.get(stage, {}).items())
        return f" ({parts})" if parts else ""


def process_age_s() -> float | None:
    """Seconds since this process started, or None where the system does not tell (it does on Linux)."""
    try:
        stat = Path("/proc/self/stat").read_text()
        ticks = int(stat.rpartition(")")[2].split()[19])  # field 22 of proc(5), counted after the name
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
