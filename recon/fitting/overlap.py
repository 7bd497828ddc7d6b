"""Which photographs are compared with which, and where both show the same surface."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from recon.fitting.family import Member
from recon.fitting.pinhole import Pinhole
from recon.fitting.prepared import PreparedView
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


def shared(
    head: Member, hits: Hits, first: Pinhole, second: Pinhole, view: PreparedView
) -> tuple[Int[Tensor, " kept"], Float[Tensor, " kept"]]:
    """Which hits of a first photograph a second one shows as well, and the product of the cosines to both.

    Args:
        head: The head.
        hits: Where rays of the first camera meet it.
        first: Camera of the first photograph.
        second: Camera of the second.
        view: The second photograph.
    """
    pixels, depth = second.project(hits.points)
    height, width = view.inside.shape
    column, row = pixels[:, 0].floor().long(), pixels[:, 1].floor().long()
    shown = (depth > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    shown &= view.inside[row.clamp(0, height - 1), column.clamp(0, width - 1)]
    normal = normalize(hits.slope, dim=1)
    cosines = [
        (normal * normalize(pinhole.centre - hits.points, dim=1)).sum(1) for pinhole in (first, second)
    ]
    shown &= (cosines[0] > GRAZING) & (cosines[1] > GRAZING)
    candidates = torch.nonzero(shown)[:, 0]
    clear = unhidden(head, hits.points[candidates], hits.slope[candidates], second.centre)
    kept = candidates[clear]
    return kept, (cosines[0] * cosines[1])[kept]
