"""Maps of what a portrait shows, pixel by pixel: their names, conventions and pictures.

Maps are arrays over the picture's pixels, each the value at the pixel's centre. Directions are in camera axes (x right,
y down, z forward). The canonical frame is that of heads (`recon.geometry.frames`), mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8

PARTS = (
    "background",
    "skin",
    "eyes",
    "lips",
    "brows",
    "hair",
    "beard",
    "ear",
    "neck",
    "clothes",
    "eyewear",
    "occluder",
)
"""Names of the parts by their number; `occluder` is whatever else hides a head, worn or not: hats, masks, scarves,
hands, telephones, microphones."""
BACKGROUND, SKIN, EYES, LIPS, BROWS, HAIR, BEARD, EAR, NECK, CLOTHES, EYEWEAR, OCCLUDER = range(len(PARTS))
SKINS = (SKIN, EYES, LIPS, BROWS, EAR, NECK)
"""Parts whose canonical coordinates are those of the point of the mean head that they correspond to."""
HAIRS = (HAIR, BEARD)
"""Parts whose canonical coordinates are their own place, brought to the mean head by the similarity of the landmarks of
the head at rest, and which have a direction of growth."""
COLOURS = np.array(
    [[40, 40, 48], [232, 182, 152], [255, 255, 255], [214, 72, 92], [120, 72, 40], [150, 92, 220], [96, 60, 150],
     [240, 150, 90], [196, 150, 126], [70, 130, 190], [250, 220, 60], [90, 200, 120]], np.uint8
)  # fmt: skip
"""Colours of the parts in pictures."""
CANONICAL_LOW_MM, CANONICAL_HIGH_MM = (-120.0, -200.0, -150.0), (120.0, 180.0, 150.0)
"""Range of canonical coordinates in pictures."""


@dataclass(frozen=True, eq=False)
class PortraitMaps:
    """What a network sees in a square crop of a photograph, for each pixel of the crop.

    Attributes:
        alpha: Share of each pixel that shows the person or what the person wears.
        parts: Probability of each of `PARTS`.
        normals: Unit surface normals, camera axes.
        normal_concentration: How sure a normal is: the larger, the less it scatters (von Mises–Fisher).
        canonical: Point of the mean head that is seen, mm, for `SKINS` and `HAIRS`.
        canonical_sigma: Its standard deviation along each axis, mm.
        strand: Unit direction in the picture from root to tip of the hair seen (x right, y down).
        depth: Distance from the camera relative to that of the head's origin, mm, away from the camera; hair alone.
    """

    alpha: Float32[np.ndarray, "h w"]
    parts: Float32[np.ndarray, "h w parts"]
    normals: Float32[np.ndarray, "h w 3"]
    normal_concentration: Float32[np.ndarray, "h w"]
    canonical: Float32[np.ndarray, "h w 3"]
    canonical_sigma: Float32[np.ndarray, "h w 3"]
    strand: Float32[np.ndarray, "h w 2"]
    depth: Float32[np.ndarray, "h w"]

    def labels(self) -> UInt8[np.ndarray, "h w"]:
        """Number of the most probable part."""
        return self.parts.argmax(axis=2).astype(np.uint8)


def draw_parts(labels: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Draws parts, each in its colour."""
    result: np.ndarray = COLOURS[labels]
    return result


def draw_directions(
    vectors: Float[np.ndarray, "h w 3"], shown: np.ndarray | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Draws unit normals as colours: right is red, up is green, towards the camera is blue."""
    colour = np.rint((vectors * [1.0, -1.0, -1.0] + 1.0) * 127.5).astype(np.uint8)
    return colour if shown is None else np.where(shown[..., None], colour, np.uint8(40))


def draw_canonical(
    points: Float[np.ndarray, "h w 3"], shown: np.ndarray | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Draws canonical coordinates as colours over their range."""
    low, high = np.array(CANONICAL_LOW_MM), np.array(CANONICAL_HIGH_MM)
    colour = np.rint(np.clip((points - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return colour if shown is None else np.where(shown[..., None], colour, np.uint8(40))


def draw_strands(directions: Float[np.ndarray, "h w 2"], shown: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    """Draws directions of hair as HairStep does: red is hair, green grows downwards, blue to the picture's left."""
    colour = np.full((*shown.shape, 3), 255.0)
    colour[..., 1] = (directions[..., 1] + 1) * 127.5
    colour[..., 2] = (1 - directions[..., 0]) * 127.5
    return np.where(shown[..., None], np.rint(colour), 40).astype(np.uint8)
