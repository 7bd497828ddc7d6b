"""Co-visibility: pairs of photographs that are compared, and surface points that a photograph shows."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from recon.fitting.observations import Pinhole, ViewObservation
from recon.fitting.shape_model import Shape
from recon.fitting.tracing import Hits, unoccluded

GRAZING = 0.25
"""Surface is compared only where the cosine between its normal and the view is larger."""
LEAST_ROWS = 100
"""Smallest number of co-visible pixels for which a pair of photographs is compared."""


def neighbours(pinholes: Sequence[Pinhole], angle_deg: float, most: int = 2) -> dict[int, list[int]]:
    """Finds for each photograph those that show the head from a neighbouring direction, the nearest first.

    Args:
        pinholes: Cameras in canonical unit space.
        angle_deg: Directions further apart are no neighbours; a photograph without any has the nearest one.
        most: Largest number of neighbours.
    """
    towards = normalize(torch.stack([pinhole.centre for pinhole in pinholes]), dim=1)
    cosine = towards @ towards.T
    least = np.cos(np.radians(angle_deg))
    found = {}
    for i in range(len(pinholes)):
        order = [int(j) for j in cosine[i].argsort(descending=True) if int(j) != i]
        near = [j for j in order if cosine[i, j] > least][:most]
        if order:
            found[i] = near or order[:1]
    return found


def covisible_hits(
    head: Shape, hits: Hits, first: Pinhole, second: Pinhole, view: ViewObservation
) -> tuple[Int[Tensor, " kept"], Float[Tensor, " kept"]]:
    """Numbers of the hits of a first photograph that a second one shows too, and the products of the cosines to both.

    Args:
        head: The head.
        hits: Intersections of rays of the first camera with it.
        first: Camera of the first photograph.
        second: Camera of the second.
        view: The second photograph.
    """
    shown = _shown(hits.points, second, view)
    normal = normalize(hits.gradient, dim=1)
    cosines = [
        (normal * normalize(pinhole.centre - hits.points, dim=1)).sum(1) for pinhole in (first, second)
    ]
    shown &= (cosines[0] > GRAZING) & (cosines[1] > GRAZING)
    candidates = torch.nonzero(shown)[:, 0]
    clear = unoccluded(head, hits.points[candidates], hits.gradient[candidates], second.centre)
    kept = candidates[clear]
    return kept, (cosines[0] * cosines[1])[kept]


def visible(
    head: Shape,
    points: Float[Tensor, "points 3"],
    gradient: Float[Tensor, "points 3"],
    pinhole: Pinhole,
    view: ViewObservation,
    grazing: float = 0.3,
) -> Int[Tensor, " shown"]:
    """Numbers of the points near the surface of a head that a photograph shows.

    Args:
        head: The head.
        points: Points near its surface, canonical unit space.
        gradient: Derivative of the signed distance there.
        pinhole: Camera of the photograph, canonical unit space.
        view: The photograph.
        grazing: Smallest cosine between normal and view at which a point counts as shown.
    """
    towards = normalize(pinhole.centre - points, dim=1)
    shown = _shown(points, pinhole, view) & ((normalize(gradient, dim=1) * towards).sum(1) > grazing)
    candidates = torch.nonzero(shown)[:, 0]
    clear = unoccluded(head, points[candidates], gradient[candidates], pinhole.centre)
    return candidates[clear]


def _shown(
    points: Float[Tensor, "points 3"], pinhole: Pinhole, view: ViewObservation
) -> Bool[Tensor, " points"]:
    """Whether points are projected onto pixels of the head."""
    pixels, depth = pinhole.project(points)
    height, width = view.inside.shape
    column, row = pixels[:, 0].floor().long(), pixels[:, 1].floor().long()
    shown = (depth > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return shown & view.inside[row.clamp(0, height - 1), column.clamp(0, width - 1)]
