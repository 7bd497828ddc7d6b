"""The parts of the speed benchmark, each of which gives what its file says under one name.

`step` is the headline: IDR with its own networks, both renderers. `table` goes through renderers, fields and numbers
of rays, `growth` through views, pixels and cells of the grid, all with the small networks of preset=cpu (or gpu).
`gap` compares the surfaces that both renderers end with. `curves` is error against seconds.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from jaxtyping import Bool, Float
from PIL import Image

from recon.errors import ReconError
from recon.rendering import CameraBundle, PixelStore, SceneSampler
from recon.scene import Camera, View
from recon.systems.benchmark.speed.measure import (
    DRAWN,
    GRAPHS,
    PAPER,
    RENDERERS,
    PeakMemory,
    Training,
    side_by_side,
    surface_gap_mm,
)
from recon.systems.config import CONF

Say = Callable[[str], None]
IDR = ("method=idr",)
PAPER_STEPS = 6000  # of IDR with 3 views: over so many its refreshes are shared


@dataclass(frozen=True)
class Compared:
    """A training that is done with both renderers.

    Attributes:
        overrides: of headrecon.
        before: steps before the renderers part.
        steps: of each after that. The reference does them twice, the second time with other random draws for the
            least distances and the eikonal loss: no other renderer can be expected to stay nearer to it than that.
    """

    overrides: Sequence[str]
    before: int
    steps: int


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
        parts: their names.
        warm: steps before the headline is measured, so that the surface is no sphere any more.
        rounds: steps of each kind in the headline.
        few: steps of each kind in the tables; the first does not count.
        rays: of the table.
        views: of the growth.
        sizes: of the growth, pixels along the side of a photograph.
        cells: of the growth, of the grid along its side.
        gap: what is compared, with each renderer.
        resolution: of meshes.
    """

    parts: Sequence[str]
    warm: int
    rounds: int
    few: int
    rays: Sequence[int]
    views: Sequence[int]
    sizes: Sequence[int]
    cells: Sequence[int]
    gap: Mapping[str, Compared]
    resolution: int


PRESETS = {
    "quick": Extent(
        parts=("step", "table", "growth", "gap"),
        warm=15, rounds=4, few=4, rays=(1024, 4096), views=(1, 16), sizes=(256, 1024), cells=(64, 128),
        gap={
            "idr, 8x512": Compared(PAPER, 15, 10),
            "h3dnet, preset=cpu": Compared(("method=h3dnet", "preset=cpu"), 40, 40),
        }, resolution=160,
    ),
    "full": Extent(
        parts=("step", "table", "growth", "gap", "curves"),
        warm=60, rounds=15, few=11, rays=(512, 1024, 2048, 4096, 8192), views=(1, 2, 4, 8, 16, 32),
        sizes=(128, 256, 512, 1024), cells=(32, 64, 96, 128, 192), gap={
            "idr, 8x512": Compared(PAPER, 100, 100),
            "h3dnet, preset=cpu": Compared(("method=h3dnet", "preset=cpu"), 0, 650),
            "idr, preset=cpu": Compared(("method=idr", "preset=cpu"), 0, 1500),
        }, resolution=256,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """What all parts share.

    Attributes:
        extent: how much is measured.
        overrides: of headrecon for everything, such as scene and device.
        views: input views of the headline and of the gap.
        threads: of PyTorch.
        say: told what goes on.
    """

    extent: Extent
    overrides: Sequence[str]
    views: int
    threads: int
    say: Say

    def training(self, *overrides: str) -> Training:
        """A training of the given configuration."""
        return Training([f"views={self.views}", *self.overrides, *overrides], self.threads)


def step(setting: Setting) -> dict[str, Any]:
    """Step times of both renderers from the same networks, steps taking turns; for each way to draw the rays."""
    drawn = {name: _step(setting, options) for name, options in DRAWN.items()}
    first = next(iter(drawn.values()))
    names = ("step_s_reference", "step_s_cached", "step_ratio", "step_s_cached_graphs")
    headline = {name: first[name] for name in names}
    return {**headline, "drawn": drawn}


def _step(setting: Setting, options: Sequence[str]) -> dict[str, Any]:
    cached = setting.training(*PAPER, *options, "renderer=cached")
    cached.steps(setting.extent.warm, setting.say, "warming up")
    trainings = cached.variants()
    times = side_by_side(trainings, setting.extent.rounds, PAPER_STEPS, setting.say)
    seconds = {name: times[name].seconds for name in trainings}
    paired = statistics.median(
        slow / (fast + times["cached"].refreshes)
        for slow, fast in zip(times["sphere_tracing"].plain, times["cached"].plain, strict=True)
    )
    return {
        "step_s_reference": round(seconds["sphere_tracing"], 4),
        "step_s_cached": round(seconds["cached"], 4),
        "step_ratio": round(paired, 3),
        "step_s_cached_graphs": round(seconds[GRAPHS], 5) if GRAPHS in seconds else None,
        "rays": len(cached.sampler(0)),
        "device": str(cached.device),
        **{name: {**times[name].json(), "peak_mb": _gpu_mb(each)} for name, each in trainings.items()},
    }


def geometry_fields() -> list[str]:
    """The choices of conf/field whose geometries differ in kind."""
    kinds: dict[str, str] = {}
    for path in sorted((CONF / "field").glob("*.yaml"), key=lambda path: (path.stem != "mlp", path.stem)):
        kinds.setdefault(yaml.safe_load(path.read_text())["sdf"]["_target_"], path.stem)
    return list(kinds.values())


def table(setting: Setting) -> list[dict[str, Any]]:
    """Step time and memory by field, number of rays and renderer."""
    lines: list[dict[str, Any]] = []
    for name in geometry_fields():
        for rays in setting.extent.rays:
            try:
                lines += _lines(
                    setting, {"field": name, "rays": rays}, f"field={name}", f"data.sampler.rays={rays}"
                )
            except ReconError as error:
                setting.say(f"field={name} is left out: {error}")
                break
    return lines


def _lines(setting: Setting, what: Mapping[str, Any], *overrides: str) -> Iterator[dict[str, Any]]:
    """A line for each renderer."""
    first = setting.training(*IDR, *overrides, "renderer=cached")
    trainings = first.variants()
    times = side_by_side(trainings, setting.extent.few - 1, trainings["cached"].system.steps)
    for name, training in trainings.items():
        line = {**what, "renderer": name, "device": str(training.device), **times[name].json()}
        line["peak_mb"] = _peak_mb(training)
        setting.say(", ".join(f"{key} {line[key]}" for key in (*what, "renderer", "step_s", "peak_mb")))
        yield line


def _peak_mb(training: Training) -> float | None:
    """Peak memory of a step, or of recording one; on a CPU of the whole process."""
    if training.system.graphs is not None:
        training.system.graphs.drop()
    memory = PeakMemory(training.device)
    training.settle()
    return memory.mb()


def _gpu_mb(training: Training) -> float | None:
    """The same on a GPU; None on a CPU, where such a step takes seconds."""
    return _peak_mb(training) if training.device.type == "cuda" else None


def growth(setting: Setting) -> dict[str, list[dict[str, Any]]]:
    """Step time and memory of renderer=cached by views, pixels and cells."""
    extent, found = setting.extent, {"views": [], "pixels": [], "cells": []}  # type: ignore[var-annotated]
    cached = (*IDR, "renderer=cached")
    available = len(setting.training(*cached, "views=1").task.scene.views)
    for count in sorted({min(count, available) for count in extent.views}):
        training = setting.training(*cached, f"views={count}")
        found["views"].append(_grown(setting, training, views=len(training.task.views)))
    for size in extent.sizes:
        training = setting.training(*cached)
        _resize(training, size)
        found["pixels"].append(_grown(setting, training, size=size))
    for cells in extent.cells:
        training = setting.training(*cached, f"renderer.cells={cells}")
        found["cells"].append(_grown(setting, training, cells=cells))
    return found


def _grown(setting: Setting, training: Training, **what: int) -> dict[str, Any]:
    training.step()
    times = side_by_side({"cached": training}, setting.extent.few - 1, training.system.steps)["cached"]
    line = {**what, "device": str(training.device), **times.json(), "peak_mb": _peak_mb(training)}
    setting.say(", ".join(f"{key} {line[key]}" for key in (*what, "step_s", "renewals_s", "peak_mb")))
    return line


class _Resized(View):
    """A view whose photograph is resized when it is decoded."""

    def __init__(self, view: View, side: int) -> None:
        camera = view.camera.resized(side / max(view.camera.width, view.camera.height))
        super().__init__(view.index, view.name, camera, view.image_path, view.mask_path, view.ignore_path)
        self.small: Camera = camera

    def image(self) -> Float[np.ndarray, "h w 3"]:
        """The photograph, resized."""
        return np.stack([self._resized(channel) for channel in super().image().transpose(2, 0, 1)], axis=2)

    def mask(self) -> Bool[np.ndarray, "h w"]:
        """The mask, resized."""
        return self._resized(super().mask()) > 0.5

    def ignored(self) -> Bool[np.ndarray, "h w"]:
        """What is ignored, resized."""
        return self._resized(super().ignored()) > 0.5

    def _resized(self, picture: np.ndarray) -> np.ndarray:
        image = Image.fromarray(picture.astype(np.float32))
        return np.asarray(image.resize((self.small.width, self.small.height), Image.Resampling.BILINEAR))


def _resize(training: Training, side: int) -> None:
    """Let a training see its photographs at another size."""
    task = training.task
    views = [_Resized(task.scene.views[view], side) for view in task.views]
    training.system.cameras = CameraBundle([view.small for view in views], task.scene.scale_mat).to(
        training.device
    )
    training.sampler = SceneSampler(PixelStore(views), task.cfg.data.sampler.rays, task.cfg.seed)


def gap(setting: Setting) -> dict[str, Any]:
    """How far the surfaces of the renderers are apart after equal steps with the same pixels."""
    found = {}
    for name, compared in setting.extent.gap.items():
        length = compared.before + compared.steps
        first = setting.training(*compared.overrides, f"steps={length}", "renderer=cached")
        first.steps(compared.before, setting.say, f"{name}, before")
        runs = {renderer: first.twin(renderer) for renderer in RENDERERS}
        runs["redrawn"] = first.twin("sphere_tracing")
        runs["redrawn"].system.seed += 1
        seconds = {
            run: round(training.steps(compared.steps, setting.say, f"{name}, {run}"), 2)
            for run, training in runs.items()
        }
        meshes = {run: training.mesh(setting.extent.resolution) for run, training in runs.items()}
        distances = {run: surface_gap_mm(meshes["sphere_tracing"], mesh) for run, mesh in meshes.items()}
        found[name] = {
            "before": compared.before,
            "steps": compared.steps,
            **distances["cached"],
            "redrawn": distances["redrawn"]["mean"],
            "train_s": seconds,
        }
        setting.say(f"{name}: surfaces {found[name]['mean']} mm apart after {compared.steps} steps")
    return found
