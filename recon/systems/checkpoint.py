"""Checkpoints that a killed process cannot break, and that cannot run code when they are read."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO

from recon.errors import CheckpointError, StorageError
from recon.files import replacing
from recon.reading import check_archive, reading, table


class AtomicCheckpointIO(CheckpointIO):
    """Writes to a temporary file in the same folder, flushes it to disk and renames it into place.

    Lightning's own writer goes through the system's temporary folder and hides a failed move
    (pytorch-lightning issue 21800).
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any = None
    ) -> None:
        """Save; on failure the file that was there stays, and `CheckpointError` says why."""
        try:
            # A file of Python's, since PyTorch's own writer does not say why it failed.
            with replacing(Path(path)) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
        except (StorageError, OSError) as error:
            raise CheckpointError(f"Could not write the checkpoint: {error}") from error

    def load_checkpoint(
        self, path: str | os.PathLike, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load tensors and plain values only."""
        return load_checkpoint(Path(path), map_location)

    def remove_checkpoint(self, path: str | os.PathLike) -> None:
        """Remove, if it is there."""
        Path(path).unlink(missing_ok=True)


def load_checkpoint(path: Path, map_location: Any = None) -> dict[str, Any]:
    """A checkpoint's tensors and plain values.

    Args:
        path: of the file.
        map_location: where tensors go; None for the CPU, wherever they were saved, so that a run of a GPU can be read
            where there is none. Lightning moves them on.

    Raises:
        CheckpointError: if there is no such file or it is not a checkpoint.
    """
    if not path.is_file():
        raise CheckpointError(
            f"There is no checkpoint {path}; resume takes the folder of a run that has saved one."
        )
    with reading(path, CheckpointError, "a checkpoint of this project"):
        check_archive(path)
        return table(torch.load(path, map_location=map_location or "cpu", weights_only=True))
