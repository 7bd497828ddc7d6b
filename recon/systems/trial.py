"""A short trial: of several starts, which one do the photographs take to?"""

import copy
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from recon.priors import Start
from recon.rendering import RayBatch
from recon.systems.reconstruction import Reconstruction

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score:
    """How well a start did, over the last third of its trial.

    Attributes:
        colour: Mean colour loss.
        mask: Mean mask loss, times its weight.
    """

    colour: float
    mask: float

    @property
    def total(self) -> float:
        """What candidates are compared by; infinite if a loss was not finite."""
        total = self.colour + self.mask
        return total if math.isfinite(total) else math.inf


def choose(
    starts: Mapping[str, Start],
    make_system: Callable[[Start], Reconstruction],
    sampler: Callable[[int], RayBatch],
    steps: int = 60,
    device: torch.device | str = "cpu",
) -> str:
    """The name of the start that fits the photographs best after a few steps; see `compare`."""
    scores = compare(starts, make_system, sampler, steps, device)
    best = min(scores, key=lambda name: scores[name].total)
    log.info("the trial of %d steps chooses %s", steps, best)
    return best


def compare(
    starts: Mapping[str, Start],
    make_system: Callable[[Start], Reconstruction],
    sampler: Callable[[int], RayBatch],
    steps: int = 60,
    device: torch.device | str = "cpu",
) -> dict[str, Score]:
    """Trains a copy of each start for a few steps and scores it: a function of its arguments, without traces.

    All see the same pixels and the same α, that of the earliest place in the schedules among them, since the
    mask loss means nothing across different α. What the eikonal loss is does not count: it says how good a
    distance field is, not whether it is this head.

    Args:
        starts: The candidates by name; neither they nor what the systems share is changed.
        make_system: The system that would train a start; it may share cameras between systems.
        sampler: Gives the pixels of a step.
        steps: Length of the trial.
        device: Where to train.
    """
    offset = min(start.schedule_offset for start in starts.values())
    scores = {}
    for name, start in starts.items():
        candidate = replace(copy.deepcopy(start), schedule_offset=offset)
        system = copy.deepcopy(make_system(candidate)).to(device)
        scores[name] = _score(system, sampler, steps)
        log.info(
            "trial of %s: colour %.4f + mask %.4f = %.4f",
            name, scores[name].colour, scores[name].mask, scores[name].total,
        )  # fmt: skip
    return scores


def _score(system: Reconstruction, sampler: Callable[[int], RayBatch], steps: int) -> Score:
    """Trains a system, which is spent afterwards."""
    configured = system.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    optimizer.load_state_dict(optimizer.state_dict())  # Adam's moments follow the parameters to their device
    weight = system.objective.mask_weight
    colour, mask = [], []
    system.train()
    for step in range(steps):
        system.set_phase(step)
        terms = system.losses(sampler(step).to(system.device), step)
        if not torch.isfinite(terms.total):
            return Score(math.inf, math.inf)
        colour.append(float(terms.shown["loss_colour"]))
        mask.append(weight * float(terms.shown["loss_mask"]))
        optimizer.zero_grad()
        system.backward(terms.total)
        system.on_before_optimizer_step(optimizer)
        optimizer.step()
        scheduler.step()
    last = max(1, steps // 3)
    return Score(sum(colour[-last:]) / last, sum(mask[-last:]) / last)
