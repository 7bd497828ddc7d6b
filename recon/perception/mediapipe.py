"""MediaPipe's networks of faces and persons (Bazarevsky et al. 2019, Kartynnik et al. 2019; Apache License 2.0)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache

import numpy as np
import torch
from jaxtyping import Float

from recon.perception import weights
from recon.perception.crops import Crop, Pyramid
from recon.perception.landmark_noise import head_yaw_deg, pixels_per_mm, sigma_mm
from recon.perception.networks import Face, FaceLandmarks
from recon.perception.photograph import Photograph
from recon.perception.tflite import TFLiteNetwork

STRIDES_AND_ANCHORS = (8, 2), (16, 6)
"""Pixels from an anchor to the next, and anchors at each place: strides 8, 16, 16, 16 with two each."""
LEAST_SCORE = 0.7
SURE_SCORE = 0.8
"""A face of less, found in the upright photograph, is compared with what its turned copies show."""
SAME_FACE = 0.3
"""Boxes that overlap by more, as a share of their union, are of one face."""
PART_OF_FACE = 0.6
"""A box of which more lies within a larger one is a part of that face, cut off by the border of a window."""
AGAIN = 2.5
"""Side of the crop in which a face is looked at again, in sizes of the face."""
LANDMARK_CROP = 1.5
JITTERS = (
    (0.0, 0.0, 1.0, 0.0),
    (0.02, -0.015, 1.05, 2.0),
    (-0.02, 0.015, 0.96, -2.0),
    (0.015, 0.02, 1.02, -1.0),
)
"""Crops whose landmarks are averaged: shift in sides of the crop, factor of the side, degrees."""
SEGMENTATION_CROPS = 2.3, 2.7, 3.2
"""Sides of the crops in sizes of the face. Measured above the chin on seven views of the demo head with strong clutter
(mean and least IoU): 3.2 alone 0.956, 0.92; 2.3 alone 0.990, 0.986; the median of the three 0.987, 0.979, which keeps
hair that the narrowest crop cuts."""
DOUBT = 0.85
"""How far the probability goes to 1/2 where the crops disagree entirely; on which side it lies stays."""


@lru_cache(maxsize=4)
def pyramid_of(photograph: Photograph) -> Pyramid:
    """The photograph's pyramid; remembered, for all networks look at the same one."""
    return Pyramid(photograph.image)


class MediaPipeFaceDetector:
    """BlazeFace, short range, over windows of several sizes, so that faces from 1/25 of the picture's side are found.

    Args:
        least_score: Faces of less are not reported.
        turned: Where no face is found for sure, the picture turned by 90, 180 and 270 degrees is looked at too.
    """

    def __init__(self, least_score: float = LEAST_SCORE, turned: bool = True) -> None:
        self.least_score = least_score
        self.turned = turned

    @cached_property
    def _network(self) -> TFLiteNetwork:
        return TFLiteNetwork(weights.network_path(weights.FACE_DETECTION))

    def detect(self, photograph: Photograph) -> list[Face]:
        """All faces, the largest first; each once."""
        pyramid = pyramid_of(photograph)
        coarse = windows(*photograph.size, shares=(0.5,))
        found = self._search(pyramid, coarse)
        if self.turned and max((face.score for face in found), default=0.0) < SURE_SCORE:
            turned = [replace(w, roll=math.radians(a)) for a in (90, 180, 270) for w in coarse]
            found = one_each(found + self._search(pyramid, turned))
        if not found:
            found = self._search(pyramid, windows(*photograph.size, shares=(0.25,)))
        return one_each([self._looked_at_again(pyramid, face) for face in found])

    def _looked_at_again(self, pyramid: Pyramid, face: Face) -> Face:
        """The face in a crop of its own, turned upright: there the detector is surest of place, size and turn."""
        for _ in range(2):
            crop = Crop(*face.place, AGAIN * face.size, face.roll, 128)
            nearest = min(
                self._search(pyramid, [crop]),
                key=lambda f: np.linalg.norm(f.centre - face.centre),
                default=face,
            )
            if overlap(nearest, face)[0] < SAME_FACE or nearest.score < face.score - 0.1:
                break
            face = nearest
        return face

    def _search(self, pyramid: Pyramid, crops: Sequence[Crop]) -> list[Face]:
        pictures = pyramid.crops(crops, border=False) * 2 - 1
        with torch.inference_mode():
            boxes, logits = (x.numpy().astype(np.float64) for x in self._network(pictures))
        scores = 1 / (1 + np.exp(-np.clip(logits[..., 0], -100, 100)))
        faces = []
        for crop, values, score in zip(crops, boxes, scores, strict=True):
            for k in np.flatnonzero(score >= self.least_score):
                faces.append(_face(values[k], anchors()[k], float(score[k]), crop))
        return one_each(faces)


@lru_cache(maxsize=2)
def anchors(side: int = 128) -> Float[np.ndarray, "anchors 2"]:
    """Places that boxes are counted from, pixels of the input of a detector: 896 of faces, 2016 of palms (side 192)."""
    found = []
    for stride, count in STRIDES_AND_ANCHORS:
        middles = np.arange(stride / 2, side, stride)
        grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
        found.append(np.repeat(grid, count, axis=0))
    return np.concatenate(found)


def _face(values: np.ndarray, anchor: np.ndarray, score: float, crop: Crop) -> Face:
    """The face of one box of the detector: centre, size and six points, pixels of the crop from the anchor."""
    centre = crop.to_photograph(values[:2] + anchor)
    half = values[2:4].max() / 2 * crop.side / crop.size
    points = crop.to_photograph(values[4:].reshape(6, 2) + anchor)
    return Face(np.concatenate([centre - half, centre + half]), points, score)


def windows(width: int, height: int, shares: Sequence[float]) -> list[Crop]:
    """Square windows that cover a picture: all of it, its short side, and shares of its long side, half overlapping."""
    long, short = max(width, height), min(width, height)
    found = [Crop(width / 2, height / 2, float(long), 0.0, 128)]
    sides = [short] if short < 0.9 * long else []
    for side in map(float, [*sides, *(share * long for share in shares if share * long > 64)]):
        xs, ys = (_places(length, side) for length in (width, height))
        found += [Crop(x, y, side, 0.0, 128) for y in ys for x in xs]
    return found


def _places(length: int, side: float) -> list[float]:
    """Middles of windows of a side that cover a length, half overlapping; one in the middle where it is shorter."""
    if length <= side:
        return [length / 2]
    count = math.ceil((length - side) / (side / 2)) + 1
    return [float(x) for x in np.linspace(side / 2, length - side / 2, count)]


def one_each(faces: list[Face]) -> list[Face]:
    """Each face once: boxes of one face become their mean by score (as in BlazeFace), parts of a face go."""
    left = sorted(faces, key=lambda face: -face.score)
    merged = []
    while left:
        same = [face for face in left if overlap(left[0], face)[0] > SAME_FACE]
        left = [face for face in left if overlap(left[0], face)[0] <= SAME_FACE]
        share = np.array([face.score for face in same])
        share /= share.sum()
        box = np.tensordot(share, np.stack([face.box for face in same]), 1)
        points = np.tensordot(share, np.stack([face.points for face in same]), 1)
        merged.append(Face(box, points, same[0].score))
    kept: list[Face] = []
    for face in sorted(merged, key=lambda face: -face.size):
        if all(overlap(face, other)[1] < PART_OF_FACE for other in kept):
            kept.append(face)
    return kept


def overlap(one: Face, other: Face) -> tuple[float, float]:
    """What two boxes share, of their union and of the smaller one."""
    sides = np.minimum(one.box[2:], other.box[2:]) - np.maximum(one.box[:2], other.box[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    areas = [float(np.prod(face.box[2:] - face.box[:2])) for face in (one, other)]
    return shared / max(sum(areas) - shared, 1e-9), shared / max(min(areas), 1e-9)


class MediaPipeFaceLandmarker:
    """MediaPipe's face mesh of 468 points: a first look for the crop, then the mean of four jittered crops."""

    @cached_property
    def _network(self) -> TFLiteNetwork:
        return TFLiteNetwork(weights.network_path(weights.FACE_LANDMARKS))

    def landmarks(self, photograph: Photograph, face: Face) -> FaceLandmarks:
        """Its points, whatever their score."""
        pyramid = pyramid_of(photograph)
        first = Crop(*face.place, LANDMARK_CROP * face.size, face.roll, 192)
        (points,), (score,) = self._look(pyramid, [first])
        crop = self._second_crop(points[:, :2], first, score)
        jittered = [
            replace(
                crop,
                x=crop.x + dx * crop.side,
                y=crop.y + dy * crop.side,
                side=crop.side * factor,
                roll=crop.roll + math.radians(degrees),
            )
            for dx, dy, factor, degrees in JITTERS
        ]
        each, scores = self._look(pyramid, jittered)
        mean = each.mean(axis=0)
        yaw, scale = head_yaw_deg(mean, crop.roll), pixels_per_mm(mean)
        return FaceLandmarks(
            points=mean[:, :2],
            depth=mean[:, 2],
            score=float(scores.mean()),
            sigma_px=sigma_mm(max(abs(yaw), abs(face.yaw_deg))) * scale,
            yaw_deg=yaw,
            px_per_mm=scale,
        )

    def _second_crop(self, points: np.ndarray, first: Crop, score: float) -> Crop:
        """A crop about the points of the first look; the first one again where those are worthless."""
        if score < LEAST_SCORE:
            return first
        eyes = points[263] - points[33]
        roll = math.atan2(eyes[1], eyes[0])
        upright = replace(first, roll=roll).from_photograph(points)
        low, high = upright.min(axis=0), upright.max(axis=0)
        x, y = replace(first, roll=roll).to_photograph((low + high) / 2)
        return Crop(x, y, LANDMARK_CROP * (high - low).max() * first.side / first.size, roll, first.size)

    def _look(
        self, pyramid: Pyramid, crops: Sequence[Crop]
    ) -> tuple[Float[np.ndarray, "crops 468 3"], Float[np.ndarray, " crops"]]:
        """Points in pixels of the photograph, with depths, and scores."""
        with torch.inference_mode():
            outputs = self._network(pyramid.crops(crops, border=True))
        values = outputs[0].numpy().astype(np.float64).reshape(len(crops), 468, 3)
        logits = outputs[1].numpy().astype(np.float64).reshape(len(crops))
        for crop, points in zip(crops, values, strict=True):
            points[:, 2] *= crop.side / crop.size
            points[:, :2] = crop.to_photograph(points[:, :2])
        return values, 1 / (1 + np.exp(-np.clip(logits, -100, 100)))


class MediaPipePersonSegmenter:
    """MediaPipe's selfie segmentation in crops about the face: their median, and doubt where they disagree.

    Attributes:
        sides: Sides of the crops in sizes of the face.
    """

    def __init__(self, sides: Sequence[float] = SEGMENTATION_CROPS) -> None:
        self.sides = tuple(sides)

    @cached_property
    def _network(self) -> TFLiteNetwork:
        return TFLiteNetwork(weights.network_path(weights.PERSON_SEGMENTATION))

    def mask(self, photograph: Photograph, face: Face | None) -> Float[np.ndarray, "height width"]:
        """(height, width) float32 probability of a person; 0 beyond the widest crop."""
        width, height = photograph.size
        if face is None:
            crops = [Crop(width / 2, height / 2, float(max(width, height)), 0.0, 256)]
        else:
            crops = [Crop(*face.place, side * face.size, face.roll, 256) for side in self.sides]
        with torch.inference_mode():
            (probability,) = self._network(pyramid_of(photograph).crops(crops, border=True))
        seen = np.zeros((len(crops), height, width), np.float32)
        for k in reversed(range(len(crops))):  # beyond a narrower crop the next wider one counts
            seen[k] = seen[min(k + 1, len(crops) - 1)]
            paste(seen[k], probability[k, ..., 0].numpy(), crops[k])
        x0, y0, x1, y1 = bounds(crops[-1], width, height)
        values = torch.from_numpy(seen[:, y0:y1, x0:x1])
        doubt = DOUBT * (values.amax(dim=0) - values.amin(dim=0))
        result = np.zeros((height, width), np.float32)
        result[y0:y1, x0:x1] = (0.5 + (_median(values) - 0.5) * (1 - doubt)).numpy()
        return result


def _median(values: Float[torch.Tensor, "crops rows columns"]) -> Float[torch.Tensor, "rows columns"]:
    """The median over crops; of three by comparisons, which take a tenth of the time."""
    if len(values) != 3:
        return values.median(dim=0).values
    a, b, c = values
    return torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))


def bounds(crop: Crop, width: int, height: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a crop's pixels within a picture; empty, right <= left, where it lies beyond."""
    corners = crop.to_photograph(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]) * float(crop.size))
    x0, y0 = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(corners.max(axis=0)).astype(int), [width, height])
    return int(x0), int(y0), int(max(x0, x1)), int(max(y0, y1))


def paste(
    picture: Float[np.ndarray, "height width"], values: Float[np.ndarray, "size size"], crop: Crop
) -> None:
    """Writes a crop into a picture, by bilinear interpolation, where the picture is within the crop."""
    x0, y0, x1, y1 = bounds(crop, picture.shape[1], picture.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    # A pixel of the crop is linear in that of the picture.
    corner, right, down = crop.from_photograph(np.array([[x0, y0], [x0 + 1, y0], [x0, y0 + 1]]) + 0.5)
    columns = torch.arange(x1 - x0, dtype=torch.float32)
    rows = torch.arange(y1 - y0, dtype=torch.float32)[:, None]
    where = torch.stack(
        [
            (float(a) + float(b - a) * columns + float(c - a) * rows) / (crop.size / 2) - 1
            for a, b, c in zip(corner, right, down, strict=True)
        ],
        dim=-1,
    )
    inside = (where.abs() <= 1).all(dim=-1)
    sampled = torch.nn.functional.grid_sample(
        torch.from_numpy(np.ascontiguousarray(values, np.float32))[None, None],
        where[None],
        padding_mode="border",
        align_corners=False,
    )[0, 0]
    part = torch.from_numpy(picture[y0:y1, x0:x1])
    part.copy_(torch.where(inside, sampled, part))
