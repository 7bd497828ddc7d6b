"""Shape priors on disk: a safetensors file that says what it holds, and loads nothing but tensors."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from recon.errors import PriorError
from recon.files import replacing
from recon.geometry.frames import CanonicalFrame
from recon.priors.network import DeepSDFNetwork, LinearSDFNetwork, ShapeNetwork
from recon.priors.pca.packed import CODEC, cached, unpacked
from recon.priors.pca.shape_model import PCAShapeModel

FORMAT = "headrecon-shape-prior-1"
NETWORKS = {"deepsdf": DeepSDFNetwork, "linear": LinearSDFNetwork, "grid": PCAShapeModel}
OLD_NAMES = {"likeness": "brightness_model"}
"""Arguments of networks in files of before, and what they are called now."""
OLD_PREFIXES = {"likeness_": "brightness_"}
"""Beginnings of the names of tensors in files of before, and what they are called now."""
AS_THEY_ARE = {"grid"}
"""Kinds whose tensors are stored and used in the precision that they have."""


Canonical = CanonicalFrame
"""The frame's name in this room."""


@dataclass(frozen=True)
class ShapePrior:
    """A trained shape model of heads.

    Attributes:
        network: In evaluation mode.
        canonical: Its frame.
        kind: Key of `NETWORKS`.
        arguments: What the network was made with.
        about: How it was trained, on what, under which licence: whatever the file says.
    """

    network: ShapeNetwork
    canonical: Canonical
    kind: str
    arguments: Mapping[str, Any]
    about: Mapping[str, Any]


def save_shape_prior(path: str | Path, prior: ShapePrior, dtype: torch.dtype = torch.float16) -> str:
    """Writes a prior; returns the SHA-256 of the file.

    Args:
        path: A `.safetensors` file.
        prior: The shape model.
        dtype: Of the stored tensors of networks; half precision changes the surface by less than 0.01 mm.
    """
    tensors = {
        name: value.detach().cpu().to(value.dtype if prior.kind in AS_THEY_ARE else dtype).contiguous()
        for name, value in prior.network.state_dict().items()
    }
    return write_tensors(Path(path), prior, tensors)


def write_tensors(path: Path, prior: ShapePrior, tensors: Mapping[str, Tensor], **more: str) -> str:
    """Writes a prior's description with tensors that stand for its state; returns the SHA-256 of the file."""
    metadata = {
        "format": FORMAT,
        "kind": prior.kind,
        "arguments": json.dumps(dict(prior.arguments)),
        "canonical": json.dumps(asdict(prior.canonical)),
        "about": json.dumps(dict(prior.about)),
        **more,
    }
    with replacing(path) as temporary:
        temporary.write_bytes(
            _with_sorted_header(save({name: value.contiguous() for name, value in tensors.items()}, metadata))
        )
    return _hash(path)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _with_sorted_header(content: bytes) -> bytes:
    """A safetensors file with its metadata in order: the library's order is another in every process, and
    with it the hash.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns its tensors to 8 bytes
    return len(text).to_bytes(8, "little") + text + content[end:]


def load_shape_prior(path: str | Path, sha256: str | None = None) -> ShapePrior:
    """Reads a prior that `save_shape_prior` wrote.

    Args:
        path: The file.
        sha256: What the file must hash to, if given.

    Raises:
        PriorError: There is no such file, it is not a shape prior, or its hash is another.
    """
    path = Path(path)
    if not path.is_file():
        raise PriorError(
            f"the prior {path} does not exist; make one with "
            "`python scripts/pretrain_prior.py prior=deepsdf data=FOLDER`, or name another: prior.path=FILE"
        )
    if sha256 is not None and (found := _hash(path)) != sha256:
        raise PriorError(f"{path} has SHA-256 {found}, expected {sha256}: it is broken or another file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise PriorError(f"{path} has format {metadata.get('format')!r}, expected {FORMAT!r}")
            kind, arguments = metadata["kind"], json.loads(metadata["arguments"])
            canonical = json.loads(metadata["canonical"])
            arguments = {OLD_NAMES.get(name, name): value for name, value in arguments.items()}
            tensors = {_present_name(name): file.get_tensor(name) for name in file.keys()}
        if (codec := metadata.get("codec")) is not None:
            if codec != CODEC:
                raise PriorError(f"{path} is compressed as {codec!r}, expected {CODEC!r}: update the project")
            decode = partial(unpacked, tensors, arguments, float(canonical["radius_mm"]))
            tensors = cached(sha256 or _hash(path), decode)
        if kind not in AS_THEY_ARE:
            tensors = {name: tensor.float() for name, tensor in tensors.items()}
        network: ShapeNetwork
        if kind in AS_THEY_ARE:
            network = PCAShapeModel.holding(tensors, arguments)
        else:
            network = NETWORKS[kind](**arguments)
            network.load_state_dict(tensors)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise PriorError(f"{path} cannot be read as a shape prior of this project: {error}") from error
    about = json.loads(metadata.get("about", "{}"))
    landmarks = {name: tuple(place) for name, place in canonical["landmarks_mm"].items()}
    frame = Canonical(tuple(canonical["centre_mm"]), canonical["radius_mm"], landmarks)
    return ShapePrior(network.eval(), frame, kind, arguments, about)


def _present_name(name: str) -> str:
    """What a tensor is called now whose file may be of before."""
    for old, new in OLD_PREFIXES.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
