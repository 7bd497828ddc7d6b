"""The same work on many parts, by one thread or several; nearly all of it is in numpy, which lets others run."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


def mapped(work: Callable[[Part], Result], parts: Sequence[Part], workers: int) -> Iterator[Result]:
    """Results in the order of the parts, whatever the number of workers; few of them wait at a time."""
    with ThreadPoolExecutor(max(workers, 1)) as pool:
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
