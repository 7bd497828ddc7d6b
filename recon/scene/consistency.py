"""Whether masks and cameras agree: every ray through a mask's outline must meet the volume that the other masks leave.

This is the visual hull again (`recon.scene.carving`), but along single rays and in millimetres: where the silhouettes
of one solid under right cameras touch each ray, wrong or exchanged cameras leave gaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt

from recon.scene.camera import Camera

RAYS, SAMPLES = 120, 128
"""Number of rays through each outline, and of points along each of them within the unit sphere."""
MOST_MM = 30.0
"""Gaps count no more than this."""
MOST_OTHERS = 8
"""Number of other views that a view is compared with, spread over all."""
EXCHANGE_MM, EXPLAINED = 0.25, 0.2
"""Mean gap above which another order of the cameras is looked for, and what share of it that order may leave. Of six
heads with 2 to 8 views the gap was at most 0.01 mm; with any two cameras exchanged it was at least 0.35.
"""
ODD_MM = 0.5
"""Mean gap above which one view is looked for that the others contradict."""
MOST_SUSPECTS = 4
LANDMARKS_MM = 20.0
"""Distance of landmarks from where other views have them that is too far; marks by hand are some 5 mm off."""


@dataclass(frozen=True, eq=False)
class MaskedView:
    """A mask with its camera, prepared for the test.

    Attributes:
        camera: Unit space.
        outside_px: Distance of each pixel from the mask or an ignored pixel, pixels; 0 on them.
        outline: Pixels (x, y) along the inner side of the outline, away from the border and from ignored pixels.
    """

    camera: Camera
    outside_px: Float[np.ndarray, "height width"]
    outline: Float[np.ndarray, "points 2"]

    @classmethod
    def from_mask(
        cls, camera: Camera, mask: Bool[np.ndarray, "h w"], ignored: Bool[np.ndarray, "h w"]
    ) -> MaskedView:
        """Prepares a mask that its camera, in unit space, belongs to."""
        possible = mask | ignored
        outside = distance_transform_edt(~possible) if possible.any() else np.full(mask.shape, np.inf)
        certain = mask & ~ignored
        edge = certain & (distance_transform_edt(np.pad(possible, 1))[1:-1, 1:-1] <= 1.0)
        edge[:4], edge[-4:], edge[:, :4], edge[:, -4:] = False, False, False, False
        rows, columns = np.nonzero(edge)
        step = max(1, len(rows) // RAYS)
        outline = np.column_stack([columns, rows])[::step] + 0.5
        return cls(camera, outside.astype(np.float32), outline)

    def distances(self, points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
        """How far points are seen from the mask, in unit space; 0 where they are seen on it or not in the picture."""
        pixels, depth = self.camera.project(points)
        columns, rows = np.floor(np.nan_to_num(pixels, nan=-1, posinf=-1, neginf=-1)).T
        height, width = self.outside_px.shape
        inside = (depth > 0) & (rows >= 0) & (columns >= 0) & (rows < height) & (columns < width)
        r, c = np.where(inside, rows, 0).astype(int), np.where(inside, columns, 0).astype(int)
        return np.where(inside, self.outside_px[r, c] * depth / self.camera.intrinsics[0, 0], 0.0)


def outline_gaps(views: Sequence[MaskedView], radius_mm: float) -> list[Float[np.ndarray, " points"]]:
    """For each view the gaps between the rays of its outline and the volume that the other masks leave, mm.

    Args:
        views: Masks with cameras in unit space.
        radius_mm: Radius of the unit sphere.

    Returns:
        A gap is the least distance, over the ray within the unit sphere, from the mask that is farthest; about 0 where
        masks and cameras agree.
    """
    return [_gaps(views, index, radius_mm) for index in range(len(views))]


def _gaps(views: Sequence[MaskedView], index: int, radius_mm: float) -> Float[np.ndarray, " points"]:
    own = views[index]
    if len(own.outline) == 0:
        return np.zeros(0)
    origins, directions = own.camera.rays(own.outline)
    middle = -(origins * directions).sum(axis=1)
    half = np.sqrt(np.maximum(1.0 - (origins**2).sum(axis=1) + middle**2, 0.0))
    along = middle[:, None] + half[:, None] * np.linspace(-1.0, 1.0, SAMPLES)
    points = (origins[:, None] + along[..., None] * directions[:, None]).reshape(-1, 3)
    farthest = np.zeros(len(points))
    others = [other for number, other in enumerate(views) if number != index]
    step = -(-len(others) // MOST_OTHERS) or 1
    for other in others[index % step :: step]:
        farthest = np.maximum(farthest, other.distances(points))
    return np.minimum(farthest.reshape(along.shape).min(axis=1) * radius_mm, MOST_MM)


def disagreement_mm(views: Sequence[MaskedView], radius_mm: float) -> Float[np.ndarray, " views"]:
    """Mean gap of each view, mm."""
    return np.array([gaps.mean() if len(gaps) else 0.0 for gaps in outline_gaps(views, radius_mm)])


def exchanged(views: Sequence[MaskedView], radius_mm: float) -> tuple[int, ...]:
    """Positions of the views whose cameras would have to be given in another order for all masks to agree.

    Returns:
        Empty where masks and cameras agree as they are, no other order explains much more, or there are only two
        views, which agree in many wrong ways. All orders of the four
        views that disagree most are tried, exchanges of two of the eight that do, and a shift of all by one.
    """
    given = disagreement_mm(views, radius_mm)
    if len(views) < 3 or given.mean() < EXCHANGE_MM:
        return ()
    thinned = [replace(view, outline=view.outline[::4]) for view in views]

    def left(order: Mapping[int, int], of: Sequence[MaskedView]) -> float:
        tried = [replace(view, camera=of[order[i]].camera) for i, view in enumerate(of)]
        return float(disagreement_mm(tried, radius_mm).mean())

    best = min(_orders(given), key=lambda order: left(order, thinned))
    return _moved(best) if left(best, views) <= EXPLAINED * given.mean() else ()


def exchanged_by_landmarks(
    cameras: Sequence[Camera], landmarks: Sequence[Mapping[str, Float[np.ndarray, " 2"]]], radius_mm: float
) -> tuple[int, ...]:
    """As `exchanged`, by landmarks in place of masks: those of a symmetric head may look alike from both sides.

    Args:
        cameras: Unit space.
        landmarks: Pixels by name.
        radius_mm: Radius of the unit sphere.
    """

    def distances(order: Mapping[int, int]) -> Float[np.ndarray, " views"]:
        tried = [cameras[order[i]] for i in range(len(cameras))]
        return np.array([each or 0.0 for each in landmark_distances_mm(tried, landmarks, radius_mm)])

    given = distances({i: i for i in range(len(cameras))})
    if len(cameras) < 3 or given.max() < LANDMARKS_MM:
        return ()
    best = min(_orders(given), key=lambda order: float(distances(order).mean()))
    return _moved(best) if distances(best).mean() <= EXPLAINED * given.mean() else ()


def _orders(given: Float[np.ndarray, " views"]) -> list[dict[int, int]]:
    """Other orders of the views' cameras, by how far each view disagrees as they are given."""
    worst = [int(i) for i in np.argsort(-given, kind="stable")]
    suspects, count = sorted(worst[:MOST_SUSPECTS]), len(given)
    same = {i: i for i in range(count)}
    orders = [same | dict(zip(suspects, order, strict=True)) for order in permutations(suspects)]
    orders += [{i: (i + shift) % count for i in same} for shift in (1, count - 1)]
    orders += [same | {a: b, b: a} for a, b in combinations(sorted(worst[: 2 * MOST_SUSPECTS]), 2)]
    return [order for order in orders if order != same]


def _moved(order: Mapping[int, int]) -> tuple[int, ...]:
    """Positions of the views that get another camera."""
    return tuple(i for i in order if order[i] != i)


def odd_one_out(views: Sequence[MaskedView], radius_mm: float) -> int | None:
    """Position of the one view without which the masks of the others agree; None if they all agree or no single one
    explains it. Of two views none can be told from the other.
    """
    if len(views) < 3 or disagreement_mm(views, radius_mm).mean() < ODD_MM:
        return None
    without = [
        float(disagreement_mm([*views[:i], *views[i + 1 :]], radius_mm).mean()) for i in range(len(views))
    ]
    first, second, *_ = np.argsort(without)
    if without[first] < EXPLAINED * min(without[second], ODD_MM):
        return int(first)
    return None


def landmark_distances_mm(
    cameras: Sequence[Camera], landmarks: Sequence[Mapping[str, Float[np.ndarray, " 2"]]], radius_mm: float
) -> list[float | None]:
    """For each view the median distance, mm, of the rays through its landmarks from the places that the rays of the
    other views fix; None where the others fix none, for which two of them must have the same landmark.

    Args:
        cameras: Unit space.
        landmarks: Pixels by name.
        radius_mm: Radius of the unit sphere.
    """
    rays = [
        {name: _ray(camera, place) for name, place in marks.items()}
        for camera, marks in zip(cameras, landmarks, strict=True)
    ]
    found: list[float | None] = []
    for index, own in enumerate(rays):
        distances = []
        for name, (origin, direction) in own.items():
            others = [each[name] for number, each in enumerate(rays) if number != index and name in each]
            if len(others) > 1:
                away = _nearest_point(others) - origin
                distances.append(float(np.linalg.norm(away - (away @ direction) * direction)) * radius_mm)
        found.append(float(np.median(distances)) if distances else None)
    return found


def _ray(camera: Camera, pixel: Float[np.ndarray, " 2"]) -> tuple[np.ndarray, np.ndarray]:
    origins, directions = camera.rays(np.asarray(pixel, dtype=float)[None])
    return origins[0], directions[0]


def _nearest_point(rays: Sequence[tuple[np.ndarray, np.ndarray]]) -> Float[np.ndarray, " 3"]:
    """The point nearest to rays in the sense of least squares."""
    across = [np.eye(3) - np.outer(d, d) for _, d in rays]
    right = np.sum([m @ o for m, (o, _) in zip(across, rays, strict=True)], axis=0)
    return np.linalg.lstsq(np.sum(across, axis=0), right, rcond=None)[0]
