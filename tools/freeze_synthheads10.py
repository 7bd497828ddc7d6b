"""Draws the ten recipes of SynthHeads-10 and writes them: `python tools/freeze_synthheads10.py out=synthheads10.json`.

What it wrote is frozen in recon/assets/synthheads10.json, which is what `named_recipes` reads: later changes to how
people are drawn change what this writes, not the ten.

Options, as `name=value`: out (JSON file).
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon.commands.command_line import options_of, run_tool
from recon.files import replacing
from recon.synth import draw_recipe
from recon.synth.datasets import SET_NAME

DEFAULTS = {"out": f"{SET_NAME}.json"}
PERSON = ("age_years", "melanin", "hair_melanin", "hair_redness", "hair_grey", "stubble")
PEOPLE: tuple[tuple[str, int, str, tuple[float, ...]], ...] = (
    ("aldo", 9000, "bald", (61.0, 0.22, 0.60, 0.00, 0.40, 0.50)),
    ("bela", 9001, "buzz", (27.0, 0.92, 1.00, 0.00, 0.00, 0.20)),
    ("chen", 9002, "short", (38.0, 0.35, 0.97, 0.00, 0.02, 0.00)),
    ("dirk", 9003, "side_parted", (45.0, 0.12, 0.30, 0.05, 0.05, 0.40)),
    ("emre", 9004, "swept_back", (55.0, 0.45, 0.85, 0.00, 0.35, 0.00)),
    ("fara", 9015, "long", (29.0, 0.55, 0.90, 0.00, 0.00, 0.00)),
    ("gina", 9006, "curly", (34.0, 0.18, 0.55, 0.80, 0.00, 0.00)),
    ("hana", 9007, "bob", (41.0, 0.30, 0.98, 0.00, 0.00, 0.00)),
    ("imani", 9008, "afro", (24.0, 0.85, 1.00, 0.00, 0.00, 0.00)),
    ("jana", 9009, "ponytail", (22.0, 0.08, 0.08, 0.10, 0.00, 0.00)),
)
"""Name, seed in the test split, hair family, and the values of `PERSON`."""


def recipes() -> list[dict[str, Any]]:
    """The ten recipes as the present code draws them."""
    drawn = []
    for name, seed, style, values in PEOPLE:
        recipe = draw_recipe(seed, split="test", style=style)
        person = recipe["person"] | dict(zip(PERSON, values, strict=True))
        drawn.append(
            recipe | {"name": name, "look": seed, "tags": [SET_NAME], "person": person, "beard": None}
        )
    return drawn


def main(arguments: list[str]) -> None:
    """Writes the file."""
    options = options_of(DEFAULTS, arguments)
    with replacing(Path(options.out)) as temporary:
        temporary.write_text(json.dumps(recipes(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_tool(main, __doc__)
