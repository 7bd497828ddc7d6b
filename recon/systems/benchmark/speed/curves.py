"""Error against seconds: a training that is stopped now and then to be scored, with the clock stopped too."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recon.errors import ConfigError, ReconError
from recon.evaluation import Evaluator, Prediction
from recon.files import replacing
from recon.systems.benchmark.speed.measure import Training
from recon.systems.benchmark.speed.parts import Setting

log = logging.getLogger(__name__)

LOOKS = (0.0, 0.03, 0.06, 0.12, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)
"""When a training is scored, as fractions of its steps."""
RUNS = {
    "instant": ("method=instant",),
    "instant_grid": ("method=instant_grid",),
    "h3dnet, sphere_tracing": ("method=h3dnet", "renderer=sphere_tracing"),
    "h3dnet, cached": ("method=h3dnet", "renderer=cached"),
    "h3dnet, cached, dense": ("method=h3dnet", "renderer=cached", "field=dense"),
    "baseh3dnet, cached": ("method=baseh3dnet", "renderer=cached"),
    "idr, sphere_tracing": ("method=idr", "renderer=sphere_tracing"),
    "idr, cached": ("method=idr", "renderer=cached"),
}


def curve(setting: Setting, name: str) -> dict[str, Any]:
    """The curve of one of the runs: seconds since its start, face and head error (official protocol, mm)."""
    begun = time.monotonic()
    training = setting.training(*RUNS[name])
    truth = training.task.scene.ground_truth
    if truth is None:
        raise ConfigError("curves need a scene with ground truth, such as scene=demo")
    evaluator = Evaluator(truth, name=training.task.scene.name)
    seconds, points = time.monotonic() - begun, []
    # Colours alone say nothing of the surface: a method that fixes it is scored once.
    steps = 0 if training.task.cfg.method.surface_points else training.system.steps
    for wanted in sorted({round(look * steps) for look in LOOKS}):
        seconds += training.steps(wanted - training.done)
        points.append({"step": wanted, "seconds": round(seconds, 2), **_errors(training, evaluator, setting)})
        setting.say(f"{name}: " + ", ".join(f"{key} {value}" for key, value in points[-1].items()))
    return {"overrides": list(RUNS[name]), "device": str(training.device), "points": points}


def _errors(training: Training, evaluator: Evaluator, setting: Setting) -> dict[str, float | None]:
    try:
        prediction = Prediction(training.mesh(setting.extent.resolution))
        return {
            "face_mm": round(evaluator.evaluate(prediction, region="face_sphere").mean_mm, 4),
            "head_mm": round(evaluator.evaluate(prediction).mean_mm, 4),
        }
    except ReconError as error:
        log.warning("not scored: %s", error)
        return {"face_mm": None, "head_mm": None}


def draw(curves: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    """Two panels, face and head.

    Raises:
        ConfigError: there is no matplotlib.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError("plots need matplotlib: pip install 'headrecon[dev]'") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for panel, region in zip(panels, ("face", "head"), strict=True):
        for name, each in curves.items():
            points = [point for point in each["points"] if point[f"{region}_mm"] is not None]
            x, y = [p["seconds"] for p in points], [p[f"{region}_mm"] for p in points]
            panel.plot(x, y, "o-", markersize=3, label=name)
        panel.set_xscale("log")
        panel.set_xlabel("seconds, scoring left out")
        panel.set_ylabel(f"{region} error, mm (official)")
        panel.set_ylim(bottom=0)
        panel.spines[["top", "right"]].set_visible(False)
    panels[1].legend(fontsize=7, frameon=False)
    with replacing(out) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    pyplot.close(figure)
