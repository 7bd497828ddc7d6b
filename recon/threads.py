"""The same work on many parts, by one thread or several; nearly all of it is in numpy and compiled code, which lets
others run.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def mapped(
    work: Callable[[Part], Result], parts: Sequence[Part], workers: int | None = None
) -> Iterator[Result]:
    """Results in the order of the parts, whatever the number of workers; few of them wait at a time.

    Args:
        work: What to do with a part; it must not mind other threads.
        parts: All of them.
        workers: Number of threads; as many as there are cores without it.
    """
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
    """Consecutive runs of up to `step` of `total` things."""
    return [slice(start, min(start + step, total)) for start in range(0, total, step)]
