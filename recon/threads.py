"""Parallel map over parts of some work, in threads: numpy and compiled loops release Python's lock meanwhile."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def mapped(
    work: Callable[[Part], Result], parts: Sequence[Part], workers: int | None = None
) -> Iterator[Result]:
    """Results in the order of the parts, whatever the number of workers; few of them are held at a time.

    Args:
        work: The function of a part; it must be safe in several threads.
        parts: All parts.
        workers: Number of threads; None for one per core.
    """
    if (
        len(parts) <= 1
    ):  # as of a small lattice in every step of a fit: threads would cost more than they save
        yield from map(work, parts)
        return
    workers = max(cores() if workers is None else workers, 1)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        for part in parts:
            waiting.append(pool.submit(work, part))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def slices(total: int, step: int) -> list[slice]:
    """Consecutive slices of up to `step` items that cover `total` items."""
    return [slice(start, min(start + step, total)) for start in range(0, total, step)]
