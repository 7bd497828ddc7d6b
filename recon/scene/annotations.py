"""Annotations of single photographs: ignored pixels, and landmarks.

`ignore/` holds pictures, each with the name or number of the mask that it belongs to. Their bright pixels are ignored:
photograph and mask are no evidence of the head there, as behind a hand. They are files of their own because grey in a
mask means something else: programs that cut out heads write soft edges and half transparent hair, in bands of any
width.

`landmarks/<name of the photograph>.json` holds {"nose_tip": [x, y], ...} in pixels, (0, 0) the photograph's upper left
corner, so that the middle of the first pixel is at (0.5, 0.5). Names are those of H3DS (right_eye, left_eye, nose_tip,
nose_base, right_lips, left_lips; left and right are the subject's) or landmark_00 to landmark_67 in the order of
Multi-PIE.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from recon.errors import SceneError
from recon.reading import numbers, read_json, reading, shortened, table
from recon.scene.pairing import files_in, partners, strays

IGNORE_FOLDER = "ignore"
LANDMARKS_FOLDER = "landmarks"


def ignore_paths(folder: Path, masks: Sequence[Path]) -> list[Path | None]:
    """The picture of ignored pixels that belongs to each mask (see `recon.scene.pairing`); None where there is none.

    Args:
        folder: The scene's folder.
        masks: The masks of its views, present or not.

    Raises:
        SceneError: A picture belongs to no mask, so that it would have no effect, or two belong to one.
    """
    pictures = files_in(folder / IGNORE_FOLDER)
    found = partners(masks, pictures, "pictures of ignored pixels")
    if stray := strays(pictures, found):
        raise SceneError(
            f"{stray[0]} has the name of no mask: name it like the mask whose pixels are to be ignored, "
            f"for instance {IGNORE_FOLDER}/{masks[0].stem}.png for {masks[0]}"
        )
    return [found.get(mask) for mask in masks]


def landmark_paths(folder: Path, images: Sequence[Path]) -> list[Path | None]:
    """The file of landmarks that belongs to each photograph (see `recon.scene.pairing`); None where there is none.

    Args:
        folder: The scene's folder.
        images: The photographs of its views, present or not.

    Raises:
        SceneError: A file belongs to no photograph, so that it would have no effect, or two belong to one.
    """
    files = files_in(folder / LANDMARKS_FOLDER, (".json",))
    found = partners(images, files, "files of landmarks")
    if stray := strays(files, found):
        raise SceneError(
            f"{stray[0]} has the name of no photograph: name it like the one that it belongs to, "
            f"for instance {LANDMARKS_FOLDER}/{images[0].stem}.json for {images[0]}"
        )
    return [found.get(image) for image in images]


def read_pixels(path: Path, width: int, height: int) -> dict[str, Float[np.ndarray, " 2"]]:
    """Landmarks of a photograph by name, (x, y) in pixels.

    Args:
        path: The file of landmarks.
        width: Width of the photograph in pixels.
        height: Height of the photograph in pixels.

    Raises:
        SceneError: The file holds something else, or a landmark lies outside the photograph.
    """
    with reading(path, SceneError, "landmarks in pixels", 'expected {"nose_tip": [x, y], ...}'):
        places = table(read_json(path))
    found = {}
    for name, value in places.items():
        try:
            place = numbers(value, (2,), name)
            inside = bool((place >= 0).all() and (place <= [width, height]).all())
        except ValueError:
            inside = False
        if not inside:
            raise SceneError(
                f"{path}: {shortened(name, 60)} is at {shortened(value, 60)}; expected [x, y] inside the photograph of "
                f"{width} x {height} pixels. Leave out landmarks that it does not show"
            )
        found[name] = place
    return found


def write_pixels(landmarks: Mapping[str, Float[np.ndarray, " 2"]], path: Path) -> None:
    """Write landmarks of a photograph in the form that `read_pixels` reads; the folder is made."""
    path.parent.mkdir(exist_ok=True)
    places = {name: [round(float(value), 3) for value in place] for name, place in landmarks.items()}
    path.write_text(json.dumps(places, indent=1) + "\n", encoding="utf-8")
