"""SynthHeads-10: ten people that never lived, fixed by recipe, for benchmarks.

Five have short hair or none, five have long, curly or tied hair; age, build and skin vary. The recipes are frozen in
`recon/assets/synthheads10.json` (tools/freeze_synthheads10.py drew them), so that later changes to how people are drawn
leave them alone; all of them belong to the test split.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recon.errors import ConfigError

SET_NAME = "synthheads10"
RECIPES = Path(__file__).resolve().parents[2] / "assets" / f"{SET_NAME}.json"
MANIFEST = RECIPES.with_name(f"{SET_NAME}_manifest.json")
"""Hashes of the files of all ten with the settings of `make_scenes.py`, as that wrote them."""


def named_recipes() -> list[dict[str, Any]]:
    """Reads the ten frozen recipes.

    Raises:
        ConfigError: the file is missing from the installation.
    """
    if not RECIPES.is_file():
        raise ConfigError(f"{RECIPES} is missing: reinstall the package")
    recipes: list[dict[str, Any]] = json.loads(RECIPES.read_text(encoding="utf-8"))
    return recipes


def differing_files(made: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]] | None:
    """Compares the files of the ten with the published hashes.

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
