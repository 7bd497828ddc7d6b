"""What looking for steps that are not finite costs: python tools/measure_guards.py pairs=40.

Steps of one training take turns, with and without the look at loss and gradients; printed is the median of the ratios
of neighbouring steps for each method, with its 90 % interval by resampling.

Options, as `name=value`:
    pairs    how many pairs of steps
    methods  which trainings
    threads  of PyTorch
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon.commands.command_line import options_of, run_tool
from recon.systems.benchmark.machine import machine
from recon.systems.benchmark.speed.measure import Training

DEFAULTS = {"pairs": 40, "methods": ["idr", "h3dnet"], "threads": 2}


def main(arguments: Sequence[str]) -> None:
    """Measures and prints a line for each method."""
    cfg = options_of(DEFAULTS, arguments)
    print(machine())
    for method in cfg.methods:
        training = Training([f"method={method}", "views=3", "preset=cpu"], int(cfg.threads))
        ratios = np.array([guarded_over_bare(training, number) for number in range(3 + int(cfg.pairs))][3:])
        rng = np.random.default_rng(0)
        medians = [np.median(rng.choice(ratios, len(ratios))) for _ in range(2000)]
        low, high = np.quantile(medians, [0.05, 0.95])
        print(
            f"{method}: a guarded step takes {np.median(ratios):.3f} of a bare one ({low:.3f} to {high:.3f})",
            flush=True,
        )


def guarded_over_bare(training: Training, number: int) -> float:
    """Seconds of a step with guards over those of one without; which comes first changes from pair to pair."""
    seconds = {}
    for guarded in (True, False) if number % 2 else (False, True):
        if guarded:
            vars(training.system).pop("on_before_optimizer_step", None)
        else:
            vars(training.system)["on_before_optimizer_step"] = lambda optimizer: None
        seconds[guarded] = training.step(number)
    return seconds[True] / seconds[False]


if __name__ == "__main__":
    run_tool(main, __doc__)
