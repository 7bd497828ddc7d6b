"""How well renders of runs keep the photographs' colours: python tools/measure_colours.py runs=[RUN,RUN].

For the pictures renders/input_*.png and renders/heldout_*.png of each run: standard deviation of L*, a* and b* over the
head in the render, as a share of the photograph's, their correlation, and PSNR where photograph and render both show
the head, without the outermost pixel. Options, as `name=value`: runs (folders), eroded (pixels left out at the edge).
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import binary_erosion
from skimage.color import rgb2lab

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon.commands.command_line import options_of, run_tool, say
from recon.errors import ConfigError
from recon.evaluation import psnr
from recon.evaluation.tables import markdown_table

DEFAULTS = {"runs": [], "eroded": 1}
MASK_ALONE, RENDER_ALONE, IGNORED = (0.0, 0.8, 0.9), (0.9, 0.0, 0.8), (0.7, 0.7, 0.7)
"""Colours of the panel of errors: `recon.systems.report.pictures.Comparison.sheet`."""


def panels(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photograph, render, and where both show the head."""
    sheet = np.asarray(Image.open(path).convert("RGB")) / 255.0
    photo, render, normals, error = np.split(sheet, 4, axis=1)
    left_out = [np.abs(error - colour).max(axis=2) < 0.01 for colour in (MASK_ALONE, RENDER_ALONE, IGNORED)]
    return photo, render, (normals < 0.999).any(axis=2) & ~np.any(left_out, axis=0)


def measured(path: Path, eroded: int) -> list[float]:
    """Ratios of standard deviations, correlations, and PSNR of one picture."""
    photo, render, both = panels(path)
    inner = binary_erosion(both, iterations=eroded) if eroded else both
    a, b = rgb2lab(photo)[inner], rgb2lab(render)[inner]
    ratios = (b.std(axis=0) / a.std(axis=0)).tolist()
    correlations = [float(np.corrcoef(a[:, k], b[:, k])[0, 1]) for k in range(3)]
    return [*ratios, *correlations, psnr(render, photo, inner)]


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    options = options_of(DEFAULTS, arguments)
    rows = []
    for run in map(Path, options.runs):
        for kind in ("input", "heldout"):
            paths = sorted((run / "renders").glob(f"{kind}_*.png"))
            if kind == "input" and not paths:
                raise ConfigError(f"runs={run}: there is no renders/input_*.png")
            if paths:
                mean = np.mean([measured(path, int(options.eroded)) for path in paths], axis=0)
                rows.append([str(run), kind, *(f"{value:.2f}" for value in mean)])
    titles = [
        "run",
        "views",
        *(f"{k} σ" for k in ("L*", "a*", "b*")),
        *(f"{k} r" for k in ("L*", "a*", "b*")),
        "PSNR",
    ]
    for line in markdown_table(titles, rows):
        say(line)


if __name__ == "__main__":
    run_tool(main, __doc__)
