"""Hands before a head, by MediaPipe's networks of palms and hands (Zhang et al. 2020; Apache License 2.0)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw

from recon.perception import weights
from recon.perception.crops import Crop
from recon.perception.mediapipe import anchors, pyramid_of
from recon.perception.networks import Face
from recon.perception.photograph import Photograph
from recon.perception.tflite import TFLiteNetwork

PALM_PX, PALM_COORDINATES = 192, 18
"""Side of the picture that the network of palms takes; a box has its middle, size and seven points."""
HAND_PX = 224
WRIST, MIDDLE_KNUCKLE = 0, 2
"""Points of a palm that tell how it is turned."""
HAND_SIDES, HAND_SHIFT = 2.6, 0.5
"""Side of the crop of a hand in sizes of its palm, and how far towards the fingers it lies."""
SEARCHED = (2.2, 0.3), (3.4, 0.5)
"""Side of the crops in which palms are looked for, and how far below the face's middle, in sizes of the face."""
LEAST_SCORE = 0.5
"""Palms and hands of less do not count."""
FINGERS = (0, 1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20)
PALM = 0, 1, 5, 9, 13, 17
"""Numbers of the 21 points of a hand."""
KNUCKLES_MM, WRIST_TO_KNUCKLE_MM = 60.0, 95.0
"""Distances of the points 5 and 17, and 0 and 9, of a grown-up's hand."""
FINGER_MM, PALM_MM, FOREARM_MM, FOREARM_LENGTH_MM = 13.0, 16.0, 34.0, 70.0
"""Half widths that are covered about bones, the palm and the forearm, and how much of that is taken to be there."""


@dataclass(frozen=True, eq=False)
class Hand:
    """A hand that was found.

    Attributes:
        points: (21, 2) wrist, then four from root to tip of thumb, index, middle, ring and little finger; pixels of the
            photograph.
        score: Probability that it is a hand.
    """

    points: Float[np.ndarray, "21 2"]
    score: float

    @property
    def px_per_mm(self) -> float:
        """Its scale as an average hand's; of a foreshortened one the larger of two."""
        across = np.linalg.norm(self.points[5] - self.points[17]) / KNUCKLES_MM
        along = np.linalg.norm(self.points[0] - self.points[9]) / WRIST_TO_KNUCKLE_MM
        return float(max(across, along))


class MediaPipeHandSegmenter:
    """Palms in crops about the face, then 21 points of each hand, and what lies about its bones."""

    @cached_property
    def _palms(self) -> TFLiteNetwork:
        return TFLiteNetwork(weights.network_path(weights.PALM_DETECTION))

    @cached_property
    def _hands(self) -> TFLiteNetwork:
        return TFLiteNetwork(weights.network_path(weights.HAND_LANDMARKS))

    def hands(self, photograph: Photograph, face: Face | None) -> Bool[np.ndarray, "height width"]:
        """(height, width) pixels of hands about a face; none without a face."""
        width, height = photograph.size
        found = self.find(photograph, face) if face is not None else []
        return covered(found, width, height)

    def find(self, photograph: Photograph, face: Face) -> list[Hand]:
        """Hands about a face, each once, surest first."""
        pyramid = pyramid_of(photograph)
        crops = []
        for side, below in SEARCHED:
            x, y = (float(c) for c in face.centre + below * face.size * face.down)
            crops.append(Crop(x, y, side * face.size, face.roll, PALM_PX))
        with torch.inference_mode():
            boxes, logits = (
                x.numpy().astype(np.float64) for x in self._palms(pyramid.crops(crops, border=False))
            )
        scores = 1 / (1 + np.exp(-np.clip(logits[..., 0], -100, 100)))
        rois = []
        for crop, values, score in zip(crops, boxes, scores, strict=True):
            for k in np.flatnonzero(score >= LEAST_SCORE):
                rois.append((float(score[k]), _crop_of_hand(values[k], palm_anchors()[k], crop)))
        wanted = _one_each(rois)
        if not wanted:
            return []
        with torch.inference_mode():
            points, presence = self._hands(pyramid.crops(wanted, border=False))[:2]
        hands = [
            Hand(crop.to_photograph(values.reshape(21, 3)[:, :2].astype(np.float64)), float(score))
            for crop, values, score in zip(wanted, points.numpy(), presence.numpy().ravel(), strict=True)
        ]
        return [
            hand for hand in hands if hand.score >= LEAST_SCORE and not is_face(hand, face, *photograph.size)
        ]


def is_face(hand: Hand, face: Face, width: int, height: int) -> bool:
    """Whether what was found is the face itself, by what it covers: an eye and the mouth, with which the face would not
    have been found.

    The networks took the face for a hand in 4 of 60 synthetic portraits without hands, in none of 49 real ones; no hand
    that was right covered an eye.
    """
    pixels = covered([hand], width, height)
    places = np.clip(np.floor(face.points[:4]).astype(int), 0, [width - 1, height - 1])
    right_eye, left_eye, _, mouth = pixels[places[:, 1], places[:, 0]]
    return bool((right_eye or left_eye) and mouth)


def palm_anchors() -> Float[np.ndarray, "2016 2"]:
    """Places that the boxes of palms are counted from, pixels of the network's input."""
    return anchors(PALM_PX)


def _crop_of_hand(values: np.ndarray, anchor: np.ndarray, crop: Crop) -> Crop:
    """The crop of the hand that belongs to a palm, fingers up."""
    centre = crop.to_photograph(values[:2] + anchor)
    points = crop.to_photograph(values[4:PALM_COORDINATES].reshape(7, 2) + anchor)
    size = float(values[2:4].max()) * crop.side / crop.size
    x, y = points[MIDDLE_KNUCKLE] - points[WRIST]
    roll = math.atan2(x, -y)
    middle = centre + HAND_SHIFT * size * np.array([math.sin(roll), -math.cos(roll)])
    return Crop(float(middle[0]), float(middle[1]), HAND_SIDES * size, roll, HAND_PX)


def _one_each(rois: Sequence[tuple[float, Crop]]) -> list[Crop]:
    """The surest crop of each hand."""
    kept: list[Crop] = []
    for _, crop in sorted(rois, key=lambda pair: -pair[0]):
        if all(math.hypot(crop.x - k.x, crop.y - k.y) > 0.3 * max(crop.side, k.side) for k in kept):
            kept.append(crop)
    return kept


def covered(hands: Sequence[Hand], width: int, height: int) -> Bool[np.ndarray, "height width"]:
    """Pixels that hands cover, with a margin, and the beginning of their forearms."""
    picture = Image.new("1", (width, height))
    pen = ImageDraw.Draw(picture)
    for hand in hands:
        scale = hand.px_per_mm
        for finger in FINGERS:
            _stroke(pen, hand.points[list(finger)], FINGER_MM * scale)
        outline = hand.points[list(PALM)]
        pen.polygon([tuple(point) for point in outline.tolist()], fill=1)
        _stroke(pen, np.concatenate([outline, outline[:1]]), PALM_MM * scale)
        wrist, along = hand.points[0], hand.points[0] - hand.points[9]
        elbow = wrist + along / max(float(np.linalg.norm(along)), 1e-6) * FOREARM_LENGTH_MM * scale
        _stroke(pen, np.stack([wrist, elbow]), FOREARM_MM * scale)
    return np.array(picture, dtype=bool)


def _stroke(pen: ImageDraw.ImageDraw, points: np.ndarray, radius: float) -> None:
    """A line with round ends."""
    pen.line([tuple(point) for point in points.tolist()], fill=1, width=max(round(2 * radius), 1))
    for x, y in points.tolist():
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
