"""The band of lattice nodes near the surfaces of heads, with the weight of each node."""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from recon.errors import PriorError
from recon.files import replacing
from recon.geometry.frames import BOX_HIGH_MM, BOX_LOW_MM, in_face_or_ears
from recon.priors.data.components import closeness
from recon.priors.data.dataset import HeadData
from recon.priors.data.lattices import REACH_MM
from recon.threads import mapped

log = logging.getLogger(__name__)

DETAIL_FACTOR = 4.0
"""Factor of the weight of a node near face or ears: what is left of faces on the template is small against hair."""
SHARDS_BETWEEN = 20
"""Number of shards after which the sums are kept."""


@dataclass(frozen=True)
class Band:
    """The lattice nodes near the surfaces of heads.

    Attributes:
        inside: Whether a node is in the band.
        mean_mm: Mean signed distance at every node.
        weights: Weights of the nodes of the band.
    """

    inside: Bool[np.ndarray, "x y z"]
    mean_mm: Float32[np.ndarray, "x y z"]
    weights: Float32[np.ndarray, " band"]


def find_band(data: HeadData, path: Path, reach_mm: float, share: float, workers: int = 1) -> Band:
    """Finds the band from the lattices of all heads.

    Args:
        data: Heads with lattices.
        path: File in which the sums over shards are kept; an interrupted search goes on from it.
        reach_mm: A node is in the band if enough heads have their surface nearer than this.
        share: Share of the heads that is enough.
        workers: Number of threads.

    Raises:
        PriorError: The lattices do not cover the box, or no head has a surface in it.
    """
    assert data.lattice_mm is not None
    low, high = np.array(BOX_LOW_MM), np.array(BOX_HIGH_MM)
    shape = tuple(int(n) for n in np.round((high - low) / data.lattice_mm) + 1)
    sums: dict[str, Any] = {
        "total": np.zeros(shape),
        "close": np.zeros(shape),
        "near": np.zeros(shape, np.int32),
        "done": 0,
    }
    if path.is_file():
        with np.load(path) as held:
            sums = {name: held[name] for name in held.files}
    shards = range(int(sums["done"]), len(data.shards))
    for part in mapped(partial(_survey, data, shape, reach_mm), shards, workers):
        for name, value in part.items():
            sums[name] = sums[name] + value
        if sums["done"] % SHARDS_BETWEEN == 0 or sums["done"] == len(data.shards):
            with replacing(path) as temporary:
                np.savez(temporary, allow_pickle=False, **sums)
            log.info("looked at %d of %d shards", sums["done"], len(data.shards))
    heads = len(data.names)
    inside = sums["near"] >= max(1.0, share * heads)
    if not inside.any():
        raise PriorError("no head has its surface inside the box of the canonical frame")
    nodes = low + np.argwhere(inside) * data.lattice_mm
    detailed = in_face_or_ears(nodes)
    weights = sums["close"][inside] / heads * np.where(detailed, DETAIL_FACTOR, 1.0)
    return Band(inside, (sums["total"] / heads).astype(np.float32), weights.astype(np.float32))


def _survey(data: HeadData, shape: tuple[int, ...], reach_mm: float, shard: int) -> dict[str, Any]:
    lattice = data.lattice(shard)
    if lattice.shape[1:] != shape:
        raise PriorError(
            f"shard {shard} holds lattices of shape {lattice.shape[1:]}, expected {shape} "
            f"({data.lattice_mm:g} mm over the box)"
        )
    heads = len(lattice)
    return {
        "total": lattice.sum(axis=0, dtype=np.float32),
        "close": heads * closeness(lattice.reshape(heads, -1), REACH_MM).reshape(shape),
        "near": (np.abs(lattice) < reach_mm).sum(axis=0).astype(np.int32),
        "done": 1,
    }
