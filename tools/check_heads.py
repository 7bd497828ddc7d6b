"""Measures drawn heads against adult anatomy: python tools/check_heads.py n=300 truths=12.

Prints the spread of four measures beside their adult ranges, how many heads have crossed walls that show, and, for
`truths` whole subjects, whether their ground truth is one closed outward surface. Options, as `name=value`: n, truths,
split, spacing (mm, of the truths). Exits with 1 where something is wrong.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon.commands.command_line import options_of, run_tool
from recon.synth import HeadModel, draw_identity, load_head_model, make_subject, shape_head
from recon.synth.model import ADULT_RANGES_MM, TOLERANCE_MM3, anatomy, visible_defects_mm3

DEFAULTS = {"n": 300, "truths": 12, "split": "train", "spacing": 2.0}


def check_shapes(model: HeadModel, n: int, split: str) -> bool:
    """Prints the table of measures; True where all are adult and fewer than 1 % of heads have visible faults."""
    rows, faulty = [], 0
    for seed in range(n):
        drawn = draw_identity(model, seed, split)
        rows.append(anatomy(model, drawn))
        faulty += visible_defects_mm3(model, shape_head(model, drawn).skin) > TOLERANCE_MM3
    print(f"{n} heads of split {split}, mm")
    print(f"{'measure':>16}{'mean':>8}{'sd':>7}{'least':>8}{'most':>8}   adult range")
    sound = True
    for name, (low, high) in ADULT_RANGES_MM.items():
        values = np.array([row[name] for row in rows])
        sound &= bool(values.min() >= low and values.max() <= high)
        print(
            f"{name:>16}{values.mean():8.1f}{values.std():7.1f}{values.min():8.1f}{values.max():8.1f}"
            f"   {low:.0f} to {high:.0f}"
        )
    print(f"crossed walls that show: {faulty} heads ({100 * faulty / n:.1f} %)")
    return sound and faulty < 0.01 * n


def check_truths(model: HeadModel, count: int, split: str, spacing_mm: float) -> bool:
    """Prints one line per subject; True where every truth is one closed outward surface."""
    good = True
    for seed in range(count):
        subject = make_subject(seed, split=split, model=model, spacing_mm=spacing_mm)
        truth = subject.truth
        closed = bool(truth.is_watertight and truth.is_winding_consistent and truth.volume > 0)
        one = truth.body_count == 1
        good &= closed and one
        hair = subject.recipe["hair"]
        print(
            f"{subject.name}: {hair['style']['family'] if hair else 'bald':12} {len(truth.vertices):7} vertices, "
            f"{truth.volume / 1e6:.2f} l, {'closed' if closed else 'OPEN'}, {'one piece' if one else 'PIECES'}",
            flush=True,
        )
    return good


def main(arguments: list[str]) -> int:
    """Runs both checks."""
    options = options_of(DEFAULTS, arguments)
    model = load_head_model()
    shapes = check_shapes(model, int(options.n), str(options.split))
    truths = check_truths(model, int(options.truths), str(options.split), float(options.spacing))
    return 0 if shapes and truths else 1


if __name__ == "__main__":
    run_tool(main, __doc__)
