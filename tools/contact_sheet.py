"""A contact sheet of synthetic heads, front, side and back: `python tools/contact_sheet.py out=sheet.jpg`.

Options, as `name=value`: out (picture), n (subjects), split, first (seed of the first), style (hair family;
drawn by default), columns (subjects per row), size (pixels of one picture).
"""

import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon.commands.command_line import options_of, run_tool
from recon.scene import Camera
from recon.synth import appearance_of, expose, load_head_model, make_subject, prepare
from recon.synth.datasets import cameras
from recon.synth.render import PreparedSubject, rgb

DEFAULTS = {
    "out": "sheet.jpg",
    "n": 24,
    "split": "train",
    "first": 0,
    "style": None,
    "columns": 4,
    "size": 224,
}
AZIMUTHS = (0.0, -65.0, 180.0)


def portrait(prepared: PreparedSubject, azimuth_deg: float, size: int) -> np.ndarray:
    """One picture, framed on the head; the shoulders may leave it."""
    vertices = prepared.subject.part("skin").vertices
    aim = np.array([0.0, 0.5 * (vertices[:, 1].max() + vertices[:, 1].min()) + 12.0, 0.0])
    focal = 0.94 * size * 850.0 / (np.ptp(vertices[:, 1]) + 20.0)
    intrinsics = np.array([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])
    pose = cameras.look_at(aim, azimuth_deg, 3.0, 850.0)
    return rgb(expose(prepared, Camera(intrinsics, pose, size, size)))


def main(arguments: list[str]) -> None:
    """Draws the subjects and writes the sheet."""
    options = options_of(DEFAULTS, arguments)
    model = load_head_model()
    cells = []
    for seed in range(options.first, options.first + options.n):
        started = time.perf_counter()
        subject = make_subject(seed, split=options.split, style=options.style, model=model)
        prepared = prepare(subject, appearance_of(subject.recipe, seed))
        cells.append(
            np.concatenate([portrait(prepared, azimuth, options.size) for azimuth in AZIMUTHS], axis=1)
        )
        family = subject.recipe["hair"]["style"]["family"] if subject.recipe["hair"] else "bald"
        print(f"{subject.name} {family}: {time.perf_counter() - started:.1f} s", flush=True)
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % options.columns)
    rows = [
        np.concatenate(cells[k : k + options.columns], axis=1) for k in range(0, len(cells), options.columns)
    ]
    Image.fromarray(np.concatenate(rows, axis=0)).save(options.out, quality=88)


if __name__ == "__main__":
    run_tool(main, __doc__)
