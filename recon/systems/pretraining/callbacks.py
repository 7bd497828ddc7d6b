"""Callbacks of a pretraining: curves, progress, and checkpoints on which all processes agree."""

import signal
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl

from recon.priors.data.batches import LatticeBatch
from recon.systems.callbacks import CurveFile, LastCheckpoint, StepProgress


class PriorCurve(CurveFile):
    """Losses of a pretraining in metrics.csv, written by the first process."""

    columns = (
        "step",
        "loss",
        "loss_lattice",
        "loss_distance",
        "loss_surface",
        "loss_normal",
        "loss_eikonal",
        "loss_latent",
        "code_norm",
        "learning_rate",
        "train_s",
    )

    def figures(self, trainer: pl.Trainer, batch: Any) -> Mapping[str, Any]:
        """The terms of this step's kind alone: Lightning keeps what the other kind of step has logged."""
        left_out = () if isinstance(batch, LatticeBatch) else ("loss_lattice",)
        return {name: value for name, value in trainer.callback_metrics.items() if name not in left_out}


class AgreedCheckpoint(LastCheckpoint):
    """`LastCheckpoint` for several processes: a signal to any of them stops all after the same step."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Agree on stopping, then save if it is time to."""
        stop = trainer.strategy.reduce_boolean_decision(self.stopped_by is not None, all=False)
        if stop and self.stopped_by is None:
            self.stopped_by = signal.SIGTERM
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


class PriorProgress(StepProgress):
    """`StepProgress` with the loss."""

    def figures(self, trainer: pl.Trainer) -> str:
        """The loss that was logged."""
        return f"loss {float(trainer.callback_metrics.get('loss', float('nan'))):.5f}"
