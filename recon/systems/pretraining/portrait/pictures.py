"""Sheets of what the portrait network says of unseen people, beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from recon.perception.portrait import PortraitNetwork, upsampled
from recon.perception.portrait_maps import (
    HAIRS,
    SKINS,
    draw_canonical,
    draw_directions,
    draw_parts,
    draw_strands,
)
from recon.systems.pretraining.portrait.data import PortraitFolder, fixed_sample, stored_of
from recon.systems.report.pictures import write_png

ROWS = 8


def write_sheet(
    path: Path, network: PortraitNetwork, folder: PortraitFolder, indices: Sequence[int], rows: int = ROWS
) -> None:
    """Writes a sheet: a row for each portrait with picture, then parts, alpha, normals, canonical coordinates and
    directions of hair, each as found and as they are.

    Args:
        path: The PNG.
        network: In evaluation mode.
        folder: Unseen people.
        indices: Portraits to choose from, evenly.
        rows: How many.
    """
    chosen = np.unique(np.linspace(0, len(indices) - 1, min(rows, len(indices))).round().astype(int))
    sheet = [portrait_row(network, folder, indices[k]) for k in chosen]
    write_png(path, np.concatenate(sheet).astype(np.float64) / 255)


def portrait_row(network: PortraitNetwork, folder: PortraitFolder, index: int) -> np.ndarray:
    """One row of a sheet, 8-bit."""
    batch = fixed_sample(folder, index)
    picture = batch.pictures[0].permute(1, 2, 0).numpy()
    device = next(network.parameters()).device
    with torch.inference_mode():
        output = network(batch.pictures.to(device))
    maps = upsampled(type(output)(**{name: value.cpu() for name, value in vars(output).items()}), picture)
    truth, labels = stored_of(folder, index), maps.labels()
    cells = [np.rint(picture * 255).astype(np.uint8)]
    cells += [draw_parts(labels), draw_parts(truth.parts)]
    cells += [
        np.repeat(np.rint(a * 255).astype(np.uint8)[..., None], 3, axis=2) for a in (maps.alpha, truth.alpha)
    ]
    cells += [draw_directions(maps.normals, labels > 0), draw_directions(truth.normals, truth.parts > 0)]
    for shown, points in ((labels, maps.canonical), (truth.parts, truth.canonical)):
        cells.append(draw_canonical(points, np.isin(shown, SKINS + HAIRS)))
    for shown, strand in ((labels, maps.strand), (truth.parts, truth.strand)):
        cells.append(draw_strands(strand, np.isin(shown, HAIRS)))
    return np.concatenate(cells, axis=1)
