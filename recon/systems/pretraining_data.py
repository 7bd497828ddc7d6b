"""Batches of shape pretraining as a Lightning data module."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset

from recon.priors.batches import Batch, PointSampler
from recon.priors.lattices import Lattices

Supervision = Literal["distances", "surface"]


class _Steps(IterableDataset):
    """Batches of consecutive steps, from the step that the trainer has reached."""

    def __init__(self, draw: Callable[[int], Batch], first_step: Callable[[], int]) -> None:
        self.draw, self.first_step = draw, first_step

    def __iter__(self) -> Iterator[Batch]:
        step = self.first_step()
        while True:
            yield self.draw(step)
            step += 1


class HeadBatches(pl.LightningDataModule):
    """Endless batches, each a function of (seed, step): lattice nodes first, then points.

    Every process draws the whole batch and takes its part, so that several train on what one would.

    Args:
        sampler: Of points.
        supervision: What points are trained on.
        lattices: Of all heads, or None.
        nodes: Lattice nodes of a step.
        lattice_steps: Steps on lattices, before any on points.
        seed: Of the draws of nodes.
    """

    def __init__(
        self,
        sampler: PointSampler,
        supervision: Supervision,
        lattices: Lattices | None,
        nodes: int,
        lattice_steps: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.sampler, self.supervision = sampler, supervision
        self.lattices, self.nodes, self.lattice_steps, self.seed = lattices, nodes, lattice_steps, seed

    def draw(self, step: int) -> Batch:
        """The whole batch of a step."""
        if step < self.lattice_steps:
            assert self.lattices is not None
            return self.lattices.draw(self.nodes, self.seed, step)
        self.lattices = None  # two gigabytes that are not needed any more
        return getattr(self.sampler, self.supervision)(step)

    def train_dataloader(self) -> DataLoader:
        """This process's batches from the trainer's present step on."""
        return DataLoader(_Steps(self._part, self._step), batch_size=None)

    def _part(self, step: int) -> Batch:
        assert self.trainer is not None
        return self.draw(step).part(self.trainer.global_rank, self.trainer.world_size)

    def _step(self) -> int:
        assert self.trainer is not None
        return self.trainer.global_step

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch."""
        return batch.to(device)
