"""The coarse visual hull of a scene in unit space, by which masks and cameras are checked against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from recon.scene.camera import Camera

RESOLUTION = 40
# With many views a few inexact masks must not empty the hull: this share of them may be outliers at a voxel.
OUTLIER_SHARE = 0.1
# Radius of a disc as large as a mask shows a head: a child's alone has 70, one with broad shoulders 250.
HEAD_RADIUS_MM, TYPICAL_MM = (40.0, 500.0), 164.0
UNITS_MM = {"millimetres": 1.0, "metres": 1000.0, "centimetres": 10.0}


@dataclass(frozen=True, eq=False)
class Silhouette:
    """One mask seen from a camera in unit space, both reduced to cells of about one voxel.

    Attributes:
        camera: Camera in unit space, in pixels of the full mask.
        cell: Side of a cell in pixels.
        possible: (rows, columns) cells with any foreground or ignored pixel: what carving must keep.
        foreground: (rows, columns) cells of mostly foreground within the sphere's outline: what the hull must cover.
        pixels: Number of foreground pixels that are not ignored.
        outside_share: Share of those whose rays miss the unit sphere.
        ignored_share: Share of ignored pixels among those that may be foreground, within the sphere's outline.
        index: View index.
    """

    camera: Camera
    cell: int
    possible: Bool[np.ndarray, "rows columns"]
    foreground: Bool[np.ndarray, "rows columns"]
    pixels: int
    outside_share: float
    ignored_share: float
    index: int

    @classmethod
    def from_mask(
        cls, camera: Camera, mask: Bool[np.ndarray, "h w"], index: int, ignored: Bool[np.ndarray, "h w"]
    ) -> Silhouette:
        """Reduce a mask to cells of about one voxel at the distance of the sphere's centre.

        Ignored pixels may be foreground or not: they carve nothing away, and the hull need not cover them.
        """
        depth = max(float(np.linalg.norm(camera.centre)), 1e-9)
        voxel_px = camera.intrinsics[0, 0] / depth * 2 / RESOLUTION
        cell = int(np.clip(voxel_px, 1, max(mask.shape)))
        rows, columns = -(-mask.shape[0] // cell), -(-mask.shape[1] // cell)
        certain = mask & ~ignored

        def share_of(pixels: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "rows columns"]:
            padded = np.zeros((rows * cell, columns * cell), dtype=bool)
            padded[: mask.shape[0], : mask.shape[1]] = pixels
            return padded.reshape(rows, cell, columns, cell).mean(axis=(1, 3))

        share = share_of(certain)
        v, u = np.mgrid[:rows, :columns]
        centres = (np.stack([u, v], axis=-1).reshape(-1, 2) + 0.5) * cell
        hits = hits_sphere(camera, centres).reshape(rows, columns)
        total = share.sum()
        outside = float(share[~hits].sum() / total) if total else 0.0
        possible = share_of(mask | ignored)
        unknown = float(share_of(ignored)[hits].sum() / max(possible[hits].sum(), 1e-9))
        foreground = (share > 0.5) & hits
        return cls(camera, cell, possible > 0, foreground, int(certain.sum()), outside, unknown, index)

    def radius(self) -> float:
        """Radius in unit space of a disc of the mask's area at the distance of the sphere's centre."""
        return disc_radius(self.camera, self.pixels)

    def cells(self, points: Float[np.ndarray, "points 3"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row and column of the cell in which each point is seen, and whether it is in the picture."""
        pixels, depth = self.camera.project(points)
        with np.errstate(invalid="ignore"):
            columns, rows = np.floor(np.nan_to_num(pixels, posinf=-1, neginf=-1) / self.cell).T
        inside = (depth > 0) & (rows >= 0) & (columns >= 0)
        inside &= (pixels[:, 0] < self.camera.width) & (pixels[:, 1] < self.camera.height)
        return np.where(inside, rows, 0).astype(int), np.where(inside, columns, 0).astype(int), inside

    def keeps(self, points: Float[np.ndarray, "points 3"]) -> Bool[np.ndarray, " points"]:
        """Points that this view does not carve away: seen in the mask, or outside of the picture."""
        rows, columns, inside = self.cells(points)
        return ~inside | self.possible[rows, columns]

    def coverage(self, points: Float[np.ndarray, "points 3"]) -> float:
        """Share of the mask (within the sphere's outline) that the projected points of a volume cover."""
        total = int(self.foreground.sum())
        if not total or not len(points):
            return 0.0
        rows, columns, inside = self.cells(points)
        seen = np.zeros_like(self.foreground)
        seen[rows[inside], columns[inside]] = True
        # Points are a voxel apart, so a cell may fall between two of them: neighbours count.
        grown = seen.copy()
        grown[1:] |= seen[:-1]
        grown[:-1] |= seen[1:]
        wide = grown.copy()
        wide[:, 1:] |= grown[:, :-1]
        wide[:, :-1] |= grown[:, 1:]
        return float((wide & self.foreground).sum() / total)


def disc_radius(camera: Camera, pixels: int) -> float:
    """Radius of a disc that a camera shows so many pixels large, at the origin of its frame."""
    focal = np.sqrt(camera.intrinsics[0, 0] * camera.intrinsics[1, 1])
    return float(np.sqrt(pixels / np.pi) / focal * np.linalg.norm(camera.centre))


def unit_by_size(radius: float) -> tuple[str, float] | None:
    """Name and millimetres of the unit in which a disc as large as a mask has a radius that heads have; None in an
    arbitrary unit.
    """
    for name, mm in UNITS_MM.items():
        if HEAD_RADIUS_MM[0] <= radius * mm <= HEAD_RADIUS_MM[1]:
            return name, mm
    return None


def agreement(silhouettes: Sequence[Silhouette]) -> Float[np.ndarray, " views"]:
    """For each view, the share of its mask that the visual hull of all masks covers; 1 if they are consistent."""
    points, kept = _carve(silhouettes)
    allowed = int(OUTLIER_SHARE * len(silhouettes)) if len(silhouettes) >= 10 else 0
    volume = points[kept.sum(axis=0) >= len(silhouettes) - allowed]
    return np.array([silhouette.coverage(volume) for silhouette in silhouettes])


def inconsistent_views(silhouettes: Sequence[Silhouette]) -> list[int]:
    """Indices of the views that disagree: those without which the others agree, or all if there are none."""
    if len(silhouettes) == 2:
        return [silhouette.index for silhouette in silhouettes]
    points, kept = _carve(silhouettes)
    votes = kept.sum(axis=0)
    scores = []
    for number in range(len(silhouettes)):
        volume = points[votes - kept[number] == len(silhouettes) - 1]
        others = [other.coverage(volume) for k, other in enumerate(silhouettes) if k != number]
        scores.append(min(others))
    best = max(scores)
    if best < 0.5:
        return sorted(silhouette.index for silhouette in silhouettes)
    return [s.index for s, score in zip(silhouettes, scores, strict=True) if score > best - 0.05]


def _carve(silhouettes: Sequence[Silhouette]) -> tuple[np.ndarray, np.ndarray]:
    """Grid points inside the unit sphere, and (views, points) which view keeps which."""
    axis = (np.arange(RESOLUTION) + 0.5) / RESOLUTION * 2 - 1
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    points = points[(points**2).sum(axis=1) <= 1]
    return points, np.stack([silhouette.keeps(points) for silhouette in silhouettes])


def hits_sphere(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """Whether the ray through each pixel meets the unit sphere in front of the camera."""
    origins, directions = camera.rays(pixels)
    along = -(origins * directions).sum(axis=1)
    closest = (origins**2).sum(axis=1) - along**2
    return (closest <= 1) & (along > 0)
