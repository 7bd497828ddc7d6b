"""The README's picture: python tools/make_figure.py run=RUN_FOLDER out=docs/demo.png.

Photographs that the run was given, and below them what it made of views that it never saw.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon.commands.command_line import options_of, run_tool
from recon.errors import ConfigError
from recon.systems.report.pictures import write_png

DEFAULTS = {"run": None, "out": "docs/demo.png"}


def main(arguments: list[str]) -> None:
    """Compose the figure from a run's renders."""
    options = options_of(DEFAULTS, arguments)
    if options.run is None:
        raise ConfigError("run= is missing: the folder of a finished run")
    run = Path(options.run)
    metrics = json.loads((run / "metrics.json").read_text())
    inputs = sorted((run / "renders").glob("input_*.png"))[:3]
    others = sorted((run / "renders").glob("heldout_*.png"))[:5]
    photographs = [_panels(path)[0] for path in inputs]
    rows = [
        _row(f"{len(metrics['views'])} photographs in", photographs, len(others)),
        _row("views that it never saw, rendered", [_panels(path)[1] for path in others], len(others)),
        _row("their surface (normals)", [_panels(path)[2] for path in others], len(others)),
        _row("what a camera would have seen there", [_panels(path)[0] for path in others], len(others)),
    ]
    write_png(Path(options.out), np.concatenate(rows))


def _panels(path: Path) -> list[np.ndarray]:
    """Photo, render, normals and error of a sheet."""
    return np.split(np.asarray(Image.open(path).convert("RGB")) / 255.0, 4, axis=1)


def _row(title: str, panels: list[np.ndarray], count: int) -> np.ndarray:
    """Panels side by side on white under a line of text."""
    height, width = panels[0].shape[:2]
    image = np.ones((height, width * count, 3))
    for i, panel in enumerate(panels):
        image[:, i * width : (i + 1) * width] = panel
    strip = Image.new("RGB", (width * count, 22), "white")
    ImageDraw.Draw(strip).text((6, 5), title, fill="black", font_size=13)
    return np.concatenate([np.asarray(strip) / 255.0, image])


if __name__ == "__main__":
    run_tool(main, __doc__)
