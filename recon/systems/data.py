"""Training pixels as a Lightning data module."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset

from recon.rendering import RayBatch, SurfaceBatch

Batch = RayBatch | SurfaceBatch


class _Steps(IterableDataset):
    """Batches of consecutive steps, from the step that the trainer has reached."""

    def __init__(self, batch: Callable[[int], Any], first_step: Callable[[], int]) -> None:
        self.batch, self.first_step = batch, first_step

    def __iter__(self) -> Iterator[Any]:
        step = self.first_step()
        while True:
            yield self.batch(step)
            step += 1


class StepData(pl.LightningDataModule):
    """Endless batches, each a function of (seed, step), so that a resumed run sees what an uninterrupted one
    would.
    """

    @abstractmethod
    def batch(self, step: int) -> Any:
        """What this process trains on in a step."""

    def train_dataloader(self) -> DataLoader:
        """Batches from the trainer's present step on."""
        return DataLoader(_Steps(self.batch, self._step), batch_size=None)

    def _step(self) -> int:
        assert self.trainer is not None
        return self.trainer.global_step

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch."""
        return batch.to(device)


class RayData(StepData):
    """Pixels and their rays.

    Args:
        sampler: gives the pixels of a step.
    """

    def __init__(self, sampler: Callable[[int], Batch]) -> None:
        super().__init__()
        self.sampler = sampler

    def batch(self, step: int) -> Batch:
        """The sampler's."""
        return self.sampler(step)
