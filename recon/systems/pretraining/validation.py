"""How well a shape model describes heads that it was not trained on."""

import csv
import io
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float

from recon.files import replacing
from recon.geometry.frames import FACE_RADIUS_MM
from recon.priors import ShapeNetwork, fit_code
from recon.priors.data.dataset import HeadData, HeadPoints
from recon.priors.weights import Canonical
from recon.systems.pretraining.auto_decoder import Pretraining

log = logging.getLogger(__name__)

SHOULDERS_MM = -120.0
"""Below this height of the canonical frame a bust is neck and shoulders, and not counted as head."""


def heads_of(data: HeadData, count: int) -> Iterator[tuple[str, HeadPoints, int]]:
    """Name, shard and row of the first heads."""
    for number, heads in enumerate(data.shards):
        if heads[0] >= count:
            return
        shard = data.load(number)
        for row, head in enumerate(heads):
            if head < count:
                yield data.names[head], shard, row


def field_errors(
    network: ShapeNetwork, canonical: Canonical, data: HeadData, count: int, fitted: int
) -> dict[str, float]:
    """Codes fitted to some surface points of unseen heads, and |F| at the others: means over heads, mm.

    Args:
        network: The shape model.
        canonical: Its frame.
        data: Unseen heads.
        count: How many of them.
        fitted: Surface points that a code is fitted to; those behind them are judged.

    Returns:
        `field_face_mm`, `field_head_mm` (without neck and shoulders), `field_all_mm` and `code_square`, which
        is near 1 or below where the prior of the codes fits.
    """
    device = next(network.parameters()).device
    rows = []
    for _, shard, row in heads_of(data, count):
        surface = shard.surface[row]
        used = min(fitted, len(surface) // 2)
        points = torch.from_numpy(surface).to(device)
        code = fit_code(network, points[:used])
        member = network.at(code)
        sdf = torch.cat([member.sdf(part) for part in points[used:].split(16_384)])
        error = sdf.abs().cpu().numpy() * canonical.radius_mm
        face, head = regions_of(surface[used:], canonical)
        rows.append((error[face].mean(), error[head].mean(), error.mean(), float(code.square().mean())))
    names = ("field_face_mm", "field_head_mm", "field_all_mm", "code_square")
    return {name: round(float(value), 4) for name, value in zip(names, np.mean(rows, axis=0), strict=True)}


def regions_of(points: Float[np.ndarray, "points 3"], canonical: Canonical) -> tuple[np.ndarray, np.ndarray]:
    """Which points of canonical unit space belong to the face, and which to the head."""
    mm = points * canonical.radius_mm + np.asarray(canonical.centre_mm)
    face = np.linalg.norm(mm - canonical.landmarks_mm["nose_tip"], axis=1) < FACE_RADIUS_MM
    return face, mm[:, 1] > SHOULDERS_MM


class Validation(pl.Callback):
    """Errors on unseen heads now and then, in the log and in validation.csv; done by the first process.

    Args:
        path: Of the file.
        data: Unseen heads.
        every: Steps between validations; 0 for none.
        count: Heads.
        fitted: Surface points that a code is fitted to.
    """

    def __init__(self, path: Path, data: HeadData, every: int, count: int, fitted: int) -> None:
        self.path, self.data, self.every, self.count, self.fitted = path, data, every, count, fitted
        self.rows: list[Mapping[str, Any]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the rows up to the step reached."""
        if trainer.global_step and self.path.is_file():
            with self.path.open(newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= trainer.global_step]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Validate if it is time to; the end has its own, longer validation."""
        step = trainer.global_step
        if not self.every or step % self.every or step == trainer.max_steps or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, Pretraining)
        errors = field_errors(
            pl_module.standardised(), pl_module.canonical, self.data, self.count, self.fitted
        )
        log.info("step %d, %d unseen heads: %s", step, self.count, in_words(errors))
        self.rows.append({"step": step, **errors})
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        with replacing(self.path) as temporary:
            temporary.write_text(text.getvalue())


def in_words(errors: Mapping[str, float | int]) -> str:
    """Errors for the log."""
    return ", ".join(f"{name} {value:.3f}" for name, value in errors.items())
