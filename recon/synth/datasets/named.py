"""SynthHeads-10: ten people that never lived, fixed by recipe, for benchmarks.

Five have short hair or none, five have long, curly or tied hair; age, build and skin vary. The recipes are
frozen in `recon/assets/synthheads10.json`, so that later changes to how people are drawn leave them alone;
all of them belong to the test split.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recon.errors import ConfigError
from recon.synth.body.subject import draw_recipe
from recon.synth.model.head_model import HeadModel

SET_NAME = "synthheads10"
RECIPES = Path(__file__).resolve().parents[2] / "assets" / f"{SET_NAME}.json"
MANIFEST = RECIPES.with_name(f"{SET_NAME}_manifest.json")
"""Hashes of the files of all ten with the settings of `make_scenes.py`, as that wrote them."""
PERSON = ("age_years", "melanin", "hair_melanin", "hair_redness", "hair_grey", "stubble")
CAST: tuple[tuple[str, int, str, tuple[float, ...]], ...] = (
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
"""Name, seed in the test split, hair family, and `PERSON`: what the person is set to."""


def cast_recipes(model: HeadModel | None = None) -> list[dict[str, Any]]:
    """The recipes as the present code draws them; `named_recipes` gives the frozen ones.

    Raises:
        ConfigError: no head model.
    """
    recipes = []
    for name, seed, style, values in CAST:
        recipe = draw_recipe(seed, split="test", style=style, model=model)
        person = recipe["person"] | dict(zip(PERSON, values, strict=True))
        recipe |= {"name": name, "look": seed, "tags": [SET_NAME], "person": person, "beard": None}
        recipes.append(recipe)
    return recipes


def differing_files(made: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]] | None:
    """Which files of the ten differ from the published ones.

    Args:
        made: scenes by name as `recon.synth.datasets.batch.read_manifest` gives them.

    Returns:
        Names of differing or missing files by scene; None where nothing was published for these recipes and settings.
    """
    if not MANIFEST.is_file():
        return None
    published = json.loads(MANIFEST.read_text(encoding="utf-8"))["scenes"]
    if any(made.get(name, {}).get("key") != scene["key"] for name, scene in published.items()):
        return None
    return {
        name: [file for file, digest in scene["files"].items() if made[name]["files"].get(file) != digest]
        for name, scene in published.items()
    }


def named_recipes() -> list[dict[str, Any]]:
    """The ten frozen recipes.

    Raises:
        ConfigError: the file is missing from the installation.
    """
    if not RECIPES.is_file():
        raise ConfigError(f"{RECIPES} is missing: reinstall the package")
    recipes: list[dict[str, Any]] = json.loads(RECIPES.read_text(encoding="utf-8"))
    return recipes
