"""The priors that ship with the project, by file name, and what their files hash to."""

from pathlib import Path

from recon.resources import PRIORS as FOLDER

SHA256 = {
    "deepsdf-synth-v1.safetensors": "b04d6c1c0756abda3e4f302df5337b8f043d553f0270e27dc33773af8bedfc5c",
    "linear-synth-v1.safetensors": "7db9435b05cc34ffa130d4de5a7145944cdc87dee240f969e8d01860dfeb48c1",
}


def shipped(name: str) -> Path:
    """Path of a shipped file."""
    return FOLDER / name


def hash_of(path: str | Path) -> str | None:
    """The SHA-256 of a shipped file, or None for any other."""
    path = Path(path)
    return SHA256.get(path.name) if path.resolve().parent == FOLDER else None
