"""Inputs of a reconstruction with one thing wrong in each, and the words by which a warning names it.

Each fault is a pure function of photographs, masks and cameras; `KINDS` says on how many inputs each is tried, and
which words in a warning or an error count as finding it. Where one view alone is wrong, the words must go with its
number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from recon.scene import Camera, Scene
from recon.synth.datasets.faults import displaced, disturbed

MM_PER_METRE = 1000.0


@dataclass(frozen=True)
class Pictures:
    """What a reconstruction is given.

    Attributes:
        images: Photographs, sRGB in [0, 1], (h, w, 3).
        masks: Masks of the person.
        cameras: World cameras, mm.
        scale_mat: Similarity world_from_unit, 4x4.
    """

    images: tuple[np.ndarray, ...]
    masks: tuple[np.ndarray, ...]
    cameras: tuple[Camera, ...]
    scale_mat: Float[np.ndarray, "4 4"]

    @classmethod
    def from_scene(cls, scene: Scene, views: Sequence[int]) -> "Pictures":
        """Reads the views of a scene, numbered anew."""
        chosen = [scene.views[view] for view in views]
        return cls(
            tuple(view.image() for view in chosen),
            tuple(view.mask() for view in chosen),
            tuple(view.camera for view in chosen),
            scene.scale_mat,
        )

    def having(
        self,
        view: int,
        *,
        image: np.ndarray | None = None,
        mask: np.ndarray | None = None,
        camera: Camera | None = None,
    ) -> "Pictures":
        """These pictures with another image, mask or camera in one view."""
        return replace(
            self,
            images=_put(self.images, view, image),
            masks=_put(self.masks, view, mask),
            cameras=_put(self.cameras, view, camera),
        )


Spoil = Callable[[Pictures, Pictures, int], Pictures]
"""Takes the pictures, those of another person from like cameras, and the view that is to be wrong."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        shows: What is wrong, in words.
        spoil: Makes it.
        says: Regular expression of the words that name the cause, not heeding case; in it `{view}` is the number of the
            view that is wrong.
        inputs: Number of inputs that have it.
    """

    shows: str
    spoil: Spoil
    says: str
    inputs: int


def _put(values: tuple, view: int, value: object) -> tuple:
    return values if value is None else (*values[:view], value, *values[view + 1 :])


def camera_turned(given: Pictures, other: Pictures, view: int) -> Pictures:
    """The camera of one view is turned by 6° and moved by 30 mm."""
    return given.having(view, camera=disturbed(given.cameras[view], 6.0, 30.0, 0, view))


def cameras_exchanged(given: Pictures, other: Pictures, view: int) -> Pictures:
    """The cameras of a view and the next one are exchanged."""
    following = (view + 1) % len(given.cameras)
    first, second = given.cameras[view], given.cameras[following]
    return given.having(view, camera=second).having(following, camera=first)


def mask_shifted(given: Pictures, other: Pictures, view: int) -> Pictures:
    """The mask of one view is shifted by a twelfth of the picture's width, as after cropping."""
    mask = given.masks[view]
    return given.having(view, mask=_shifted(mask, mask.shape[1] // 12))


def mask_of_another(given: Pictures, other: Pictures, view: int) -> Pictures:
    """One view has the mask of another person's photograph."""
    return given.having(view, mask=other.masks[view])


def mask_mirrored(given: Pictures, other: Pictures, view: int) -> Pictures:
    """The mask of one view is mirrored."""
    return given.having(view, mask=given.masks[view][:, ::-1].copy())


def masks_too_wide(given: Pictures, other: Pictures, view: int) -> Pictures:
    """All masks reach 20 px of 512 too far."""
    wide = [displaced(mask, np.full(mask.shape, mask.shape[1] / 25.6)) for mask in given.masks]
    return replace(given, masks=tuple(wide))


def focal_wrong(given: Pictures, other: Pictures, view: int) -> Pictures:
    """Focal lengths of all cameras are 1.3 times too long."""
    factor = np.array([[1.3, 1.3, 1.0], [1.3, 1.3, 1.0], [1.0, 1.0, 1.0]])
    cameras = [replace(camera, intrinsics=camera.intrinsics * factor) for camera in given.cameras]
    return replace(given, cameras=tuple(cameras))


def in_metres(given: Pictures, other: Pictures, view: int) -> Pictures:
    """The world is in metres."""
    to_metres = np.diag([1 / MM_PER_METRE] * 3 + [1.0])
    cameras = [camera.transformed(to_metres) for camera in given.cameras]
    return replace(given, cameras=tuple(cameras), scale_mat=to_metres @ given.scale_mat)


def photograph_rolled(given: Pictures, other: Pictures, view: int) -> Pictures:
    """Photograph and mask of one view are rolled by a quarter turn, its camera is not."""
    image, mask = (np.rot90(each).copy() for each in (given.images[view], given.masks[view]))
    return given.having(view, image=image, mask=mask)


def thing_in_mask(given: Pictures, other: Pictures, view: int) -> Pictures:
    """A thing that is held beside the face in one view counts as the person."""
    image, mask = given.images[view].copy(), given.masks[view].copy()
    rows, columns = np.indices(mask.shape)
    top, bottom = np.flatnonzero(mask.any(axis=1))[[0, -1]]
    row = top + (bottom - top) // 3
    edge = int(np.flatnonzero(mask[row])[0])
    size = mask.shape[1] // 9
    thing = (np.abs(rows - row) < size) & (np.abs(columns - edge) < 0.7 * size)
    image[thing] = [0.15, 0.16, 0.2]
    return given.having(view, image=image, mask=mask | thing)


def mask_cut(given: Pictures, other: Pictures, view: int) -> Pictures:
    """The mask of one view lacks the upper fifth of the head, as where hair was taken for background."""
    mask = given.masks[view].copy()
    top, bottom = np.flatnonzero(mask.any(axis=1))[[0, -1]]
    mask[: top + (bottom - top) // 5] = False
    return given.having(view, mask=mask)


def masks_inverted(given: Pictures, other: Pictures, view: int) -> Pictures:
    """All masks are white where the background is."""
    return replace(given, masks=tuple(~mask for mask in given.masks))


def person_exchanged(given: Pictures, other: Pictures, view: int) -> Pictures:
    """One view is a photograph of another person, with its mask."""
    return given.having(view, image=other.images[view], mask=other.masks[view])


def photographs_blurred(given: Pictures, other: Pictures, view: int) -> Pictures:
    """All photographs are blurred as far out of focus, by 6 px of 512."""
    blurred = [
        ndimage.gaussian_filter(image, (image.shape[1] / 85, image.shape[1] / 85, 0)).astype(np.float32)
        for image in given.images
    ]
    return replace(given, images=tuple(blurred))


def _shifted(mask: Bool[np.ndarray, "h w"], columns: int) -> Bool[np.ndarray, "h w"]:
    """A mask that is moved to the right; what comes in is its first column again."""
    return np.concatenate([np.repeat(mask[:, :1], columns, axis=1), mask[:, :-columns]], axis=1)


_VIEW = r"views?\b[^;.]*\b{view}\b"
KINDS: dict[str, Kind] = {
    "camera": Kind("camera of one view off by 6° and 30 mm", camera_turned, rf"{_VIEW}.*camera", 4),
    "exchanged": Kind(
        "cameras of two views exchanged", cameras_exchanged, r"exchanged|another order|wrong order", 4
    ),
    "shifted mask": Kind(
        "mask of one view shifted by a twelfth of the width", mask_shifted, rf"{_VIEW}.*mask", 4
    ),
    "mask of another": Kind(
        "mask of one view from another person's photograph", mask_of_another, rf"{_VIEW}.*mask", 4
    ),
    "mirrored mask": Kind("mask of one view mirrored", mask_mirrored, rf"{_VIEW}.*(mask|mirrored)", 3),
    "wide masks": Kind("all masks 20 px too wide", masks_too_wide, r"masks (are|that are) too wide", 3),
    "focal length": Kind("all focal lengths 1.3 times too long", focal_wrong, r"focal length", 3),
    "metres": Kind("world in metres", in_metres, r"in millimetres", 2),
    "rolled": Kind(
        "photograph and mask of one view rolled by 90°",
        photograph_rolled,
        rf"{_VIEW}.*(turned|rotated|camera)",
        3,
    ),
    "thing in mask": Kind(
        "a thing beside the face in one mask", thing_in_mask, rf"{_VIEW}.*mask (reaches|shows)", 3
    ),
    "cut mask": Kind("upper fifth of one mask missing", mask_cut, rf"{_VIEW}.*mask", 2),
    "inverted masks": Kind("masks inverted", masks_inverted, r"inverted", 1),
    "another person": Kind(
        "photograph of another person in one view", person_exchanged, rf"{_VIEW}.*(person|mask|camera)", 2
    ),
    "blurred": Kind("all photographs out of focus", photographs_blurred, r"blur|focus|sharp", 2),
}
"""Kinds of faults, 40 inputs in all."""
