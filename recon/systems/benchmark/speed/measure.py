"""How fast training is: steps of two renderers side by side, what they depend on, and whether they end alike.

Everything is measured on trainings that are stepped by hand, without Lightning, so that steps of several can take
turns: what else the machine does then slows all of them alike.
"""

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import hydra
import numpy as np
import torch
import trimesh
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from recon.geometry.surface import Surface
from recon.meshing import clean, extract, to_world
from recon.rendering import RayBatch
from recon.rendering.cached import CachedTracer, CachedTracing
from recon.systems import run
from recon.systems.config import CONF, build, device_of, register_resolvers, settle
from recon.systems.graphs import WARM_UPS
from recon.systems.help import all_options
from recon.systems.reconstruction import Reconstruction

PAPER = ("method=idr", "preset=paper")
"""IDR with its own networks (8 layers of 512) and number of rays, drawn as published: anywhere in one photograph."""
DRAWN = {
    "anywhere in one photograph, as published": (),
    "in and about the masks of all": ("data.sampler._target_=recon.rendering.SceneSampler",),
}
"""How rays are drawn, with the options for it; those of the first name are the headline's."""
RENDERERS = ("sphere_tracing", "cached")
GRAPHS = "cached_graphs"
"""renderer=cached with renderer.cuda_graphs=true."""
FAR_ON = 100_000  # a step in the later part of any schedule


class Training:
    """A training of headrecon that is stepped by hand.

    Args:
        overrides: of headrecon.
        threads: of PyTorch.

    Raises:
        ReconError: if headrecon would refuse it.
    """

    def __init__(self, overrides: Sequence[str], threads: int) -> None:
        self.given = ["scene=demo", "logger=csv", *overrides, f"trainer.threads={threads}"]
        cfg = _composed(self.given)
        self.task = run.prepare(cfg, Path("."))
        self.device = device_of(cfg)
        self.sampler = self.task.data.sampler
        self._begin(self.task.system)

    def _begin(self, system: Reconstruction) -> None:
        self.system = system.to(self.device).train()
        configured = self.system.configure_optimizers()
        self.optimizer, self.scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
        self.done = 0

    def twin(self, renderer: str, *overrides: str) -> "Training":
        """The same training going on with another renderer from where it stands; of the options of its own renderer
        those stay that the other has too, with the overrides on top.
        """
        known = {name for name, _, _ in all_options(CONF / "renderer" / f"{renderer}.yaml", "renderer.")}
        given = [o for o in self.given if not o.startswith("renderer.") or o.partition("=")[0] in known]
        settings = build(_composed([*given, f"renderer={renderer}", *overrides]).renderer)
        system = copy.deepcopy(self.system)
        system.trace_by(settings)
        other = copy.copy(self)
        other._begin(system)
        other.optimizer.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))
        other.scheduler.load_state_dict(self.scheduler.state_dict())
        other.done = self.done
        return other

    def variants(self) -> dict[str, "Training"]:
        """Twins of this training with each renderer, ready to be timed; on a GPU one with recorded steps too, if steps
        can be recorded there.
        """
        twins = {name: self.twin(name) for name in RENDERERS}
        if self.device.type == "cuda":
            twins[GRAPHS] = self.twin("cached", "renderer.cuda_graphs=true")
        for training in twins.values():
            training.settle()
        return {name: twin for name, twin in twins.items() if name != GRAPHS or twin.replays}

    def settle(self) -> None:
        """Make the steps after which others are alike: a first one, and until a recording is replayed."""
        self.step()
        if self.system.graphs is not None:
            for _ in range(WARM_UPS + 2):
                self.step(_without_refresh(self, 0))

    @property
    def replays(self) -> bool:
        """Whether its last step was a recorded one."""
        graphs = self.system.graphs
        return graphs is not None and graphs.learned

    def step(self, number: int | None = None) -> float:
        """One step; seconds of it. Pixels and schedules are those of a step's number, if one is given."""
        number = self.done if number is None else number
        self.synchronise()
        begun = time.perf_counter()
        batch = self.sampler(number).to(self.device)
        assert isinstance(batch, RayBatch)
        terms = self.system.terms(batch, number)
        self.system.optimizer_zero_grad(0, number, self.optimizer)
        self.system.backward(terms.total)
        self.system.on_before_optimizer_step(self.optimizer)
        self.optimizer.step()
        self.scheduler.step()
        self.done += 1
        self.synchronise()
        return time.perf_counter() - begun

    def steps(self, count: int, say: Callable[[str], None] | None = None, what: str = "") -> float:
        """The next steps; seconds of all."""
        begun = told = time.monotonic()
        for index in range(count):
            self.step()
            if say is not None and time.monotonic() - told > 20:
                told = time.monotonic()
                say(f"{what}: step {index + 1} of {count}")
        return time.monotonic() - begun

    def synchronise(self) -> None:
        """Wait for the GPU, where there is one."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def mesh(self, resolution: int) -> trimesh.Trimesh:
        """The surface, in world mm."""
        surface = clean(extract(self.system.sdf.sdf, resolution=resolution, device=self.device))
        return to_world(surface, self.task.scene.scale_mat)


def _composed(overrides: Sequence[str]) -> DictConfig:
    """The configuration of headrecon; of several overrides for one option the last counts."""
    given = list({each.partition("=")[0]: each for each in overrides}.values())
    register_resolvers()
    inside_main = GlobalHydra.instance().is_initialized()
    with nullcontext() if inside_main else hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return settle(hydra.compose("train", overrides=given), given)


@dataclass(frozen=True)
class StepTime:
    """Seconds of a training step.

    Attributes:
        plain: of each step that was measured, none of which refreshes a grid.
        whole: of asking the whole grid, where there is one.
        surface: of asking where the surface passes.
        refreshes: of both, for each step of a training in the mean.
    """

    plain: Sequence[float]
    whole: float = 0.0
    surface: float = 0.0
    refreshes: float = 0.0

    @property
    def seconds(self) -> float:
        """Median of the steps, with their share of the refreshes."""
        return statistics.median(self.plain) + self.refreshes

    def json(self) -> dict[str, float]:
        """For a file."""
        return {
            "step_s": round(self.seconds, 5),
            "plain_s": round(statistics.median(self.plain), 5),
            "fastest_s": round(min(self.plain), 5),
            "renewals_s": round(self.refreshes, 5),
            "whole_s": round(self.whole, 4),
            "surface_s": round(self.surface, 4),
            "steps": len(self.plain),
        }


def side_by_side(
    trainings: Mapping[str, Training],
    rounds: int,
    length: int,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, StepTime]:
    """Step times of trainings whose steps take turns.

    Args:
        trainings: by name; each must have made a step.
        rounds: steps of each.
        length: steps of a whole training, over which refreshes are shared.
        say: told of each round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in trainings}
    for index in range(rounds):
        for name, training in trainings.items():
            seconds[name].append(training.step(_without_refresh(training, index)))
        say(", ".join(f"{name} {times[-1]:.2f} s" for name, times in seconds.items()))
    return {name: _with_refreshes(trainings[name], times, length) for name, times in seconds.items()}


def _without_refresh(training: Training, index: int) -> int:
    """The number of a late step in which no grid is refreshed."""
    settings, number = training.system.tracing, FAR_ON + index
    if isinstance(settings, CachedTracing) and settings.longest_refresh_interval > 1:
        number = FAR_ON + index * settings.longest_refresh_interval  # each in a stretch of its own
        while settings.refresh_at(number):
            number += 1
    return number


def _with_refreshes(training: Training, times: Sequence[float], length: int) -> StepTime:
    tracer = training.system.tracer
    if not isinstance(tracer, CachedTracer):
        return StepTime(times)
    whole, surface = (
        _seconds(training, lambda ask=ask: ask(training.system.sdf.sdf))  # type: ignore[misc]
        for ask in (tracer.grid.refresh, tracer.grid.refresh_surface)
    )
    due = [tracer.settings.refresh_at(step) for step in range(length)]
    share = (due.count("whole") * whole + due.count("surface") * surface) / length
    return StepTime(times, whole, surface, share)


def _seconds(training: Training, work: Callable[[], object]) -> float:
    training.synchronise()
    begun = time.perf_counter()
    work()
    training.synchronise()
    return time.perf_counter() - begun


@dataclass
class PeakMemory:
    """Most memory that the process or its GPU held since this was made, in MB; None where the system does not tell."""

    device: torch.device
    _reset: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            return
        try:
            Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak is now what is held
            self._reset = True
        except OSError:
            self._reset = False

    def mb(self) -> float | None:
        """The peak."""
        if self.device.type == "cuda":
            return round(torch.cuda.max_memory_allocated() / 2**20, 1)
        if not self._reset:
            return None
        lines = Path("/proc/self/status").read_text().splitlines()
        (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM")]
        return round(int(peak) / 1024, 1)


def surface_gap_mm(one: trimesh.Trimesh, other: trimesh.Trimesh, points: int = 20_000) -> dict[str, float]:
    """Distance of two surfaces: mean over the vertices of both to the surface of the other; and how it spreads."""
    distances = []
    for here, there in ((one, other), (other, one)):
        vertices = np.asarray(here.vertices)
        distances.append(Surface(there).closest(vertices[:: max(1, len(vertices) // points)]).distances)
    everything = np.concatenate(distances)
    quantiles = np.quantile(everything, [0.5, 0.95])
    return {
        "mean": round(float(np.mean([d.mean() for d in distances])), 5),
        "median": round(float(quantiles[0]), 5),
        "p95": round(float(quantiles[1]), 5),
        "max": round(float(everything.max()), 4),
    }
