"""Plots error against time of a benchmark's rows: `python tools/plot_benchmark.py results=results.json out=plot.png`.

One point for each method (or label of `overrides=`) and number of views: mean over subjects, official protocol. Needs
matplotlib (the `dev` extra). Options, as `name=value`: results, out, views (only this number), title.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon.commands.command_line import options_of, run_tool
from recon.errors import ConfigError
from recon.files import replacing

DEFAULTS = {"results": "runs/benchmark/results.json", "out": "benchmark.png", "views": None, "title": ""}


def main(arguments: Sequence[str]) -> None:
    """Reads the runs, draws, writes."""
    options = options_of(DEFAULTS, arguments)
    path = Path(options.results)
    if not path.is_file():
        raise ConfigError(f"results={path} does not exist: headrecon-benchmark writes it")
    points = means(json.loads(path.read_text())["runs"], options.views)
    if not points:
        raise ConfigError(f"{path} holds no run with views={options.views}")
    draw(points, Path(options.out), options.title)


def means(runs: Sequence[dict], views: int | None) -> dict[tuple[str, int], tuple[float, float, float]]:
    """Mean training seconds, face and head error of each (method, number of views)."""
    groups = defaultdict(list)
    for run in runs:
        metrics, cell = run.get("metrics") or {}, run["cell"]
        if metrics.get("face_mm") is not None and views in (None, cell["views"]):
            groups[cell["method"], cell["views"]].append(
                (metrics["train_s"], metrics["face_mm"], metrics["head_mm"])
            )
    return {key: tuple(np.mean(group, axis=0)) for key, group in groups.items()}


def draw(points: dict[tuple[str, int], tuple[float, float, float]], out: Path, title: str) -> None:
    """Two panels, face and head."""
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError("plots need matplotlib: pip install 'headrecon[dev]'") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    several = len({views for _, views in points}) > 1
    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for panel, name, column in zip(panels, ("face", "head"), (1, 2), strict=True):
        for (method, views), values in sorted(points.items(), key=lambda item: item[1][0]):
            panel.plot(values[0], values[column], "o", color="C0")
            label = f"{method}, {views}" if several else method
            panel.annotate(label, (values[0], values[column]), (5, 4), textcoords="offset points", fontsize=8)
        panel.set_xlabel("training, seconds")
        panel.set_ylabel(f"{name} error, mm (official)")
        panel.set_ylim(0, 1.1 * panel.get_ylim()[1])
        panel.set_xlim(left=0)
        panel.margins(x=0.2)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    with replacing(out) as temporary:
        figure.savefig(temporary, dpi=110)


if __name__ == "__main__":
    run_tool(main, __doc__)
