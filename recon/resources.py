"""Folders that ship with the project: conf/ and priors/ stand beside recon/ in a checkout and inside it in a wheel."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
"""Folder of this package."""


def folder(name: str, package: Path = PACKAGE) -> Path:
    """Path of a folder that stands at the top of the repository; setup.py carries it into wheels as `recon/_<name>`."""
    carried = package / f"_{name}"
    return carried if carried.is_dir() else package.parent / name


CONF = folder("conf")
"""Hydra's configuration."""

PRIORS = folder("priors")
"""Shape models and source subjects."""

ASSETS = PACKAGE / "assets"
"""The demo subject and the recipes of SynthHeads-10."""

CHECKOUT = PACKAGE.parent if CONF.parent == PACKAGE.parent else None
"""Top of the repository; None where the package is installed from a wheel."""
