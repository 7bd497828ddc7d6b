"""The priors that ship with the project, by file name, with the hashes of their files."""

from pathlib import Path

from recon.errors import PriorError
from recon.resources import PRIORS as FOLDER

PCA = "pca-synth-v3.safetensors"
"""Name of the file of the linear shape model."""
SHA256 = {
    "deepsdf-synth-v1.safetensors": "28e21b081d15b6ebf23632d98ecbd6f38c7904c394baab8acc402e32e82accf3",
    PCA: "5d39852343e1dda620533b9b09ea134377aacdc5f3511490e714c0d50ba317be",
}
"""SHA-256 of each shipped file."""
RETIRED = dict.fromkeys(
    ("linear-synth-v1.safetensors", "pca-synth-v1.safetensors", "pca-synth-v2.safetensors"), PCA
)
"""Names of files that no longer ship, and those that took their places."""


def shipped(name: str) -> Path:
    """Path of a shipped file."""
    return FOLDER / name


def located(path: str | Path) -> Path:
    """The path itself.

    Raises:
        PriorError: It is that of a file that no longer ships, and is not there.
    """
    path = Path(path)
    if path.name in RETIRED and path.parent.name == FOLDER.name and not path.exists():
        raise PriorError(
            f"the prior {path.name} no longer ships, {RETIRED[path.name]} took its place; runs that were made with it "
            f"cannot go on with the other: start anew, or put the file of an earlier version at {path}"
        )
    return path


def hash_of(path: str | Path) -> str | None:
    """The SHA-256 of a shipped file, or None for any other."""
    path = located(path)
    return SHA256.get(path.name) if path.resolve().parent == FOLDER else None
