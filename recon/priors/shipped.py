"""The priors that ship with the project, by file name, with the hashes of their files and the names they had before."""

import logging
from functools import cache
from pathlib import Path

from recon.resources import PRIORS as FOLDER

log = logging.getLogger(__name__)

SHA256 = {
    "deepsdf-synth-v1.safetensors": "28e21b081d15b6ebf23632d98ecbd6f38c7904c394baab8acc402e32e82accf3",
    "pca-synth-v1.safetensors": "d607367b523ae4e5fd6dd7dc46f5f06618a4e6fd410a02d239041e36296e8a3b",
}
"""SHA-256 of each shipped file."""
OLD_FILES = {"linear-synth-v1.safetensors": "pca-synth-v1.safetensors"}
"""Names that shipped files had in earlier versions, and their present names."""


def shipped(name: str) -> Path:
    """Path of a shipped file."""
    return FOLDER / name


def located(path: str | Path) -> Path:
    """The path itself, or that of the shipped file where it names one by an old name, with one warning."""
    path = Path(path)
    if path.name in OLD_FILES and path.parent.name == FOLDER.name and not path.exists():
        return _renamed(path)
    return path


@cache  # one warning, however often the path is asked for
def _renamed(path: Path) -> Path:
    found = shipped(OLD_FILES[path.name])
    log.warning("%s is called %s now, and is read from %s", path, found.name, found)
    return found


def hash_of(path: str | Path) -> str | None:
    """The SHA-256 of a shipped file, or None for any other."""
    path = located(path)
    return SHA256.get(path.name) if path.resolve().parent == FOLDER else None
