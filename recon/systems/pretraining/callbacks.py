"""The loop of a pretraining and its callbacks: curves, validation, checkpoints on which all processes agree."""

import logging
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from recon.priors.data.batches import LatticeBatch
from recon.processes import telling_starter
from recon.run_folders import CHECKPOINT
from recon.systems.callbacks import CurveFile, LastCheckpoint, StepProgress, read_rows, write_rows
from recon.systems.checkpoint import AtomicCheckpointIO
from recon.systems.config import build

log = logging.getLogger(__name__)


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


class ValidationTable(pl.Callback):
    """Writes errors on unseen data to validation.csv at intervals, in the first process; `measured` says which.

    Args:
        path: The file.
        every: Number of steps between validations; 0 for none.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every
        self.rows: list[Mapping[str, Any]] = []

    def measured(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any) -> Mapping[str, Any]:
        """A row of errors of the network as it is now."""
        raise NotImplementedError

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the rows up to the step reached."""
        if trainer.global_step:
            self.rows = list(read_rows(self.path, trainer.global_step))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Validate if it is time to; the end has its own, longer validation."""
        step = trainer.global_step
        if not self.every or step % self.every or step == trainer.max_steps or not trainer.is_global_zero:
            return
        self.rows.append({"step": step, **self.measured(trainer, pl_module, batch)})
        write_rows(self.path, list(self.rows[-1]), self.rows)


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


def fit(
    cfg: DictConfig,
    folder: Path,
    system: pl.LightningModule,
    steps: int,
    batches: pl.LightningDataModule,
    last: AgreedCheckpoint,
    callbacks: Sequence[pl.Callback],
) -> None:
    """Train to the end, or to a signal, on from the checkpoint where there is one.

    Args:
        cfg: Settled configuration.
        folder: Of the run.
        system: What is trained.
        steps: Of the whole training.
        batches: Its data.
        last: The callback that keeps the last state; it knows whether a signal stopped the training.
        callbacks: All callbacks, `last` among them.
    """
    settings, path = cfg.trainer, folder / CHECKPOINT
    trainer = pl.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=settings.strategy,
        precision=settings.precision,
        max_steps=steps,
        max_epochs=-1,
        callbacks=list(callbacks),
        logger=[build(logger, kind="logger") for logger in cfg.logger.loggers] or False,
        log_every_n_steps=settings.log_every,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder,
    )
    log.info("training %d steps; everything of this run goes to %s", steps, folder)
    with last.interrupting(), telling_starter():
        trainer.fit(system, datamodule=batches, ckpt_path=path if path.is_file() else None)
