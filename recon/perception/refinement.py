"""Masks made better by a head that is known to be there: what the network says, where the head is and which colours
person and backdrop have are added up as independent evidence, each of limited weight, and follow the picture's edges.

The network's mask is good along a head's outline, where a shape model's head ends otherwise than real hair. So it is
changed only where head and colours together are sure of the contrary, which is so far from the outline: another
person's shoulder, a thing of the backdrop, a part of the face that the network lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from recon.perception.masks import EDGE, HOLE, UNSURE, PersonMask, follow_edges, without_holes

FACE_MM, COLOUR_FACE_PX = 150.0, 72
"""Size of a face, and of one at which colours are learned."""
INSIDE, OUTSIDE = 6.0, -1.5
"""Log odds of a person where the head's outline is surely further out, or surely further in, but for hair."""
FREE_MM, FREE = (60.0, 110.0), (-3.5, -6.0)
"""Log odds so far from the outline: hair may stand out further than the shape model's."""
OUTLINE_FACTOR, OUTLINE_MM = 4.0, (8.0, 15.0)
"""The head's outline is known to so many times the fit's own error, within these bounds."""
MOST_NETWORK, MOST_COLOUR = 1.5, 2.0
"""No more log odds are given by the network, and by colours."""
INNER_MM, OUTER_MM, FAR_MM = 6.0, 10.0, 150.0
"""Colours of the person are first learned so deep inside the head, those of the backdrop so far off, and no further."""
BACKDROP = 0.1
"""Probability of a person, by the network, below which colours are the backdrop's."""
ROUNDS, SURE = 2, 2.0
"""How often colours are learned again, and from pixels of which log odds."""
COMPONENTS, STEPS, SAMPLES = 6, 6, 2000
NOISE = 0.02
"""Least standard deviation of a component, of the range of a channel."""
OUTLIERS = 0.05
"""Share of pixels, on both sides, that may have any colour."""
PLACE_MM = 400.0
"""Unit of the places of pixels, two of a mixture's five dimensions: colours count near where they were seen."""
LEAST_PIXELS = 100
LEAST_AGREED = 0.2
"""Share of the head's outline that must lie along the network's mask: real photographs with much hair have 0.24 and
more, most have above 0.8."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of Gaussians over colours and places.

    Attributes:
        weights: (k,) they sum to one.
        means: (k, d).
        roots: (k, d, d) Cholesky factors of the inverse covariances.
    """

    weights: Float[Tensor, " k"]
    means: Float[Tensor, "k d"]
    roots: Float[Tensor, "k d d"]

    @classmethod
    def fitted(cls, values: Float[Tensor, "n d"]) -> Mixture:
        """The mixture of some values, by expectation maximisation from slices along their main axis."""
        # Not every so-manieth: rows of pixels and patterns of the backdrop repeat themselves.
        chosen = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))[:SAMPLES]
        values = values[chosen]
        centred = values - values.mean(dim=0)
        axis = torch.linalg.eigh(centred.T @ centred)[1][:, -1]
        share = torch.zeros(len(values), COMPONENTS)
        order = torch.argsort(centred @ axis, stable=True)
        share[order, torch.arange(len(values)) * COMPONENTS // len(values)] = 1
        model = cls._of_shares(values, share)
        for _ in range(STEPS):
            model = cls._of_shares(values, model._log_densities(values).softmax(dim=0).T)
        return model

    @classmethod
    def _of_shares(cls, values: Float[Tensor, "n d"], share: Float[Tensor, "n k"]) -> Mixture:
        count = share.sum(dim=0) + 1e-3
        means = share.T @ values / count[:, None]
        offsets = values - means[:, None]
        spread = (offsets * share.T[..., None]).mT @ offsets / count[:, None, None]
        noise = NOISE**2 * torch.eye(values.shape[1])
        return cls(count / count.sum(), means, torch.linalg.cholesky(torch.linalg.inv(spread + noise)))

    def _log_densities(self, values: Float[Tensor, "n d"]) -> Float[Tensor, "k n"]:
        """Weighted log density of each component at each value."""
        scaled = (values - self.means[:, None]) @ self.roots
        scale = self.roots.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        constant = self.weights.log() + scale - values.shape[1] / 2 * math.log(2 * math.pi)
        return constant[:, None] - 0.5 * scaled.square().sum(dim=2)

    def log_density(self, values: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Log density at each value, with a share of outliers that have any value with density 1."""
        inliers = self._log_densities(values).logsumexp(dim=0) + math.log(1 - OUTLIERS)
        return torch.logaddexp(inliers, torch.tensor(math.log(OUTLIERS)))


def refined_mask(
    image: Float[np.ndarray, "height width 3"],
    seen: PersonMask,
    head: Bool[np.ndarray, "height width"],
    body: Bool[np.ndarray, "height width"],
    px_per_mm: float,
    outline_mm: float,
) -> tuple[Bool[np.ndarray, "height width"], Bool[np.ndarray, "height width"]] | None:
    """The person whose head is seen, and what is to be ignored.

    Where the evidence is sure of the contrary, the network's mask is changed; where it only leans to the contrary, the
    mask stays and is ignored; what the network itself was not sure of counts again deep inside the head.

    Args:
        image: The photograph.
        seen: The network's mask.
        head: Where the person's head, neck and shoulders are seen, nearly.
        body: What lies below the chin, where a fitted head is no evidence of a person: shoulders differ.
        px_per_mm: Scale of the picture at the head.
        outline_mm: Typical distance between the outlines of the head and of the masks that it was fitted to.

    Returns:
        None where the outlines of head and network's mask lie apart nearly everywhere, or the mask is not of the head:
        then neither is known to be right.
    """
    found = person_probability(image, seen.probability, head, px_per_mm, outline_mm, seen.hidden)
    size = px_per_mm * FACE_MM
    edge, known = max(round(EDGE * size), 1), round(px_per_mm * _known_mm(outline_mm))
    person, sure = found > 0.5, (found < UNSURE[0]) | (found > UNSURE[1])
    contrary = (person != seen.mask) & ~(person & body)
    changed = contrary & _grown(_shrunk(contrary & sure, edge), 3 * edge)
    mask = seen.mask
    if changed.any():
        mask = without_holes(_region(mask ^ changed, head), (HOLE * size) ** 2)
    doubted = (person != mask) & ~sure & ~(person & body)
    ignored = seen.ignore & ~(_shrunk(head, known) & sure & person & mask)
    ignored |= _grown(_shrunk(doubted, edge), 2 * edge)
    if seen.hidden is not None:
        ignored |= seen.hidden
    outline = _rim(head) & ~body & ~seen.ignore
    agreed = outline & _grown(_rim(seen.mask), known)
    if not (mask & head).any() or agreed.sum() < LEAST_AGREED * outline.sum():
        return None
    return mask, ignored


def _region(mask: Bool[np.ndarray, "height width"], head: Bool[np.ndarray, "height width"]) -> np.ndarray:
    """The connected region of a mask that covers most of a head."""
    labels, count = ndimage.label(mask)
    overlap = np.bincount(labels[head], minlength=count + 1)
    overlap[0] = 0
    return (labels == overlap.argmax()) & (labels > 0)


def _shrunk(mask: Bool[np.ndarray, "height width"], reach: int) -> Bool[np.ndarray, "height width"]:
    """A mask without what is nearer to its outline than a number of pixels, in rows and columns."""
    if not mask.any():
        return mask
    return ndimage.minimum_filter(mask.view(np.uint8), 2 * reach + 1).view(bool)


def _grown(mask: Bool[np.ndarray, "height width"], reach: int) -> Bool[np.ndarray, "height width"]:
    """A mask with what is no further from it than a number of pixels, in rows and columns."""
    if not mask.any():
        return mask
    return ndimage.maximum_filter(mask.view(np.uint8), 2 * reach + 1).view(bool)


def _rim(mask: Bool[np.ndarray, "height width"]) -> np.ndarray:
    """Outermost pixels of a mask, but for those along the picture's border."""
    rim = np.zeros_like(mask)
    inner = mask[1:-1, 1:-1]
    around = mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    rim[1:-1, 1:-1] = inner & ~around
    return rim


def _known_mm(outline_mm: float) -> float:
    """How far from the fitted outline the head's own may be."""
    return float(np.clip(OUTLINE_FACTOR * outline_mm, *OUTLINE_MM))


def person_probability(
    image: Float[np.ndarray, "height width 3"],
    probability: Float[np.ndarray, "height width"],
    head: Bool[np.ndarray, "height width"],
    px_per_mm: float,
    outline_mm: float,
    hidden: Bool[np.ndarray, "height width"] | None = None,
) -> Float[np.ndarray, "height width"]:
    """Probability of the person whose head is seen, along the picture's edges.

    Args:
        image: The photograph.
        probability: Of any person, from a network.
        head: Where the person's head, neck and shoulders are seen, nearly.
        px_per_mm: Scale of the picture at the head.
        outline_mm: Typical distance between the outlines of the head and of the masks that it was fitted to.
        hidden: Where something else is before the person, of which no colours are to be learned.
    """
    factor = max(px_per_mm * FACE_MM / COLOUR_FACE_PX, 1.0)
    nothing = np.zeros_like(head) if hidden is None else hidden
    planes = np.concatenate([image, *(p[..., None] for p in (probability, head, nothing))], axis=2)
    small = _resized(planes.astype(np.float32).transpose(2, 0, 1), [round(n / factor) for n in head.shape])
    network, inside, covered = small[3], small[4].numpy() > 0.5, small[5] > 0.05
    outside_mm, inside_mm = (
        ndimage.distance_transform_edt(k) * factor / px_per_mm for k in (~inside, inside)
    )
    distance = torch.from_numpy(outside_mm - inside_mm).float()
    known = _known_mm(outline_mm)
    table = (-known, 0.0, known, *FREE_MM), (INSIDE, 0.0, OUTSIDE, *FREE)
    by_head = torch.from_numpy(np.interp(distance.numpy(), *table)).float()
    certain = by_head + network.logit(eps=1e-4).clamp(-MOST_NETWORK, MOST_NETWORK)
    by_colour = _colour_evidence(
        small[:3],
        certain,
        (distance < -INNER_MM) & ~covered,
        (distance > OUTER_MM) & (distance < FAR_MM) & (network < BACKDROP) & ~covered,
        (distance < FAR_MM) & ~covered,
        factor / (px_per_mm * PLACE_MM),
    )
    total = _resized((certain + by_colour).sigmoid()[None].numpy(), list(head.shape))[0].numpy()
    return follow_edges(image, total, px_per_mm * FACE_MM)


def _colour_evidence(
    colours: Float[Tensor, "3 height width"],
    certain: Float[Tensor, "height width"],
    person: Bool[Tensor, "height width"],
    backdrop: Bool[Tensor, "height width"],
    usable: Bool[Tensor, "height width"],
    step: float,
) -> Float[Tensor, "height width"]:
    """Log odds of the person by colours, which are learned from what is surely the one or the other: twice, with and
    without the places where they were seen, and the smaller counts; 0 where the two disagree.

    Args:
        colours: The picture.
        certain: Log odds by all else.
        person: Where the person's colours are first learned.
        backdrop: Where the backdrop's are.
        usable: Where they may be learned later.
        step: Of a pixel, in the unit of places.
    """
    height, width = certain.shape
    rows, columns = torch.meshgrid(torch.arange(height) * step, torch.arange(width) * step, indexing="ij")
    values = torch.stack([*colours, columns, rows]).flatten(1).T
    evidence, inner = torch.zeros_like(certain), person
    for _ in range(ROUNDS):
        if min(person.sum(), backdrop.sum()) < LEAST_PIXELS:
            break
        ratios = []
        for kind in (values, values[:, :3]):
            likely, unlikely = (Mixture.fitted(kind[each.ravel()]) for each in (person, backdrop))
            ratios.append(likely.log_density(kind) - unlikely.log_density(kind))
        agree = torch.where(ratios[0] * ratios[1] > 0, ratios[0].sign(), 0.0)
        evidence = agree * torch.minimum(ratios[0].abs(), ratios[1].abs()).clamp(max=MOST_COLOUR)
        evidence = evidence.reshape(height, width)
        # What is deep in the head stays: hair of the backdrop's colour would else be learned as the backdrop's alone.
        person = inner | usable & (certain + evidence > SURE)
        backdrop = usable & (certain + evidence < -SURE)
    return evidence


def _resized(planes: Float[np.ndarray, "planes _ _"], size: list[int]) -> Float[Tensor, "planes _ _"]:
    """Pictures made smaller by means of areas, or larger by interpolation."""
    tensor = torch.from_numpy(np.ascontiguousarray(planes))[None]
    smaller = size[0] < tensor.shape[2]
    mode: dict[str, Any] = {"mode": "area"} if smaller else {"mode": "bilinear", "align_corners": False}
    return F.interpolate(tensor, [max(n, 1) for n in size], **mode)[0]
