"""Whether a head depends on its scene's world: python tools/benchmark_invariance.py scene=demo views=3 changes=20.

The world of a scene with ground truth is turned, moved and scaled at random, and each photograph is stored after
quarter turns of its own; the instant method makes a head of what it is given, which is brought back and scored. The
table has the errors of the scene as it is in its first row, then those of each change, and at last the largest
deviation from the first row in percent. One photograph leaves the size of a head open, so that its strict errors
(without a scale) follow what the unit of the world says of it. About 20 seconds a change, of three photographs on one
core.

Options, as `name=value`:
    scene    demo, or a folder with ground truth
    views    a number, or a list
    changes  number of changes
    scale    largest scale; scales are spread evenly by ratio from its inverse
    seed     of the changes
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon import scene as scenes
from recon.commands.command_line import options_of, run_tool, say
from recon.evaluation.tables import markdown_table
from recon.priors import PCAPrior
from recon.resources import ASSETS
from recon.systems.stages import observe, select_views
from tools.benchmark_photographs import PRIOR, scores, shipped

DEFAULTS = {"scene": "demo", "views": 3, "changes": 20, "scale": 30.0, "seed": 0}
COLUMNS = {
    "face_mm": "face", "head_mm": "head", "face_mm_strict": "face strict", "head_mm_strict": "head strict"
}  # fmt: skip
MOVED_MM = 500.0
"""Standard deviation of each coordinate by which worlds are moved, mm of the scene as it is."""


def main(arguments: Sequence[str]) -> None:
    """Fits, scores, and prints each row as it is known."""
    cfg = options_of(DEFAULTS, arguments)
    logging.getLogger("recon").setLevel(logging.ERROR)
    scene = scenes.open(ASSETS / "heads" / "demo" if cfg.scene == "demo" else str(cfg.scene))
    views = select_views(scene, cfg.views)
    given, prior = observe(scene, views), PCAPrior(str(shipped(PRIOR)))
    rng = np.random.default_rng(cfg.seed)
    changes = [(np.eye(4), [0] * len(views))]
    changes += [random_change(rng, len(views), float(cfg.scale)) for _ in range(cfg.changes)]
    errors, lines = [], []
    for number, (world, turns) in enumerate(changes):
        head = prior.fit(given.turned(turns).transformed(world))
        back = replace(head.fit, canonical_from_world=head.fit.canonical_from_world @ world)
        errors.append(scores(scene, head._replace(fit=back), given.world_from_unit))
        scale = np.cbrt(np.linalg.det(world[:3, :3]))
        rolls = " ".join(str(90 * turn) for turn in turns)
        values = [f"{errors[-1][key]:.4f}" for key in COLUMNS]
        lines.append((str(number) if number else "as it is", f"{scale:.4g}", rolls, *values))
        say("  ".join(lines[-1]))
    table = np.array([[row[key] for key in COLUMNS] for row in errors])
    worst = 100 * np.abs(table / table[0] - 1).max(axis=0)
    lines.append(("largest deviation", "", "", *(f"{percent:.2g} %" for percent in worst)))
    say("\n".join(markdown_table(("change", "scale", "rolls", *COLUMNS.values()), lines)))


def random_change(
    rng: np.random.Generator, views: int, scale: float
) -> tuple[Float[np.ndarray, "4 4"], list[int]]:
    """A similarity of the world, and the number of quarter turns of each picture."""
    world = np.eye(4)
    larger = float(np.exp(rng.uniform(-1, 1) * np.log(scale)))
    world[:3, :3] = larger * Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    world[:3, 3] = larger * rng.normal(0, MOVED_MM, 3)
    return world, [int(turn) for turn in rng.integers(4, size=views)]


if __name__ == "__main__":
    run_tool(main, __doc__)
