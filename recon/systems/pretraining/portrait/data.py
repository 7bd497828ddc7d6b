"""Batches of the portrait network as a Lightning data module: each is a function of seed and step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from recon.errors import PriorError
from recon.perception.portrait_maps import HAIR, SKIN
from recon.synth.portraits.make import read_manifest
from recon.synth.portraits.shards import Shard, Stored
from recon.systems.data import StepData
from recon.systems.pretraining.portrait.photography import (
    before,
    photographed,
    plainly_photographed,
    varied_backdrop,
)
from recon.systems.pretraining.portrait.targets import Placement, PortraitBatch, joined, placed

PADDED = 0.5
"""Share of the samples about which there is black where they reach beyond the portrait."""


class PortraitFolder:
    """The portraits of a split.

    Args:
        root: Folder of `headrecon-make-portraits`.
        split: "train", "val" or "test".

    Raises:
        SceneError: There are none, or one of the shards is broken.
        PriorError: There is no shard.
    """

    def __init__(self, root: Path, split: str) -> None:
        folder = root / split
        self.shards = [Shard(folder / str(entry["file"])) for entry in read_manifest(folder)["shards"]]
        if not self.shards:
            raise PriorError(f"{folder} has no shards of portraits yet; headrecon-make-portraits makes them")
        sizes = {shard.size for shard in self.shards}
        if len(sizes) > 1:
            raise PriorError(f"{folder} has portraits of several sizes: {sorted(sizes)}")
        self.size = sizes.pop()
        self._starts = np.cumsum([0, *(len(shard) for shard in self.shards)])

    def __len__(self) -> int:
        """Number of portraits."""
        return int(self._starts[-1])

    @property
    def people(self) -> int:
        """Number of people."""
        return sum(len(shard.people) for shard in self.shards)

    def place(self, index: int) -> tuple[Shard, int]:
        """The shard of a portrait, and its number there."""
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.shards[number], index - int(self._starts[number])

    def about(self, index: int) -> dict[str, Any]:
        """What is known of a portrait: person, family, whether it was held out, renderer, azimuth, things."""
        shard, row = self.place(index)
        person = shard.people[int(shard.person[row, 0])]
        return person | {"yaw_deg": float(shard.angles[row, 0]), "things": shard.things[row]}

    def camera(self, index: int) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "4 4"]]:
        """Intrinsics of a portrait's camera, pixels, and the similarity from the canonical frame to its axes, mm."""
        shard, row = self.place(index)
        return shard.intrinsics[row], shard.camera_from_canonical[row]


def drawn_sample(folder: PortraitFolder, rng: np.random.Generator) -> PortraitBatch:
    """Draws a training sample: a portrait before any background of its shard, placed and photographed anyhow."""
    shard, row = folder.place(int(rng.integers(len(folder))))
    stored = shard.read(row)
    hair, skin = stored.parts == HAIR, stored.parts == SKIN
    backdrop = shard.backdrop(int(rng.integers(shard.backdrop_count)))
    backdrop = varied_backdrop(backdrop, stored.light, hair, rng)
    picture = before(stored.light, stored.cover, backdrop)
    placement, padded = Placement.drawn(rng), bool(rng.uniform() < PADDED)
    source = np.concatenate([picture, skin[..., None]], axis=2).astype(np.float32)
    seen, sample = placed(stored, source, placement, padded=padded)
    light = seen[0].permute(1, 2, 0).numpy()
    shown = photographed(np.ascontiguousarray(light[..., :3]), light[..., 3] > 0.5, rng)
    return _with_picture(sample, shown)


def fixed_sample(folder: PortraitFolder, index: int) -> PortraitBatch:
    """The sample of a portrait for validation: as it was taken, before a background of its own."""
    shard, row = folder.place(index)
    stored = shard.read(row)
    picture = before(stored.light, stored.cover, shard.backdrop(row * 7 % shard.backdrop_count))
    seen, sample = placed(stored, picture, Placement(), padded=True)
    return _with_picture(sample, plainly_photographed(seen[0].permute(1, 2, 0).numpy()))


def stored_of(folder: PortraitFolder, index: int) -> Stored:
    """The maps of a portrait at full size."""
    shard, row = folder.place(index)
    return shard.read(row)


def _with_picture(sample: PortraitBatch, picture: np.ndarray) -> PortraitBatch:
    pictures = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
    return PortraitBatch(**{**vars(sample), "pictures": pictures})


class PortraitData(StepData):
    """Training batches; every process draws its own part of a step's batch, so that several see what one would.

    Args:
        folder: Of the training portraits.
        batch_size: Portraits of a step, of all processes together.
        seed: Of the draws.
        workers: Processes beside each training process that draw ahead; 0 for none.
    """

    def __init__(self, folder: PortraitFolder, batch_size: int, seed: int, workers: int = 0) -> None:
        super().__init__()
        self.folder, self.batch_size, self.seed, self.workers = folder, batch_size, seed, workers

    def draw(self, step: int, rank: int = 0, world: int = 1) -> PortraitBatch:
        """A process's part of the batch of a step."""
        rows = range(rank, self.batch_size, world)
        return joined(
            [drawn_sample(self.folder, np.random.default_rng([self.seed, step, row])) for row in rows]
        )

    def batch(self, step: int) -> PortraitBatch:
        """This process's part of the batch of a step."""
        assert self.trainer is not None
        return self.draw(step, self.trainer.global_rank, self.trainer.world_size)

    def train_dataloader(self) -> DataLoader:
        """Batches from the trainer's present step on, in order, however many workers draw them."""
        assert self.trainer is not None
        steps = _DrawnSteps(self.folder, self.batch_size, self.seed, self._step(),
                            self.trainer.global_rank, self.trainer.world_size)  # fmt: skip
        context = "spawn" if self.workers else None
        return DataLoader(
            steps, batch_size=None, num_workers=self.workers, multiprocessing_context=context,
            prefetch_factor=4 if self.workers else None,
        )  # fmt: skip


class _DrawnSteps(IterableDataset):
    """Batches of consecutive steps; of several workers, each draws every so-manieth."""

    def __init__(
        self, folder: PortraitFolder, batch_size: int, seed: int, first: int, rank: int, world: int
    ) -> None:
        self.folder, self.batch_size, self.seed = folder, batch_size, seed
        self.first, self.rank, self.world = first, rank, world

    def __iter__(self) -> Iterator[PortraitBatch]:
        worker = get_worker_info()
        number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        if worker is not None:
            torch.set_num_threads(1)
        data = PortraitData(self.folder, self.batch_size, self.seed)
        step = self.first + number
        while True:
            yield data.draw(step, self.rank, self.world)
            step += count
