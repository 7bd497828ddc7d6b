"""Compresses a `PCAShapeModel` for shipping; `recon.priors.pca.packed` is the way back."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recon.geometry.frames import BOX_HIGH_MM, BOX_LOW_MM, FACE_RADIUS_MM, LANDMARKS_MM
from recon.priors.pca import codec
from recon.priors.pca.packed import CODEC, everywhere
from recon.priors.pca.shape_model import PCAShapeModel
from recon.priors.weights import ShapePrior, write_tensors

MEAN_STEP_MM = 0.02
FACE_SHARE, SHOULDER_FACTOR, SHOULDERS_MM = 0.5, 2.0, -135.0
"""Steps of blocks at the face, and of those below a height of the canonical frame."""


def save_packed_prior(
    path: str | Path, prior: ShapePrior, inside: Bool[np.ndarray, "x y z"], step_mm: float
) -> str:
    """Writes a prior of kind "grid" compressed; returns the SHA-256 of the file.

    Args:
        path: A `.safetensors` file.
        prior: The shape model.
        inside: The nodes of its lattice that have a row.
        step_mm: Quantisation step of the basis.
    """
    assert isinstance(prior.network, PCAShapeModel)
    tensors = packed(prior.network, inside, step_mm, prior.canonical.radius_mm)
    return write_tensors(Path(path), prior, tensors, codec=CODEC)


def packed(
    network: PCAShapeModel, inside: Bool[np.ndarray, "x y z"], step_mm: float, radius_mm: float
) -> dict[str, Tensor]:
    """Compressed tensors of a shape model.

    Args:
        network: The shape model.
        inside: The nodes that have a row, a border of one value not included.
        step_mm: Quantisation step of the basis; half of it at the face, twice of it at the shoulders.
        radius_mm: Of the canonical ball.
    """
    shape = network.mean.shape
    blocks = codec.Blocks.of(np.pad(inside, 1), network.row_of.numpy().reshape(shape))
    whole = everywhere(shape)
    rows = network.rows.float().numpy() * radius_mm
    mean = network.mean.values.detach().numpy() * radius_mm
    streams = {
        "inside": codec.packed_bits(inside),
        **_named("rows", codec.pack(rows, blocks, step_mm * _steps(blocks, shape))),
        **_named("mean", codec.pack(mean, whole, MEAN_STEP_MM * _steps(whole, shape))),
    }
    return {
        **{name: torch.from_numpy(stream) for name, stream in streams.items()},
        "landmark_mean": network.landmark_mean,
        "landmark_basis": network.landmark_basis.half(),
        **_brightness_model(network),
    }


def _brightness_model(network: PCAShapeModel) -> dict[str, Tensor]:
    """What its faces look like, in half precision; the basis at its own scale, in bytes."""
    known = network.brightness_model
    if known is None:
        return {}
    scale = known.basis.abs().amax() / 127
    tensors = {f"brightness_{each.name}": getattr(known, each.name).half() for each in fields(known)}
    tensors["brightness_basis"] = (known.basis / scale).round().to(torch.int8)
    tensors["brightness_basis_scale"] = scale
    tensors["brightness_places"] = known.places
    return tensors


def _steps(blocks: codec.Blocks, shape: tuple[int, ...]) -> Float[np.ndarray, " blocks"]:
    """Quantisation step of each block relative to the common one."""
    low, high = np.array(BOX_LOW_MM), np.array(BOX_HIGH_MM)
    spacing = (high - low) / (np.array(shape) - 3)
    centres = low + (blocks.centres - 1) * spacing
    reach = FACE_RADIUS_MM + codec.SIDE / 2 * spacing.max()
    face = np.linalg.norm(centres - LANDMARKS_MM["nose_tip"], axis=1) < reach
    steps: np.ndarray = np.where(
        face, FACE_SHARE, np.where(centres[:, 1] < SHOULDERS_MM, SHOULDER_FACTOR, 1.0)
    )
    return steps


def _named(name: str, streams: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{name}.{key}": stream for key, stream in streams.items()}
