"""What happens around the training steps: progress, checkpoints, stopping on a signal, training curves."""

import csv
import io
import logging
import signal
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm

from recon.errors import Interruption
from recon.files import replacing

log = logging.getLogger(__name__)


class StepProgress(pl.Callback):
    """How far a training is, its figures and the time left: a bar on a terminal, a log line now and then elsewhere;
    by the first process alone.

    Args:
        steps: of the whole training.
        every_s: seconds between log lines where there is no terminal.
    """

    def __init__(self, steps: int, every_s: float = 15.0) -> None:
        self.steps, self.every_s = steps, every_s
        self.bar: tqdm | None = None

    @abstractmethod
    def figures(self, trainer: pl.Trainer) -> str:
        """What is shown of the present step."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin at the step that the trainer has reached."""
        self.first = trainer.global_step
        self.started = self.shown = time.monotonic()
        if sys.stderr.isatty() and trainer.is_global_zero:
            self.bar = tqdm(
                total=self.steps, initial=self.first, unit="step", dynamic_ncols=True, desc="training"
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the step's figures, at most four times a second."""
        now, step = time.monotonic(), trainer.global_step
        due = now - self.shown >= (0.25 if self.bar else self.every_s) or step == self.steps
        if not trainer.is_global_zero or not due:
            return
        self.shown = now
        text = self.figures(trainer)
        if self.bar:
            self.bar.update(step - self.bar.n)
            self.bar.set_postfix_str(text)
        else:
            left = (now - self.started) / max(step - self.first, 1) * (self.steps - step)
            log.info("step %d/%d  %s  %s left", step, self.steps, text, _clock(left))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        if self.bar:
            self.bar.update(trainer.global_step - self.bar.n)
            self.bar.close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar where there is one, so that the error has a line of its own."""
        if self.bar:
            self.bar.close()


class Progress(StepProgress):
    """`StepProgress` with loss, PSNR, mask IoU and rays per second."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count rays too."""
        self.rays = 0
        super().on_train_start(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the rays of every step, those too that are not shown."""
        self.rays += len(batch)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def figures(self, trainer: pl.Trainer) -> str:
        """Those that were logged, and the mean speed."""
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        speed = self.rays / (time.monotonic() - self.started)
        shown = {"loss": "loss {:.4f}", "psnr": "psnr {:.1f} dB", "mask_iou": "mask IoU {:.3f}"}
        parts = [form.format(values[name]) for name, form in shown.items() if name in values]
        return "  ".join([*parts, f"{speed / 1000:.1f}k rays/s"])


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


class LastCheckpoint(pl.Callback):
    """Saves `last.ckpt` every so many steps, at the end, and when a signal asks the run to stop.

    SIGINT and SIGTERM end the run after the present step, with its state saved; a second signal interrupts at
    once.

    Args:
        path: of the checkpoint.
        every: steps between saves.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every
        self.stopped_by: signal.Signals | None = None
        self.train_s = 0.0
        self.handlers: dict[signal.Signals, Any] = {}  # none before the training has started

    def state_dict(self) -> dict[str, Any]:
        """Training time so far, so that a resumed run reports all of it."""
        return {"train_s": self.train_s}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the time of the run before."""
        self.train_s = float(state_dict["train_s"])

    def seconds(self) -> float:
        """Training time up to now, during training."""
        return self.train_s + time.monotonic() - self.clock

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen for signals."""
        self.clock = time.monotonic()
        for number in (signal.SIGINT, signal.SIGTERM):
            self.handlers[number] = signal.signal(number, self._stop)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time to, or if the run is to stop."""
        self.train_s = self.seconds()
        self.clock = time.monotonic()
        if self.stopped_by is not None:
            trainer.should_stop = True
        if self.stopped_by is not None or trainer.global_step % self.every == 0:
            trainer.save_checkpoint(self.path)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the final state and give the signals back."""
        trainer.save_checkpoint(self.path)
        self._restore()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Give the signals back."""
        self._restore()

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """A context in which a second signal is an `Interruption`; Lightning makes it the end of the process."""
        try:
            yield
        except SystemExit as end:
            signalled = getattr(end.__context__, "number", None)
            raise Interruption(signalled or self.stopped_by or signal.SIGINT) from end

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.stopped_by is not None:
            raise Interruption(number)
        self.stopped_by = signal.Signals(number)
        log.warning("%s: stopping after this step; once more interrupts at once", self.stopped_by.name)

    def _restore(self) -> None:
        while self.handlers:
            signal.signal(*self.handlers.popitem())


class CurveFile(pl.Callback):
    """Training curves in a CSV file: a row every so many steps; a resumed run goes on in the same file. The first
    process alone writes it. A figure called loss_… that a method logs of its own gets a column of its own.

    Args:
        path: of the file.
        every: steps between rows.
        seconds: Training time up to now, of which there is one count: that of `LastCheckpoint`.
    """

    columns: tuple[str, ...] = (
        "step",
        "loss",
        "loss_colour",
        "loss_mask",
        "loss_eikonal",
        "psnr",
        "mask_iou",
        "learning_rate",
        "train_s",
    )

    def __init__(self, path: Path, every: int, seconds: Callable[[], float]) -> None:
        self.path, self.every, self.seconds = path, every, seconds

    def figures(self, trainer: pl.Trainer, batch: Any) -> Mapping[str, Any]:
        """What was logged of the step with this batch."""
        return trainer.callback_metrics

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the rows up to the step reached; drop later ones, which a resumed run draws again."""
        if not trainer.is_global_zero:
            return
        rows = read_rows(self.path, trainer.global_step) if trainer.global_step else []
        self._write(rows)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Append a row if it is time to."""
        if not trainer.is_global_zero:
            return
        if trainer.global_step % self.every and trainer.global_step != trainer.max_steps:
            return
        figures = self.figures(trainer, batch)
        row: dict[str, Any] = {name: f"{float(value):.6g}" for name, value in figures.items()}
        row["step"] = trainer.global_step
        row["learning_rate"] = f"{trainer.optimizers[0].param_groups[0]['lr']:.6g}"
        row["train_s"] = f"{self.seconds():.2f}"
        if any(name.startswith("loss_") and name not in self.columns for name in row):
            self._write([*read_rows(self.path, trainer.global_step), row])
            return
        with self.path.open("a", newline="") as file:
            csv.DictWriter(
                file, self.columns, restval="", extrasaction="ignore", lineterminator="\n"
            ).writerow(row)

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the whole file anew, with a column for each loss of its rows."""
        losses = (name for row in rows for name in row if name.startswith("loss_"))
        self.columns = tuple(dict.fromkeys([*self.columns, *losses]))
        write_rows(self.path, self.columns, rows)


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a table of figures by step anew; what a row lacks is empty, what no column is for is left out."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue())


def read_rows(path: Path, last_step: int) -> list[dict[str, Any]]:
    """Rows of a table of figures by step, up to a step; none where there is no file.

    Such a table decides nothing: what is damaged in it, as by a full disk or a power cut, is left out with a warning.

    Args:
        path: Of the CSV file, whose first column is `step`.
        last_step: Rows of later steps are left out: a resumed run draws them again.
    """
    if not path.is_file():
        return []
    *lines, rest = path.read_text(encoding="utf-8", errors="replace").split("\n")
    names = lines[0].rstrip("\r").split(",") if lines else []
    rows: list[dict[str, Any]] = []
    damaged = bool(rest) + ("step" not in names)
    for line in lines[1:]:
        row = dict(zip(names, values := line.rstrip("\r").split(","), strict=False))
        step = row.get("step", "")
        if len(values) != len(names) or not step.isdecimal() or not all(map(_is_figure, values)):
            damaged += 1
        elif int(step) <= last_step:
            rows.append(row)
    if damaged:
        log.warning(
            "%s: %d damaged lines are left out; the training goes on from its checkpoint all the same",
            path, damaged,
        )  # fmt: skip
    return rows


def _is_figure(text: str) -> bool:
    """Whether a cell of a table of figures is a number or empty."""
    try:
        float(text or 0)
    except ValueError:
        return False
    return True
