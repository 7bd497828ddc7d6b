"""Where the time of a run goes."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path


class Timeline:
    """Seconds of each part of a run, in the order in which the parts first came.

    All the time since the timeline was made, or since the last lap, belongs to the next lap: nothing is left out.

    Args:
        clock: Seconds that never run backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._seconds: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Give the time since the last lap a name; laps of one name add up."""
        now = self._clock()
        self._seconds[name] = self._seconds.get(name, 0.0) + now - self._last
        self._last = now

    def before(self, name: str, seconds: float | None) -> None:
        """Name what passed before the timeline was made; None is nothing known."""
        if seconds is not None:
            self._seconds = {name: seconds, **self._seconds}

    def seconds(self) -> Mapping[str, float]:
        """Seconds by name, rounded to hundredths."""
        return {name: round(value, 2) for name, value in self._seconds.items()}

    def __str__(self) -> str:
        """One line: `import 3.1, open 0.4, … = 17.9 s`."""
        parts = ", ".join(f"{name} {value:.1f}" for name, value in self._seconds.items())
        return f"{parts} = {sum(self._seconds.values()):.1f} s"


def process_age_s() -> float | None:
    """Seconds since this process started, or None where the system does not tell (it does on Linux)."""
    try:
        stat = Path("/proc/self/stat").read_text()
        ticks = int(stat.rpartition(")")[2].split()[19])  # field 22 of proc(5), counted after the name
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
