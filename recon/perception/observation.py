"""Looking at one photograph: which face, its landmarks, the person's mask, and what is wrong with the picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from recon.errors import SceneError
from recon.perception.crops import Crop
from recon.perception.hands import MediaPipeHandSegmenter
from recon.perception.masks import (
    ALPHA,
    AUTO,
    PersonMask,
    given_mask,
    mask_paths,
    person_mask,
    read_given_mask,
)
from recon.perception.mediapipe import (
    MediaPipeFaceDetector,
    MediaPipeFaceLandmarker,
    MediaPipePersonSegmenter,
    pyramid_of,
)
from recon.perception.networks import (
    Face,
    FaceDetector,
    FaceLandmarker,
    FaceLandmarks,
    HandSegmenter,
    PersonSegmenter,
)
from recon.perception.photograph import Photograph, read_photograph

WORTHLESS = 0.5
TRUSTED = 0.9
"""Landmarks of a lower score are worthless; of one between are warned about."""
SURE_FACE = 0.85
"""A face of a higher score counts as a person's even without landmarks."""
PROFILE_DEG = 60.0
ROLLED_DEG = 30.0
SMALL_PX = 100
SHARPNESS = 0.06
"""Least `sharpness`: faces of 40 real photographs have 0.075 to 0.48, the demo head 0.15 to 0.21, and blurred by 1 % of
the face 0.05."""
COLOURLESS = 0.012
"""Mean difference between the largest and the smallest channel below which a picture has no colours."""
NEAR_PX = 200
"""A face with fewer pixels is read again from a larger original, with as much about it as a bust has."""
BUST = 2.8, 2.2, 2.8, 3.4
"""What is read left of, above, right of and below the middle of such a face, in sizes of it."""
LIPS, MOUTH_CORNERS = (13, 14), (61, 291)
"""Numbers of the landmarks between which the inner lips open, and of the corners of the mouth."""
OPEN_MOUTH, MOUTH_YAW_DEG = 0.12, 35.0
"""Opening of the lips as a share of the mouth's width from which the mouth is open, and the largest yaw at which it is
seen: of 55 portraits those with closed lips have at most 0.10, those that show teeth 0.12 to 0.72.
"""
CUT_SHARE = 0.05
"""Share of a border above the chin, in sizes of the face, that the person may touch."""


Seen = tuple[Face, FaceLandmarks]
"""A face with its landmarks."""


class PhotographWarning(NamedTuple):
    """Something that is wrong with a photograph.

    Attributes:
        kind: One word or two, for programs.
        message: A sentence, for people.
    """

    kind: str
    message: str


@dataclass(frozen=True, eq=False)
class PhotographObservation:
    """What networks see in one photograph, in pixels of its working picture.

    Attributes:
        photograph: What was looked at.
        face: The chosen face; None where none was found.
        landmarks: Its points; None where there is no face or they are worthless (a profile).
        mask: The person of that face.
        others: Other faces.
        warnings: What is wrong with the photograph.
    """

    photograph: Photograph
    face: Face | None
    landmarks: FaceLandmarks | None
    mask: PersonMask
    others: tuple[Face, ...] = ()
    warnings: tuple[PhotographWarning, ...] = field(default=())


class Perception:
    """The networks that look at photographs; by default MediaPipe's, brought when a photograph is first looked at.

    Args:
        detector: Finds faces.
        landmarker: Finds points on a face.
        segmenter: Tells persons from what is behind them.
        hands: Finds hands, which are ignored; None where they are not looked for.
    """

    def __init__(
        self,
        detector: FaceDetector | None = None,
        landmarker: FaceLandmarker | None = None,
        segmenter: PersonSegmenter | None = None,
        hands: HandSegmenter | None = None,
    ) -> None:
        self.detector = detector or MediaPipeFaceDetector()
        self.landmarker = landmarker or MediaPipeFaceLandmarker()
        self.segmenter = segmenter or MediaPipePersonSegmenter()
        self.hands = hands

    def see_all(
        self, photographs: Sequence[Photograph], person: int = 1, masks: str | Path = AUTO
    ) -> list[PhotographObservation]:
        """What is seen in photographs of one set, whose masks may lie in one folder.

        Args:
            photographs: Upright and scaled.
            person: 1 is the largest face, 2 the second largest.
            masks: `auto` takes a photograph's own alpha where it has one, else the network; `alpha` its alpha; any
                other word is a folder of masks, in which photographs that have none there are as with `auto`.

        Raises:
            SceneError: There is no such person, or no such mask.
            PerceptionError: The networks cannot be had.
        """
        given: Mapping[Path, Path] = {}
        if masks not in (AUTO, ALPHA):
            given = mask_paths(Path(masks), [photograph.path for photograph in photographs])
        return [self._see(each, person, given.get(each.path), masks == ALPHA) for each in photographs]

    def see(self, photograph: Photograph, person: int = 1, masks: str | Path = AUTO) -> PhotographObservation:
        """What is seen in a photograph that is a set of its own; see `see_all`."""
        return self.see_all([photograph], person, masks)[0]

    def _see(
        self, photograph: Photograph, person: int, given: Path | None, alpha: bool
    ) -> PhotographObservation:
        """What is seen in a photograph, with the file of its mask where it has one."""
        found = self._persons(photograph)
        if not 1 <= person <= max(len(found), 1):
            raise SceneError(f"{photograph.path} has {len(found)} faces: person={person} is not there")
        chosen = found[person - 1] if found else None
        if chosen is not None and given is None and _too_small(photograph, chosen[0]):
            photograph, found, chosen = self._nearer(photograph, found, chosen)
        face, points = chosen or (None, None)
        others = tuple(each for each, _ in found if each is not face)
        mask = self._mask(photograph, face, others, given, alpha)
        if points is not None and points.score < WORTHLESS:
            points = None
        warnings = tuple(warnings_of(photograph, face, points, others, person, mask))
        return PhotographObservation(photograph, face, points, mask, others, warnings)

    def _nearer(
        self, photograph: Photograph, found: list[Seen], chosen: Seen
    ) -> tuple[Photograph, list[Seen], Seen]:
        """The part of a photograph about a face, read again at more pixels, with its faces and the same one; all as it
        was where the face is not found again.
        """
        nearer = read_photograph(photograph.path, part=_about(photograph, chosen[0]))
        again = self._persons(nearer)
        place, size = (_in_original(photograph, chosen[0]), chosen[0].size / photograph.scale[0])
        same = [pair for pair in again if np.linalg.norm(_in_original(nearer, pair[0]) - place) < size / 2]
        return (nearer, again, same[0]) if same else (photograph, found, chosen)

    def _persons(self, photograph: Photograph) -> list[Seen]:
        """Faces with their landmarks, largest first; what has no landmarks counts where it is surely a face, or where
        there is no other.
        """
        found = [
            (face, self.landmarker.landmarks(photograph, face)) for face in self.detector.detect(photograph)
        ]
        sure = [pair for pair in found if pair[1].score >= WORTHLESS or pair[0].score >= SURE_FACE]
        return sure or found[:1]

    def _mask(
        self,
        photograph: Photograph,
        face: Face | None,
        others: Sequence[Face],
        given: Path | None,
        alpha: bool,
    ) -> PersonMask:
        if given is not None:
            return given_mask(photograph, read_given_mask(given, photograph), face, str(given))
        if photograph.alpha is not None:
            return given_mask(photograph, photograph.alpha > 0.5, face, ALPHA)
        if alpha:
            raise SceneError(
                f"{photograph.path} has no alpha channel that could be its mask: masks=auto makes one"
            )
        hands = None if self.hands is None else self.hands.hands(photograph, face)
        return person_mask(photograph, self.segmenter.mask(photograph, face), face, others, hands)


def _too_small(photograph: Photograph, face: Face) -> bool:
    """Whether a face has few pixels, and many more in the original."""
    return face.size < NEAR_PX and photograph.scale[0] < 0.8


def _in_original(photograph: Photograph, face: Face) -> Float[np.ndarray, " 2"]:
    """The middle of a face in pixels of the upright original."""
    corner = np.array(photograph.part[:2]) * photograph.original_size
    place: np.ndarray = face.centre / photograph.scale + corner
    return place


def _about(photograph: Photograph, face: Face) -> tuple[float, float, float, float]:
    """The part of a photograph that shows the bust of a face, as shares of its sides."""
    reach = np.array(BUST) * [-1, -1, 1, 1] * face.size
    corners = (np.tile(face.centre, 2) + reach) / np.tile(photograph.size, 2)
    left, top, right, bottom = np.clip(corners, 0, 1).tolist()
    return left, top, right, bottom


def warnings_of(
    photograph: Photograph,
    face: Face | None,
    landmarks: FaceLandmarks | None,
    others: Sequence[Face],
    person: int,
    mask: PersonMask,
) -> Iterator[PhotographWarning]:
    """What is wrong with a photograph, worst first."""
    name = photograph.path.name
    for message in photograph.warnings:
        yield PhotographWarning("file", f"{name}: {message}")
    if face is None:
        yield PhotographWarning("no face", f"{name}: no face was found; the back of a head, or no head")
    else:
        yield from _warnings_of_face(photograph, face, landmarks, others, person)
    if not mask.mask.any():
        yield PhotographWarning("no person", f"{name}: no person was found")
    elif face is not None and (side := _cut_side(mask, face)):
        yield PhotographWarning("cut off", f"{name}: the head is cut off by the picture's {side} border")
    if mask.hands is not None and (mask.hands & mask.mask).any():
        yield PhotographWarning("hand", f"{name}: a hand hides a part of the head; that part is ignored")
    if float(np.ptp(photograph.image[::4, ::4], axis=2).mean()) < COLOURLESS:
        yield PhotographWarning("black-and-white", f"{name}: it has no colours, and the head will have none")


def _warnings_of_face(
    photograph: Photograph, face: Face, landmarks: FaceLandmarks | None, others: Sequence[Face], person: int
) -> Iterator[PhotographWarning]:
    name = photograph.path.name
    if landmarks is None:
        if abs(face.yaw_deg) > PROFILE_DEG:
            yield PhotographWarning(
                "profile", f"{name}: a profile ({abs(face.yaw_deg):.0f}°): its landmarks cannot be found"
            )
        else:
            yield PhotographWarning(
                "no landmarks",
                f"{name}: its face is covered, blurred or cut off, or turned away more than it seems: its landmarks "
                "cannot be found",
            )
    elif landmarks.score < TRUSTED:
        yield PhotographWarning(
            "unsure", f"{name}: its landmarks are hardly to be trusted ({landmarks.score:.2f})"
        )
    elif abs(face.yaw_deg) > PROFILE_DEG:
        yield PhotographWarning("oblique", f"{name}: nearly a profile: its landmarks are 3 to 6 mm off")
    if landmarks is not None and abs(face.yaw_deg) < MOUTH_YAW_DEG and mouth_opening(landmarks) > OPEN_MOUTH:
        yield PhotographWarning(
            "open mouth",
            f"{name}: the mouth is open, which the shape model does not know: lips and chin will be off",
        )
    if others:
        place = "the largest" if person == 1 else f"number {person} by size"
        yield PhotographWarning(
            "several faces",
            f"{name}: {len(others) + 1} faces; {place} is taken, at ({face.centre[0]:.0f}, {face.centre[1]:.0f})",
        )
    original = face.size / photograph.scale[0]
    if original < SMALL_PX:
        yield PhotographWarning(
            "small", f"{name}: the face has {original:.0f} pixels; from {SMALL_PX} on it is of use"
        )
    elif face.size < SMALL_PX:
        yield PhotographWarning(
            "scaled",
            f"{name}: the face has {original:.0f} pixels but {face.size:.0f} in the working picture: cut it out",
        )
    if sharpness(photograph, face) < SHARPNESS:
        yield PhotographWarning("blurred", f"{name}: the face is blurred")
    if abs(np.degrees(face.roll)) > ROLLED_DEG:
        yield PhotographWarning(
            "turned", f"{name}: the head is turned by {np.degrees(face.roll):.0f}° in the picture"
        )


def _cut_side(mask: PersonMask, face: Face) -> str:
    """The border that the person's head touches, above the chin; empty if none."""
    height, width = mask.mask.shape
    borders = {
        "upper": mask.mask[0],
        "lower": mask.mask[-1],
        "left": mask.mask[:, 0],
        "right": mask.mask[:, -1],
    }
    across, down = np.arange(width) + 0.5, np.arange(height) + 0.5
    for side, touched in borders.items():
        x = across if side in ("upper", "lower") else np.full(height, 0.5 if side == "left" else width - 0.5)
        y = down if side in ("left", "right") else np.full(width, 0.5 if side == "upper" else height - 0.5)
        above = np.stack([x, y], axis=1) @ face.down < face.chin
        if (touched & above).sum() > CUT_SHARE * face.size:
            return side
    return ""


def mouth_opening(landmarks: FaceLandmarks) -> float:
    """Distance of the inner lips as a share of the mouth's width."""
    gap, width = (
        float(np.linalg.norm(landmarks.points[a] - landmarks.points[b])) for a, b in (LIPS, MOUTH_CORNERS)
    )
    return gap / max(width, 1e-6)


def sharpness(photograph: Photograph, face: Face) -> float:
    """Share of fine detail in the face's brightness at 192 pixels: that of its Laplacian in its standard deviation."""
    crop = Crop(*face.place, face.size, face.roll, 192)
    grey: Float[np.ndarray, "192 192"] = (
        pyramid_of(photograph).crops([crop], border=True)[0].numpy().mean(axis=2)
    )
    inner = grey[1:-1, 1:-1]
    laplacian = 4 * inner - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return float(laplacian.std() / max(grey.std(), 1e-6))


def see(
    photograph: Photograph, person: int = 1, masks: str | Path = AUTO, perception: Perception | None = None
) -> PhotographObservation:
    """What is seen in a photograph, by MediaPipe's networks or those given (see `Perception.see`)."""
    return (perception or Perception(hands=MediaPipeHandSegmenter())).see(photograph, person, masks)
