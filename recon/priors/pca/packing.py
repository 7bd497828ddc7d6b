"""Compression of a `PCAShapeModel` for its file, and decompression, whose result is kept in the user's cache folder."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from recon.files import cache_folder, replacing
from recon.fitting.brightness import BrightnessModel
from recon.geometry.frames import BOX_HIGH_MM, BOX_LOW_MM, FACE_RADIUS_MM, LANDMARKS_MM
from recon.priors.pca import codec
from recon.priors.pca.shape_model import PCAShapeModel, halved_resolution, nearest_rows

log = logging.getLogger(__name__)

CODEC = "dct8-1"
"""Name of the compression, as files state it."""
DECODED = "dct8-1 coarse brightness 2"
"""Name of the decoded state and its layout, as files in the cache folder state it."""
DTYPES = {torch.float32: "F32", torch.int32: "I32", torch.float16: "F16"}
PREFIXES = ("coarse.", "landmark_", "brightness_", "mean.", "row", "deformation.", "fine.")
DATA_START = 56
"""Layout of files in the cache folder: tensors by type, then by the beginnings of their names, from a byte that is this
modulo 64. Matrix products of tensors that are mapped from a file depend in their last digits on where these begin, so
the layout may not depend on what tensors are called."""
MEAN_STEP_MM, FINE_STEP_MM, DISPLACEMENT_STEP_MM = 0.02, 0.02, 0.08
"""Quantisation steps of the mean head, of the fine lattice's components and of displacements."""
DEFORMATIONS = "identity", "expression"
FACE_SHARE, SHOULDER_FACTOR, SHOULDERS_MM = 0.5, 2.0, -135.0
"""Factors of the steps of blocks at the face, and of blocks below a height of the canonical frame."""


def packed(
    network: PCAShapeModel, inside: Bool[np.ndarray, "x y z"], step_mm: float, radius_mm: float
) -> dict[str, Tensor]:
    """Compresses the state of a shape model.

    Args:
        network: The shape model.
        inside: Whether a node has a row, a border of one value not included.
        step_mm: Quantisation step of the basis; half of it at the face, twice of it at the shoulders.
        radius_mm: Radius of the canonical ball.
    """
    shape = network.mean.shape
    blocks = codec.Blocks.from_band(np.pad(inside, 1), network.row_of.numpy().reshape(shape))
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
        **_packed_brightness(network),
        **_packed_deformation(network, radius_mm),
        **_packed_fine(network, radius_mm),
    }


def _packed_deformation(network: PCAShapeModel, radius_mm: float) -> dict[str, Tensor]:
    """Displacements of its deformation, if it has one."""
    if network.deformation is None:
        return {}
    streams: dict[str, np.ndarray] = {}
    for name in DEFORMATIONS:
        modes = getattr(network.deformation, name)
        blocks = everywhere(modes.lattice.shape)
        steps = np.full(len(blocks.rows), DISPLACEMENT_STEP_MM)
        streams |= _named(name, codec.pack(modes.rows.float().numpy() * radius_mm, blocks, steps))
    return {name: torch.from_numpy(stream) for name, stream in streams.items()}


def _packed_fine(network: PCAShapeModel, radius_mm: float) -> dict[str, Tensor]:
    """Its fine lattice, if it has one."""
    fine = network.fine
    if fine is None:
        return {}
    inside = np.zeros(fine.lattice.nodes, bool)
    inside[fine.nodes.numpy()] = True
    inside = inside.reshape(fine.lattice.shape)
    blocks = codec.Blocks.from_band(inside, nearest_rows(inside[1:-1, 1:-1, 1:-1]))
    count = len(blocks.rows)
    rows, mean = fine.rows[:-1].float().numpy() * radius_mm, fine.mean[:, None].numpy() * radius_mm
    streams = {
        "fine.inside": codec.packed_bits(inside),
        **_named("fine.rows", codec.pack(rows, blocks, np.full(count, FINE_STEP_MM))),
        **_named("fine.mean", codec.pack(mean, blocks, np.full(count, MEAN_STEP_MM))),
    }
    return {name: torch.from_numpy(stream) for name, stream in streams.items()}


def _packed_brightness(network: PCAShapeModel) -> dict[str, Tensor]:
    """Its brightness model in half precision; the basis in bytes, at its own scale."""
    model = network.brightness_model
    if model is None:
        return {}
    scale = model.basis.abs().amax() / 127
    tensors = {f"brightness_{each.name}": getattr(model, each.name).half() for each in fields(model)}
    tensors["brightness_basis"] = (model.basis / scale).round().to(torch.int8)
    tensors["brightness_basis_scale"] = scale
    tensors["brightness_places"] = model.places
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


def unpacked(
    tensors: Mapping[str, Tensor], arguments: Mapping[str, Any], radius_mm: float
) -> dict[str, Tensor]:
    """Decodes the state of the shape model that `packed` compressed, with its coarse level.

    Raises:
        KeyError: A tensor is missing.
        ValueError: A stream is broken.
    """
    cells = tuple(int(n) for n in arguments["cells"])
    shape = tuple(n + 2 for n in cells)
    streams = {name: tensor.numpy() for name, tensor in tensors.items() if tensor.dtype == torch.uint8}
    inside = codec.unpacked_bits(streams["inside"], cells)
    row_of = nearest_rows(inside)
    blocks, whole = codec.Blocks.from_band(np.pad(inside, 1), row_of), everywhere(shape)
    scale = 1 / radius_mm
    heads = {
        "rows": codec.unpacked_rows(
            _of("rows", streams), blocks, int(arguments["latent_size"]), torch.float16, scale
        ),
        "mean.values": codec.unpacked_rows(_of("mean", streams), whole, 1, torch.float32, scale),
    }
    coarse = halved_resolution(heads, inside, row_of)
    none = {"landmark_mean": torch.zeros(0, 3), "landmark_basis": torch.zeros(0, 3, heads["rows"].shape[1])}
    return {
        **heads,
        **{f"coarse.{name}": value for name, value in {**coarse, **none}.items()},
        "row_of": torch.from_numpy(row_of.ravel()),
        "landmark_mean": tensors["landmark_mean"].float(),
        "landmark_basis": tensors["landmark_basis"].float(),
        **_unpacked_brightness(tensors),
        **_unpacked_deformation(streams, arguments, scale),
        **_unpacked_fine(streams, arguments, scale),
    }


def _unpacked_deformation(
    streams: Mapping[str, np.ndarray], arguments: Mapping[str, Any], scale: float
) -> dict[str, Tensor]:
    """Displacements of the deformation, if the file has one."""
    if not arguments.get("deformation"):
        return {}
    found = {}
    for name in DEFORMATIONS:
        lattice = arguments["deformation"][name]
        blocks = everywhere(tuple(int(n) + 2 for n in lattice["cells"]))
        channels = 3 * int(lattice["modes"])
        rows = codec.unpacked_rows(_of(name, streams), blocks, channels, torch.float16, scale)
        found[f"deformation.{name}.rows"] = rows
    return found


def _unpacked_fine(
    streams: Mapping[str, np.ndarray], arguments: Mapping[str, Any], scale: float
) -> dict[str, Tensor]:
    """The fine lattice, if the file has one."""
    if not arguments.get("fine"):
        return {}
    shape = tuple(int(n) + 2 for n in arguments["fine"]["cells"])
    inside = codec.unpacked_bits(streams["fine.inside"], shape)
    blocks = codec.Blocks.from_band(inside, nearest_rows(inside[1:-1, 1:-1, 1:-1]))
    latent = int(arguments["latent_size"])
    rows = codec.unpacked_rows(_of("fine.rows", streams), blocks, latent, torch.float16, scale)
    mean = codec.unpacked_rows(_of("fine.mean", streams), blocks, 1, torch.float32, scale)
    return {
        "fine.mean": mean[:, 0].clone(),
        "fine.rows": torch.cat([rows, torch.zeros(1, latent, dtype=rows.dtype)]),
        "fine.nodes": torch.from_numpy(np.flatnonzero(inside).astype(np.int32)),
    }


def _unpacked_brightness(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The brightness model, if the file has one."""
    if "brightness_places" not in tensors:
        return {}
    names = {f"brightness_{each.name}" for each in fields(BrightnessModel)}
    found = {name: tensors[name].float() for name in names & tensors.keys()}
    if "brightness_by_code" not in found:  # files from before the code informed brightness
        levels, _, components = found["brightness_components"].shape
        found["brightness_by_code"] = torch.zeros(levels, components, found["brightness_basis"].shape[2])
    found["brightness_basis"] *= tensors["brightness_basis_scale"]
    return found


def cached(sha256: str, decode: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Returns the decoded tensors of a file from the cache folder, where it puts them if they are missing.

    The folder is `$XDG_CACHE_HOME/headrecon`, by default `~/.cache/headrecon`. Where it cannot be written to,
    every process decodes for itself. A file that is broken or of another codec is written again.
    """
    folder = cache_folder()
    path = folder / f"{sha256}.safetensors"
    if path.is_file():
        try:
            found = _read_decoded(path)
            if found is not None:
                return found
        except (SafetensorError, OSError) as error:
            log.warning("%s is broken (%s) and is made anew", path, error)
    log.info("decoding a prior, once: a few seconds")
    tensors = decode()
    try:
        with replacing(path) as temporary:
            _write_decoded(temporary, tensors)
        return _read_decoded(path) or tensors  # as the next process will read it, to the last digit
    except (OSError, SafetensorError) as error:
        log.warning("the decoded prior cannot be kept in %s: %s", folder, error)
    return tensors


def _read_decoded(path: Path) -> dict[str, Tensor] | None:
    """Reads the decoded tensors of a file; None if it is of another codec or layout."""
    with safe_open(path, framework="pt") as file:  # its header must fit its size
        if (file.metadata() or {}).get("codec") != DECODED:
            return None
        return {name: file.get_tensor(name) for name in file.keys()}


def _write_decoded(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes decoded tensors as safetensors, in the layout of `DATA_START`."""

    def place(name: str) -> tuple[int, int, str]:
        prefix = next(n for n, prefix in enumerate(PREFIXES) if name.startswith(prefix))
        return list(DTYPES).index(tensors[name].dtype), prefix, name

    names, end = sorted(tensors, key=place), 0
    header: dict[str, Any] = {"__metadata__": {"codec": DECODED}}
    for name in names:
        start, end = end, end + tensors[name].nbytes
        header[name] = {
            "dtype": DTYPES[tensors[name].dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * ((DATA_START - 8 - len(text)) % 64)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(tensors[name].contiguous().numpy().data)


def everywhere(shape: tuple[int, ...]) -> codec.Blocks:
    """Blocks of a lattice all of whose nodes have a row."""
    numbers = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    return codec.Blocks.from_band(np.ones(shape, bool), numbers)


def _of(name: str, streams: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key.removeprefix(f"{name}."): s for key, s in streams.items() if key.startswith(f"{name}.")}
