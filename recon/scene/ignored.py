"""Pixels that say nothing of the head: pictures in `ignore/`, each named like the mask that it belongs to.

They are files of their own because grey in a mask means something else: programs that cut out heads write soft
edges and half transparent hair, in bands of any width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recon.errors import SceneError
from recon.scene.images import pictures_in

FOLDER = "ignore"


def ignore_paths(folder: Path, masks: Sequence[Path]) -> list[Path | None]:
    """The picture of ignored pixels that belongs to each mask; None where there is none.

    Args:
        folder: The scene's folder.
        masks: The masks of its views, present or not.

    Raises:
        SceneError: A picture has the name of no mask, so that it would have no effect.
    """
    by_stem = {path.stem: path for path in pictures_in(folder / FOLDER)}
    stray = sorted(by_stem.keys() - {mask.stem for mask in masks})
    if stray:
        raise SceneError(
            f"{by_stem[stray[0]]} has the name of no mask: name it like the mask whose pixels are to be ignored, "
            f"for instance {FOLDER}/{masks[0].stem}.png for {masks[0]}"
        )
    return [by_stem.get(mask.stem) for mask in masks]
