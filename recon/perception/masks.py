"""From a probability of "person" to a mask of three states: head and shoulders of one person, not, and not known.

The probability follows the picture's edges by a guided filter in colours (He, Sun and Tang 2013; at a coarser size, He
and Sun 2015). Mean IoU above the chin on 7 views of the demo head before each of four backdrops:

| | plain | clutter | strong clutter | colour of hair |
|---|---|---|---|---|
| median of the network's crops | 0.995 | 0.990 | 0.987 | 0.983 |
| and guided filter | 0.996 | 0.993 | 0.992 | 0.988 |
| closed-form matting (pymatting) of a band of 5 % of the face instead | 0.995 | 0.992 | 0.993 | 0.993 |
| local colour models of both sides, then guided filter | 0.997 | 0.990 | 0.990 | 0.983 |
| this module: doubt of the network, guided filter | 0.996 | 0.991 | 0.978 | 0.988 |
| the same where it is not ignored | 0.996 | 0.995 | 0.997 | 0.995 |

Colour models alone are led astray by a backdrop like skin or hair. Closed-form matting (one more package) helps most
with one of the hair's colour. Once a head is fitted, `recon.perception.refinement` judges anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from PIL import Image
from scipy import ndimage

from recon.errors import SceneError
from recon.perception.networks import Face
from recon.perception.photograph import Photograph
from recon.scene.images import read_mask, upright
from recon.scene.pairing import files_in, partners, strays

AUTO, ALPHA = "auto", "alpha"
"""What `masks=` may say besides a folder: by the network, or by the photographs' own alpha channels."""
RADIUS = 0.06
"""Of the guided filter, in sizes of the face."""
EPSILON = 1e-4
WORKING_FACE_PX = 128
"""Size of the face at which the filter's coefficients are found."""
COLLAR = 0.9
"""Below this many sizes of the face under the chin nothing is said: bodies turn otherwise than heads."""
UNSURE = 0.1, 0.9
"""Probabilities between these are not known, where they are no mere edge."""
EDGE = 0.02
"""Half the width of a sharp edge, in sizes of the face."""
SOFT_EDGE = 0.06
"""Half the width of hair's edge in the network's probability, in sizes of the face: its middle still tells where the
hair ends, and an outline that is good to some millimetres is worth more than none. On portraits with long hair the
half width of a sharp edge left 1 to 5 % of the outline, and a head without its hair.
"""
HOLE = 0.12
"""Holes of a side up to this, in sizes of the face, are closed."""


@dataclass(frozen=True, eq=False)
class PersonMask:
    """One person in a photograph.

    Attributes:
        mask: (h, w) the person: head, neck, shoulders, as far as they are seen.
        ignore: (h, w) where photograph and mask say nothing: uncertain, a hand, another person, or below the collar.
        probability: (h, w) float32 after the guided filter, of any person; a user's mask has 0 and 1.
        source: `network`, `alpha` or the file of a user's mask.
        hands: (h, w) hands above the collar; None where they were not looked for.
        hidden: (h, w) hands, and what is nearer to other faces: no colours of the person, whatever is learned later.
    """

    mask: Bool[np.ndarray, "height width"]
    ignore: Bool[np.ndarray, "height width"]
    probability: Float[np.ndarray, "height width"]
    source: str
    hands: Bool[np.ndarray, "height width"] | None = None
    hidden: Bool[np.ndarray, "height width"] | None = None


def person_mask(
    photograph: Photograph,
    probability: Float[np.ndarray, "height width"],
    face: Face | None,
    others: Sequence[Face] = (),
    hands: Bool[np.ndarray, "height width"] | None = None,
) -> PersonMask:
    """The mask of the person of a face.

    Args:
        photograph: What is seen.
        probability: Of any person, from a network.
        face: The person's; without one the largest connected region is taken.
        others: Faces of other persons. What is nearer to one of them, in sizes of the faces, is not known.
        hands: Pixels of hands, which are not known either.
    """
    width, height = photograph.size
    size = face.size if face else min(width, height) / 3
    filtered = follow_edges(photograph.image, probability, size)
    person = filtered > 0.5
    foreign = np.zeros_like(person)
    if face is not None and others:
        foreign = _nearer_to_others(face, others, width, height)
    mine = _region(person & ~foreign, face)
    mine = without_holes(mine, (HOLE * size) ** 2)
    stray = ndimage.binary_opening(person & ~mine, iterations=max(round(EDGE * size), 1))
    below = below_collar(photograph, face)
    ignored = unsure(filtered, size) | stray | below
    hidden = foreign if hands is None else foreign | hands
    if hands is not None:
        ignored, hands = ignored | hands, hands & ~below
    return PersonMask(mine, ignored, filtered, "network", hands, hidden)


def unsure(probability: Float[np.ndarray, "height width"], size: float) -> Bool[np.ndarray, "height width"]:
    """Where a probability tells nothing and is no mere edge; `size` is that of the face."""
    between = (probability > UNSURE[0]) & (probability < UNSURE[1])
    soft, sharp = (max(round(width * size), 1) for width in (SOFT_EDGE, EDGE))
    opened = ndimage.binary_opening(between, iterations=soft)
    result: np.ndarray = ndimage.binary_dilation(opened, iterations=sharp)
    return result


def follow_edges(
    image: Float[np.ndarray, "height width 3"], probability: Float[np.ndarray, "height width"], size: float
) -> Float[np.ndarray, "height width"]:
    """The probability after the guided filter, which is run only where it is not 0; `size` is that of the face."""
    result = np.zeros_like(probability)
    rows, columns = (np.flatnonzero((probability > 0.01).any(axis=axis)) for axis in (1, 0))
    if len(rows):
        margin = math.ceil(2 * RADIUS * size)
        y, x = (slice(max(k[0] - margin, 0), k[-1] + 1 + margin) for k in (rows, columns))
        values = probability[y, x]
        result[y, x] = guided_filter(image[y, x], values, RADIUS * size, EPSILON, size / WORKING_FACE_PX)
    return result


def given_mask(photograph: Photograph, mask: np.ndarray, face: Face | None, source: str) -> PersonMask:
    """A user's mask: taken as it is, and only below the collar not."""
    return PersonMask(mask, below_collar(photograph, face), mask.astype(np.float32), source)


def below_collar(photograph: Photograph, face: Face | None) -> Bool[np.ndarray, "height width"]:
    """Pixels below the collar, along the face's own axis; none without a face."""
    width, height = photograph.size
    if face is None:
        return np.zeros((height, width), bool)
    along = _pixels(width, height) @ face.down
    return along > face.chin + COLLAR * face.size


def guided_filter(
    guide: Float[np.ndarray, "height width 3"],
    values: Float[np.ndarray, "height width"],
    radius: float,
    epsilon: float,
    factor: float = 1.0,
) -> Float[np.ndarray, "height width"]:
    """Values that follow the edges of a picture, in [0, 1].

    Args:
        guide: The picture.
        values: What is to follow it.
        radius: Half the side of the windows, pixels of the picture.
        epsilon: Variance of colours that counts as an edge.
        factor: Above 1, coefficients are found at a size smaller by this.
    """
    picture = torch.from_numpy(np.ascontiguousarray(guide.transpose(2, 0, 1)))[None]
    target = torch.from_numpy(np.ascontiguousarray(values, np.float32))[None, None]
    small, wanted = picture, target
    if factor > 1:
        size = [max(1, round(n / factor)) for n in values.shape]
        small, wanted = (F.interpolate(x, size, mode="area") for x in (picture, target))
    reach = max(1, round(radius / max(factor, 1)))
    slope, offset = _coefficients(small, wanted, reach, epsilon)
    if factor > 1:
        slope, offset = (
            F.interpolate(x, values.shape, mode="bilinear", align_corners=False) for x in (slope, offset)
        )
    result: np.ndarray = ((slope * picture).sum(1) + offset[:, 0])[0].clamp(0, 1).numpy()
    return result


def _coefficients(
    picture: torch.Tensor, values: torch.Tensor, reach: int, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The affine function of colour that is nearest to the values, averaged over the windows of each pixel."""
    mean, level = _box(picture, reach), _box(values, reach)
    covariance = _box(picture * values, reach) - mean * level
    pairs = (picture[:, :, None] * picture[:, None]).flatten(1, 2)
    spread = _box(pairs, reach) - (mean[:, :, None] * mean[:, None]).flatten(1, 2)
    matrix = spread.unflatten(1, (3, 3)).permute(0, 3, 4, 1, 2) + epsilon * torch.eye(3)
    slope = torch.linalg.solve(matrix, covariance.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return _box(slope, reach), _box(level - (slope * mean).sum(1, keepdim=True), reach)


def _box(x: torch.Tensor, reach: int) -> torch.Tensor:
    """Mean over windows of 2 reach + 1 pixels, fewer at the border."""
    for axis, kernel in ((2, (2 * reach + 1, 1)), (3, (1, 2 * reach + 1))):
        padding = (reach, 0) if axis == 2 else (0, reach)
        x = F.avg_pool2d(x, kernel, 1, padding, count_include_pad=False)
    return x


def _pixels(width: int, height: int) -> Float[np.ndarray, "height width 2"]:
    return np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1)


def _nearer_to_others(face: Face, others: Sequence[Face], width: int, height: int) -> np.ndarray:
    """Pixels that are nearer to another face; from the middle of each head with neck, in sizes of the faces."""
    places = _pixels(width, height)
    distance = [np.linalg.norm(places - each.centre, axis=-1) / each.size for each in (face, *others)]
    return distance[0] > np.min(distance[1:], axis=0)


def _region(person: Bool[np.ndarray, "height width"], face: Face | None) -> Bool[np.ndarray, "height width"]:
    """The connected region with most pixels in the middle of the face; without one, with most pixels."""
    labels, count = ndimage.label(person)
    if not count:
        return person
    seeds = labels
    if face is not None:
        (x0, y0), (x1, y1) = (np.maximum(face.centre + k * face.size, 0).astype(int) for k in (-0.35, 0.35))
        near = labels[y0:y1, x0:x1]
        seeds = near if near.any() else labels
    counts = np.bincount(seeds.ravel(), minlength=count + 1)
    counts[0] = 0
    return labels == counts.argmax()


def without_holes(mask: Bool[np.ndarray, "height width"], largest: float) -> Bool[np.ndarray, "height width"]:
    """The mask with holes of up to so many pixels closed."""
    holes, count = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
    small = np.bincount(holes.ravel(), minlength=count + 1) <= largest
    small[0] = False
    return mask | small[holes]


def mask_paths(folder: Path, photographs: Sequence[Path]) -> dict[Path, Path]:
    """The user's mask of each photograph that has one: of the same name, else of the same number (see
    `recon.scene.pairing`).

    Raises:
        SceneError: There is no such folder, or a mask belongs to no photograph, or two to one.
    """
    if not folder.is_dir():
        raise SceneError(
            f"masks={folder}: expected auto, alpha, or a folder of masks named like the photographs"
        )
    files = files_in(folder)
    found = partners(photographs, files, "masks")
    if stray := strays(files, found):
        raise SceneError(
            f"{stray[0]} has the name of no photograph: name it like its photograph, for instance "
            f"{photographs[0].stem}.png for {photographs[0].name}"
        )
    return found


def read_given_mask(path: Path, photograph: Photograph) -> Bool[np.ndarray, "height width"]:
    """A user's mask in pixels of the working picture.

    It has the size of the photograph, upright or as stored (then it is turned as the photograph was), or of the working
    picture.

    Raises:
        SceneError: It cannot be read, or has another size.
    """
    mask = Image.fromarray(read_mask(path).astype(np.uint8) * 255)
    if mask.size not in (photograph.original_size, photograph.size):
        stored = photograph.original_size[::-1] if photograph.orientation >= 5 else photograph.original_size
        if mask.size != stored:
            raise SceneError(
                f"mask {path} has {mask.width} x {mask.height} pixels, its photograph {photograph.path} "
                f"{photograph.original_size[0]} x {photograph.original_size[1]}: make them the same"
            )
        mask = Image.fromarray(upright(np.asarray(mask), photograph.orientation))
    if mask.size != photograph.size:
        mask = mask.resize(photograph.size, Image.Resampling.BOX)
    return np.asarray(mask) > 127
