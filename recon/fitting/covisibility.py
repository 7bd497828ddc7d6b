"""Which photographs are compared with which, and where both show the same surface."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from recon.fitting.observations import Pinhole, ViewObservation
from recon.fitting.shape_model import Shape
from recon.fitting.tracing import Hits, unhidden

GRAZING = 0.25
"""Surface seen at a smaller cosine than this is not compared."""
LEAST_ROWS = 100
"""A pair of photographs that share fewer pixels is not compared."""


def neighbours(pinholes: Sequence[Pinhole], angle_deg: float, most: int = 2) -> dict[int, list[int]]:
    """For each photograph those that show the head from a neighbouring direction, the nearest first.

    Args:
        pinholes: Cameras in canonical unit space.
        angle_deg: Directions further apart are no neighbours; a photograph without any has the nearest one.
        most: So many neighbours at most.
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
    """Which hits of a first photograph a second one shows as well, and the product of the cosines to both.

    Args:
        head: The head.
        hits: Where rays of the first camera meet it.
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
    clear = unhidden(head, hits.points[candidates], hits.gradient[candidates], second.centre)
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
    """Which points near a head's surface a photograph shows.

    Args:
        head: The head.
        points: Canonical unit space.
        gradient: Derivative of the signed distance there.
        pinhole: The photograph's camera.
        view: The photograph.
        grazing: Points seen at a smaller cosine do not count.
    """
    towards = normalize(pinhole.centre - points, dim=1)
    shown = _shown(points, pinhole, view) & ((normalize(gradient, dim=1) * towards).sum(1) > grazing)
    candidates = torch.nonzero(shown)[:, 0]
    clear = unhidden(head, points[candidates], gradient[candidates], pinhole.centre)
    return candidates[clear]


def _shown(
    points: Float[Tensor, "points 3"], pinhole: Pinhole, view: ViewObservation
) -> Bool[Tensor, " points"]:
    """Which points fall on what a photograph shows of the head."""
    pixels, depth = pinhole.project(points)
    height, width = view.inside.shape
    column, row = pixels[:, 0].floor().long(), pixels[:, 1].floor().long()
    shown = (depth > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return shown & view.inside[row.clamp(0, height - 1), column.clamp(0, width - 1)]
