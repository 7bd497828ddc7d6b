"""Validation of a shape model on heads that it was not trained on."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float

from recon.geometry.frames import FACE_RADIUS_MM, CanonicalFrame
from recon.priors import ShapeNetwork, fit_code
from recon.priors.data.dataset import HeadData, HeadPoints
from recon.systems.pretraining.auto_decoder import Pretraining
from recon.systems.pretraining.callbacks import ValidationTable

log = logging.getLogger(__name__)

SHOULDERS_MM = -120.0
"""Height of the canonical frame below which a bust is neck and shoulders, and not counted as head."""


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
    network: ShapeNetwork, canonical: CanonicalFrame, data: HeadData, count: int, fitted: int
) -> dict[str, float]:
    """Fits codes to some surface points of unseen heads and measures |F| at the others: means over heads, mm.

    Args:
        network: The shape model.
        canonical: CanonicalFrame frame of the shape model.
        data: Unseen heads.
        count: Number of heads.
        fitted: Number of surface points that a code is fitted to; those after them are measured.

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
        shape = network.shape_of(code)
        sdf = torch.cat([shape.sdf(part) for part in points[used:].split(16_384)])
        error = sdf.abs().cpu().numpy() * canonical.radius_mm
        face, head = regions_of(surface[used:], canonical)
        rows.append((error[face].mean(), error[head].mean(), error.mean(), float(code.square().mean())))
    names = ("field_face_mm", "field_head_mm", "field_all_mm", "code_square")
    return {name: round(float(value), 4) for name, value in zip(names, np.mean(rows, axis=0), strict=True)}


def regions_of(
    points: Float[np.ndarray, "points 3"], canonical: CanonicalFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Whether points of canonical unit space belong to the face, and whether to the head."""
    mm = points * canonical.radius_mm + np.asarray(canonical.centre_mm)
    face = np.linalg.norm(mm - canonical.landmarks_mm["nose_tip"], axis=1) < FACE_RADIUS_MM
    return face, mm[:, 1] > SHOULDERS_MM


class Validation(ValidationTable):
    """Writes errors on unseen heads to the log and to validation.csv at intervals, in the first process.

    Args:
        path: The file.
        data: Unseen heads.
        every: Number of steps between validations; 0 for none.
        count: Number of heads.
        fitted: Number of surface points that a code is fitted to.
    """

    def __init__(self, path: Path, data: HeadData, every: int, count: int, fitted: int) -> None:
        super().__init__(path, every)
        self.data, self.count, self.fitted = data, count, fitted

    def measured(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any) -> Mapping[str, Any]:
        """Errors of the standardised shape model."""
        assert isinstance(module, Pretraining)
        errors = field_errors(module.standardised(), module.canonical, self.data, self.count, self.fitted)
        log.info("step %d, %d unseen heads: %s", trainer.global_step, self.count, in_words(errors))
        return errors


def in_words(errors: Mapping[str, float | int]) -> str:
    """Errors for the log."""
    return ", ".join(f"{name} {value:.3f}" for name, value in errors.items())
