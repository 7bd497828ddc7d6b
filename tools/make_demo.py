"""Makes the demo subject that ships with the project: `python tools/make_demo.py out=recon/assets/heads`.

Needs the head model ($H3D_HEAD_MODEL). The same options give the same bytes. Options, as `name=value`: out
(folder, an H3DS root), seed, style, views, vertices (of the ground truth), appearance (seed of colours and light).
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon.commands.command_line import options_of, run_tool
from recon.geometry import decimate
from recon.synth import appearance_of, default_path, load_head_model, make_subject
from recon.synth.datasets import cameras, scenes

DEFAULTS = {
    "out": "recon/assets/heads",
    "seed": 14,
    "style": None,
    "appearance": 13,
    "views": 28,
    "vertices": 20000,
}
NAME = "demo"
README = """# The demo subject

`demo/` is a person that never lived: a procedural head with hair, skin, eyes, clothes and light, photographed
{views} times all round by a virtual hand-held tablet. The folder is an H3DS root (version.txt, config.toml);
the ground truth `demo/full_head.obj` is in millimetres. `demo/recipe.json` holds every number that was drawn.

Made by

    python tools/make_demo.py {options}

from the public ICT-FaceKit Light head model (shape only; hair, skin, clothes and light are this project's
own). The same command gives the same bytes.

The head's shape derives from ICT-FaceKit, (c) 2020 USC Institute for Creative Technologies, MIT: see
LICENSE-ICT-FaceKit.txt. Everything else here is under this project's own MIT licence.
"""


def main(arguments: list[str]) -> None:
    """Draws, photographs and writes the demo."""
    options = options_of(DEFAULTS, arguments)
    started = time.perf_counter()
    model = load_head_model()
    licence = str(np.load(default_path())["licence"]).strip()
    subject = replace(make_subject(options.seed, style=options.style, model=model), name=NAME)
    print(f"shape: {time.perf_counter() - started:.1f} s")
    appearance = appearance_of(subject.recipe, options.appearance)
    orbit = cameras.draw_orbit(
        options.views, np.asarray(subject.truth.vertices), np.random.default_rng([options.seed, 0xCA])
    )
    root = Path(options.out)
    scenes.write_subject_scene(
        root,
        subject,
        appearance,
        orbit,
        scenes.draw_placement(np.random.default_rng([options.seed, 0xF0])),
        truth=decimate(subject.truth, options.vertices),
        tags=("synthetic",),
        mesh_decimals=2,
        mask_bits=1,
        overwrite=True,
    )
    chosen = {name: getattr(options, name) for name in DEFAULTS if name != "out"}
    shown = " ".join(f"{name}={value}" for name, value in chosen.items() if value is not None)
    (root / "README.md").write_text(README.format(views=options.views, options=shown), encoding="utf-8")
    (root / "LICENSE-ICT-FaceKit.txt").write_text(licence + "\n", encoding="utf-8")
    (root / ".lock").unlink(missing_ok=True)
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    print(f"{root}: {size / 2**20:.2f} MB in {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    run_tool(main, __doc__)
