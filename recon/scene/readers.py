"""The formats of scenes that can be opened: `READERS`, one reader for each.

A new format is one file of this folder with a reader, and one entry in `READERS`. Nothing else knows a format's file
names: errors quote `SceneReader.looked_for`, and the paths in the `Scene` that a reader returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from recon.scene.h3ds.reader import H3DSReader
from recon.scene.idr import IDRReader
from recon.scene.scene import Scene


@runtime_checkable
class SceneReader(Protocol):
    """The reader of one format of scenes on disk."""

    @property
    def name(self) -> str:
        """The format's name, for messages."""

    @property
    def looked_for(self) -> tuple[str, ...]:
        """Glob patterns, relative to a scene's folder, of files that every scene of the format has; for messages."""

    def matches(self, folder: Path) -> bool:
        """Whether a folder that exists holds a scene of this format; looks at names only."""

    def read(self, folder: Path, *, pixel_centre: float | None = None) -> Scene:
        """Read the scene's description; photographs, masks and meshes are opened when they are asked for.

        The reader converts cameras to the conventions of `recon.scene.Camera`. It gives every view the paths of its
        mask and annotations, present or not, and the scene a `CameraSource`, so that validation can name them.

        Args:
            folder: A folder that matches.
            pixel_centre: Coordinate of the centre of the first pixel in the files' cameras; None takes the format's
                own convention.

        Raises:
            SceneError: The files that describe the scene are broken; the message names the file.
        """


READERS: tuple[SceneReader, ...] = (H3DSReader(), IDRReader())
"""All formats; the first reader that matches a folder reads it, so special cases stand before general ones."""


def reader_of(folder: Path) -> SceneReader | None:
    """The reader of a folder's format, or None where no format matches."""
    try:
        return next((reader for reader in READERS if reader.matches(folder)), None)
    except OSError:  # a folder that may not be looked into
        return None


def scenes_below(folder: Path) -> list[str]:
    """Names of the scenes directly below a folder, sorted; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and reader_of(path) is not None
    )
