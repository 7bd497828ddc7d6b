"""Batches of the training steps of a shape prior, drawn from shards: functions of (seed, step) alone."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from recon.errors import PriorError
from recon.priors.data.dataset import HeadData, HeadPoints


@dataclass(frozen=True)
class Batch:
    """Tensors whose first axis may be divided among processes."""

    def part(self, rank: int, world: int) -> "Batch":
        """The rows of one process."""
        if world == 1:
            return self
        return type(self)(*(getattr(self, f.name).tensor_split(world)[rank] for f in fields(self)))

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device."""
        return type(self)(*(getattr(self, f.name).to(device) for f in fields(self)))


@dataclass(frozen=True)
class DistanceBatch(Batch):
    """Points of a few heads with exact signed distances, canonical unit space."""

    heads: Int[Tensor, " heads"]
    points: Float[Tensor, "heads points 3"]
    distances: Float[Tensor, "heads points"]


@dataclass(frozen=True)
class SurfaceBatch(Batch):
    """Points on the surfaces of a few heads with normals, and points off them, canonical unit space."""

    heads: Int[Tensor, " heads"]
    points: Float[Tensor, "heads points 3"]
    normals: Float[Tensor, "heads points 3"]
    off_surface: Float[Tensor, "heads off 3"]


@dataclass(frozen=True)
class LatticeBatch(Batch):
    """Lattice nodes with the signed distances of all heads, canonical unit space."""

    points: Float[Tensor, "nodes 3"]
    distances: Float[Tensor, "nodes heads"]


class ShardPool:
    """A bounded number of shards in memory, of which one is exchanged every so many steps.

    Shards come in an order shuffled anew for every pass over the data, by the seed.

    Args:
        data: The heads.
        size: Number of shards held at a time.
        turn: Number of steps until one of them is exchanged.
        seed: Seed of the order.
    """

    def __init__(self, data: HeadData, size: int, turn: int, seed: int) -> None:
        self.data, self.turn, self.seed = data, turn, seed
        self.size = min(size, len(data.shards))
        self.held: dict[int, HeadPoints] = {}

    def shards(self, step: int) -> dict[int, HeadPoints]:
        """The shards of a step, by their number."""
        everything = self.size == len(self.data.shards)
        first = 0 if everything else step // self.turn
        wanted = list(dict.fromkeys(self._shard(first + n) for n in range(self.size)))
        self.held = {n: self.held[n] if n in self.held else self.data.load(n) for n in wanted}
        return self.held

    def _shard(self, place: int) -> int:
        count = len(self.data.shards)
        order = np.random.default_rng([self.seed, 1, place // count]).permutation(count)
        return int(order[place % count])


class PointSampler:
    """Batches of points of a few heads.

    Args:
        data: The heads.
        pool: Shards to draw from.
        heads: Number of heads of a batch.
        points: Number of points of each head.
        sigma: Standard deviation of off-surface points about surface points, unit; surface supervision only.
        seed: Seed of the draws.

    Raises:
        PriorError: Distances are asked for and the data have none.
    """

    def __init__(
        self, data: HeadData, pool: ShardPool, heads: int, points: int, sigma: float, seed: int
    ) -> None:
        self.data, self.pool, self.heads, self.points = data, pool, heads, points
        self.sigma, self.seed = sigma, seed

    def distances(self, step: int) -> DistanceBatch:
        """Points with exact distances."""
        rng = np.random.default_rng([self.seed, 2, step])
        chosen = self._choose(rng, self.pool.shards(step))
        points, distances = [], []
        for _, shard, row in chosen:
            if shard.points is None or shard.distances is None:
                raise PriorError("these data have no exact distances: train on surfaces, supervision=surface")
            at = rng.integers(shard.points.shape[1], size=self.points)
            points.append(shard.points[row, at])
            distances.append(shard.distances[row, at])
        return DistanceBatch(_numbers(chosen), _stack(points), _stack(distances))

    def surface(self, step: int) -> SurfaceBatch:
        """Surface points; off the surface the same points with noise, and an eighth as many in the unit ball (IGR)."""
        rng = np.random.default_rng([self.seed, 2, step])
        chosen = self._choose(rng, self.pool.shards(step))
        points, normals, off_surface = [], [], []
        for _, shard, row in chosen:
            at = rng.integers(shard.surface.shape[1], size=self.points)
            points.append(shard.surface[row, at])
            normals.append(shard.normals[row, at])
            moved = points[-1] + rng.normal(scale=self.sigma, size=(self.points, 3))
            off_surface.append(np.concatenate([moved, _in_ball(rng, max(1, self.points // 8))]))
        return SurfaceBatch(_numbers(chosen), _stack(points), _stack(normals), _stack(off_surface))

    def _choose(
        self, rng: np.random.Generator, held: dict[int, HeadPoints]
    ) -> list[tuple[int, HeadPoints, int]]:
        """Heads drawn from the shards held: number, shard and row; each at most once while there are enough."""
        rows = [(head, held[n], row) for n in sorted(held) for row, head in enumerate(self.data.shards[n])]
        at = rng.choice(len(rows), self.heads, replace=self.heads > len(rows))
        return [rows[n] for n in at]


def _numbers(chosen: Sequence[tuple[int, HeadPoints, int]]) -> Int[Tensor, " heads"]:
    return torch.tensor([head for head, _, _ in chosen])


def _stack(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays).astype(np.float32))


def _in_ball(rng: np.random.Generator, count: int) -> Float[np.ndarray, "count 3"]:
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    result: np.ndarray = direction * rng.uniform(size=(count, 1)) ** (1 / 3)
    return result
