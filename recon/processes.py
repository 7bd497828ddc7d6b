"""Parallel map over jobs in fresh processes, which end when the process that started them does, however that ends."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from recon.errors import ReconError

Job = TypeVar("Job")
Result = TypeVar("Result")
LOOK_EVERY_S = 0.5
"""Seconds between looks of a worker whether the process that started it is still there."""
STARTER = "HEADRECON_STARTED_BY"
"""Variable with the number of the process that started this one and without which it shall not go on."""


def in_processes(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int, *, one_thread: bool = False
) -> Iterator[Result]:
    """Results as they are done, of jobs in this process or, with several workers, in fresh ones.

    Where the caller stops, by an error or a signal, jobs that have not begun are dropped and the workers are ended.

    Args:
        work: The function of a job; it and the jobs can be pickled.
        jobs: All jobs.
        workers: Number of processes.
        one_thread: Whether libraries in a worker are kept from starting threads of their own.

    Raises:
        ReconError: A worker was killed, for example because memory was short.
    """
    if workers <= 1 or len(jobs) <= 1:
        yield from map(work, jobs)
        return
    context = multiprocessing.get_context("spawn")
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(min(workers, len(jobs)), context, _begin, (os.getpid(), one_thread)) as pool:
        try:
            for future in as_completed([pool.submit(work, job) for job in jobs]):
                yield future.result()
        except BrokenProcessPool as error:
            raise ReconError(
                f"one of {workers} worker processes was killed, perhaps because memory was short; use fewer of them"
            ) from error
        except BaseException:
            mine = [child for child in multiprocessing.active_children() if child not in others]
            pool.shutdown(wait=False, cancel_futures=True)
            for child in mine:
                child.terminate()
            raise


def _begin(parent: int, one_thread: bool) -> None:
    """Prepares a worker: it leaves Ctrl-C to the process that started it, and ends when that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _when_gone(parent, lambda: os._exit(1))
    if one_thread:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ[name] = "1"


def tell_starter(environment: dict[str, str]) -> dict[str, str]:
    """Variables for a command that this process starts and that shall stop when this process is gone; see
    `stop_with_starter`.
    """
    return {**environment, STARTER: str(os.getpid())}


@contextmanager
def telling_starter() -> Iterator[None]:
    """A context in which commands that a library starts shall stop when this process is gone; see `tell_starter`."""
    os.environ.update(tell_starter({}))
    try:
        yield
    finally:
        os.environ.pop(STARTER, None)


def stop_with_starter() -> None:
    """Have this command stop as by SIGTERM, its state saved, when the process that started it is gone, if that asked
    for it by `tell_starter`. One that is not the first of a training has no state of its own, and may be waiting for
    the first where no signal is heard: it ends at once.
    """
    starter = os.environ.pop(STARTER, "")
    if starter.isdecimal():
        first, stop = first_process(), 128 + signal.SIGTERM
        _when_gone(int(starter), lambda: os.kill(os.getpid(), signal.SIGTERM) if first else os._exit(stop))


def first_process() -> bool:
    """Whether this is the first, or only, process of a training; Lightning starts the others with these variables."""
    return not any(int(os.environ.get(name) or 0) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def _when_gone(parent: int, then: Callable[[], None]) -> None:
    """Have something done, in a thread, when the process that started this one is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        then()

    threading.Thread(target=watch, daemon=True).start()
