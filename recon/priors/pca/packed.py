"""A `PCAShapeModel` that ships compressed: decoded once, and kept in the user's cache folder."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from recon.files import cache_folder, replacing
from recon.fitting.brightness import BrightnessModel
from recon.priors.pca import codec
from recon.priors.pca.shape_model import halved_resolution, nearest_rows

log = logging.getLogger(__name__)

CODEC = "dct8-1"
DECODED = "dct8-1 coarse brightness"


def unpacked(
    tensors: Mapping[str, Tensor], arguments: Mapping[str, Any], radius_mm: float
) -> dict[str, Tensor]:
    """State of the shape model that `recon.priors.pca.packing` compressed, with a coarse one that fits may begin with.

    Raises:
        KeyError: A tensor is missing.
        ValueError: A stream is broken.
    """
    cells = tuple(int(n) for n in arguments["cells"])
    shape = tuple(n + 2 for n in cells)
    streams = {name: tensor.numpy() for name, tensor in tensors.items() if tensor.dtype == torch.uint8}
    inside = codec.unpacked_bits(streams["inside"], cells)
    row_of = nearest_rows(inside)
    blocks, whole = codec.Blocks.of(np.pad(inside, 1), row_of), everywhere(shape)
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
        **_brightness_model(tensors),
    }


def _brightness_model(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What faces of the shape model look like, if the file says so."""
    if "brightness_places" not in tensors:
        return {}
    names = {f"brightness_{each.name}" for each in fields(BrightnessModel)}
    found = {name: tensors[name].float() for name in names & tensors.keys()}
    if "brightness_by_code" not in found:  # files of before brightness was known by code
        levels, _, components = found["brightness_components"].shape
        found["brightness_by_code"] = torch.zeros(levels, components, found["brightness_basis"].shape[2])
    found["brightness_basis"] *= tensors["brightness_basis_scale"]
    return found


def cached(sha256: str, decode: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Decoded tensors of a file, from the cache folder if they are there; otherwise they are put there.

    The folder is `$XDG_CACHE_HOME/headrecon`, by default `~/.cache/headrecon`. Where it cannot be written to,
    every process decodes for itself. A file that is broken or of another codec is made anew.
    """
    folder = cache_folder()
    path = folder / f"{sha256}.safetensors"
    if path.is_file():
        try:
            with safe_open(path, framework="pt") as file:  # its header must fit its size
                if (file.metadata() or {}).get("codec") == DECODED:
                    return {name: file.get_tensor(name) for name in file.keys()}
        except (SafetensorError, OSError) as error:
            log.warning("%s is broken (%s) and is made anew", path, error)
    log.info("decoding a prior, once: a few seconds")
    tensors = decode()
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, {"codec": DECODED})
    except (OSError, SafetensorError) as error:
        log.warning("the decoded prior cannot be kept in %s: %s", folder, error)
    return tensors


def everywhere(shape: tuple[int, ...]) -> codec.Blocks:
    """Blocks of a lattice all of whose nodes have a row."""
    numbers = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    return codec.Blocks.of(np.ones(shape, bool), numbers)


def _of(name: str, streams: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key.removeprefix(f"{name}."): s for key, s in streams.items() if key.startswith(f"{name}.")}
