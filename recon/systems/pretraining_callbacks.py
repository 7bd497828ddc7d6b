"""What happens around the steps of a pretraining: curves, progress, and stopping together."""

import csv
import logging
import signal
import sys
import time
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm

from recon.priors.batches import LatticeBatch
from recon.systems.callbacks import CurveFile, LastCheckpoint

log = logging.getLogger(__name__)


class PriorCurve(CurveFile):
    """Losses of a pretraining in metrics.csv, written by the first process."""

    columns: tuple[str, ...] = (  # type: ignore[assignment]
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

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the rows up to the step reached."""
        if trainer.is_global_zero:
            super().on_train_start(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Append a row if it is time to, with the terms of this step's kind alone."""
        due = not trainer.global_step % self.every or trainer.global_step == trainer.max_steps
        if not trainer.is_global_zero or not due:
            return
        figures = dict(trainer.callback_metrics)  # Lightning keeps what the other kind of step has logged
        if not isinstance(batch, LatticeBatch):
            figures.pop("loss_lattice", None)
        row: dict[str, Any] = {name: f"{float(value):.6g}" for name, value in figures.items()}
        row["step"] = trainer.global_step
        row["learning_rate"] = f"{trainer.optimizers[0].param_groups[0]['lr']:.6g}"
        row["train_s"] = f"{self.before_s + time.monotonic() - self.started:.2f}"
        with self.path.open("a", newline="") as file:
            csv.DictWriter(
                file, self.columns, restval="", extrasaction="ignore", lineterminator="\n"
            ).writerow(row)


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


class PriorProgress(pl.Callback):
    """Loss and time left: a bar on a terminal, a log line now and then elsewhere.

    Args:
        steps: Of the whole training.
        every_s: Seconds between log lines where there is no terminal.
    """

    def __init__(self, steps: int, every_s: float = 15.0) -> None:
        self.steps, self.every_s = steps, every_s
        self.bar: tqdm | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin at the step that the trainer has reached."""
        self.first = trainer.global_step
        self.started = self.shown = time.monotonic()
        if sys.stderr.isatty() and trainer.is_global_zero:
            self.bar = tqdm(total=self.steps, initial=self.first, unit="step", dynamic_ncols=True)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the step's loss, at most four times a second."""
        now, step = time.monotonic(), trainer.global_step
        due = now - self.shown >= (0.25 if self.bar else self.every_s) or step == self.steps
        if not trainer.is_global_zero or not due:
            return
        self.shown = now
        loss = f"loss {float(trainer.callback_metrics.get('loss', float('nan'))):.5f}"
        if self.bar:
            self.bar.update(step - self.bar.n)
            self.bar.set_postfix_str(loss)
        else:
            left = (now - self.started) / max(step - self.first, 1) * (self.steps - step)
            minutes, seconds = divmod(round(left), 60)
            log.info("step %d/%d  %s  %d:%02d left", step, self.steps, loss, minutes, seconds)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        if self.bar:
            self.bar.close()
