"""Outlines of masks as rays, and pixels that say inside or outside, for fits to masks.

Points are evenly spaced and stay away from ignored pixels and from the border; for whole smooth curves, and for
comparing two masks, see `recon.geometry.outlines`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt
from skimage.measure import find_contours

from recon.scene import Camera

IGNORED_MARGIN_PX = 3.0
"""Outlines nearer than this to ignored pixels are left out: an occluder drew them, or its mask is inexact."""


@dataclass(frozen=True)
class Contours:
    """Rays of world space through the outlines of masks, and through pixels on either side of them.

    Attributes:
        origins: Origins of the rays through the outlines, mm.
        directions: Their directions, unit vectors.
        inside_origins: Origins of rays through pixels spread evenly over the pictures, mm.
        inside_directions: Their directions, unit vectors.
        inside: Whether the mask has the head at those pixels.
    """

    origins: Float[np.ndarray, "rays 3"]
    directions: Float[np.ndarray, "rays 3"]
    inside_origins: Float[np.ndarray, "pixels 3"]
    inside_directions: Float[np.ndarray, "pixels 3"]
    inside: Bool[np.ndarray, " pixels"]


def contour_rays(
    cameras: Sequence[Camera],
    masks: Sequence[Bool[np.ndarray, "_ _"]],
    ignored: Sequence[Bool[np.ndarray, "_ _"]] | None = None,
    *,
    per_view: int = 240,
    pixels_per_view: int = 400,
    border: float = 4.0,
) -> Contours:
    """Makes rays through points spread evenly along the outlines of masks, and through a lattice of pixels.

    Outlines along the border of the picture are not the head's and are left out, and so are ignored pixels and
    outlines that touch them.

    Args:
        cameras: One for each mask, world mm.
        masks: True where the head is.
        ignored: Pixels for which the masks are not valid, for each mask; none or empty where every pixel is valid.
        per_view: Number of rays of each outline.
        pixels_per_view: Approximate number of pixels of each picture.
        border: Width of the margin without outlines, pixels.
    """
    outline, lattice, inside = [], [], []
    unknowns = ignored or [np.zeros_like(mask) for mask in masks]
    for camera, mask, unknown in zip(cameras, masks, unknowns, strict=True):
        height, width = mask.shape
        outline.append(camera.rays(outline_points(mask, per_view, border, unknown)))
        step = np.sqrt(height * width / pixels_per_view)
        rows, columns = np.meshgrid(
            np.arange(step / 2, height, step), np.arange(step / 2, width, step), indexing="ij"
        )
        valid = ~unknown[rows.astype(int), columns.astype(int)]
        lattice.append(camera.rays(np.column_stack([columns[valid], rows[valid]])))
        inside.append(mask[rows.astype(int), columns.astype(int)][valid])
    origins, directions = (np.concatenate(part) for part in zip(*outline, strict=True))
    inside_origins, inside_directions = (np.concatenate(part) for part in zip(*lattice, strict=True))
    return Contours(origins, directions, inside_origins, inside_directions, np.concatenate(inside))


def outline_points(
    mask: Bool[np.ndarray, "h w"], count: int, border: float, ignored: Bool[np.ndarray, "h w"] | None = None
) -> Float[np.ndarray, "points 2"]:
    """Points (x, y) evenly spaced along a mask's outline, pixel centres at + 0.5.

    Args:
        mask: True where the head is.
        count: Largest number of points.
        border: Width of the margin of the picture without outlines, pixels.
        ignored: Pixels for which the mask is not valid; there are no points on them or next to them.
    """
    height, width = mask.shape
    pieces = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)
    # An array index of the padded mask is the pixel's centre: + 0.5, less the padding of 1.
    curve = np.concatenate([_resampled(piece[:, ::-1] - 0.5) for piece in pieces] or [np.zeros((0, 2))])
    x, y = curve.T
    kept = (x > border) & (x < width - border) & (y > border) & (y < height - border)
    if ignored is not None and ignored.any():
        away = distance_transform_edt(~ignored) > IGNORED_MARGIN_PX
        kept &= away[np.clip(y, 0, height - 1).astype(int), np.clip(x, 0, width - 1).astype(int)]
    curve = curve[kept]
    if len(curve) == 0:
        return curve
    return curve[np.linspace(0, len(curve) - 1, min(count, len(curve))).round().astype(int)]


def _resampled(curve: np.ndarray) -> np.ndarray:
    """Resamples a polyline at points one pixel apart."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    at = np.arange(0.0, along[-1], 1.0)
    return np.column_stack([np.interp(at, along, curve[:, axis]) for axis in (0, 1)])
