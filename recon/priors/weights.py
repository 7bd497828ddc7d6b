"""Shape priors on disk: a safetensors file that says what it holds, and loads nothing but tensors."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from safetensors import SafetensorError
from torch import Tensor

from recon.errors import PriorError
from recon.geometry.frames import CanonicalFrame
from recon.priors.network import DeepSDFNetwork, FeatureGridSDFNetwork, ShapeNetwork
from recon.priors.pca.packing import CODEC, cached, packed, unpacked
from recon.priors.pca.shape_model import PCAShapeModel
from recon.priors.shipped import located
from recon.priors.tensor_files import TensorFile, read_metadata, read_tensors, sha256_of, write_file

FORMAT = "headrecon-shape-prior-1"
NETWORKS = {"mlp": DeepSDFNetwork, "feature_grid": FeatureGridSDFNetwork, "pca": PCAShapeModel}
"""Classes of shape models by the kind that files name."""
EXACT_KINDS = {"pca"}
"""Kinds whose tensors are stored and used in the precision that they have."""


@dataclass(frozen=True)
class PriorDescription:
    """The metadata of a shape prior's file.

    Attributes:
        kind: Key of `NETWORKS`.
        arguments: Arguments that the network was made with.
        canonical: CanonicalFrame frame of the shape model.
        about: Its training, data and licence: whatever the file says.
        codec: Name of the compression; None where tensors are those of the network.
    """

    kind: str
    arguments: Mapping[str, Any]
    canonical: CanonicalFrame
    about: Mapping[str, Any]
    codec: str | None = None


@dataclass(frozen=True)
class ShapePrior:
    """A trained shape model of heads.

    Attributes:
        network: The shape model, in evaluation mode.
        canonical: CanonicalFrame frame of the shape model.
        kind: Key of `NETWORKS`.
        arguments: Arguments that the network was made with.
        about: Its training, data and licence: whatever the file says.
    """

    network: ShapeNetwork
    canonical: CanonicalFrame
    kind: str
    arguments: Mapping[str, Any]
    about: Mapping[str, Any]


def save_shape_prior(path: str | Path, prior: ShapePrior, dtype: torch.dtype = torch.float16) -> str:
    """Writes a prior; returns the SHA-256 of the file.

    Args:
        path: A `.safetensors` file.
        prior: The shape model.
        dtype: Type of the stored tensors of networks; half precision changes the surface by less than 0.01 mm.
    """
    tensors = {
        name: value.detach().cpu().to(value.dtype if prior.kind in EXACT_KINDS else dtype)
        for name, value in prior.network.state_dict().items()
    }
    return write_tensors(Path(path), prior, tensors)


def save_packed_prior(
    path: str | Path, prior: ShapePrior, inside: Bool[np.ndarray, "x y z"], step_mm: float
) -> str:
    """Writes a prior of kind "pca" compressed; returns the SHA-256 of the file.

    Args:
        path: A `.safetensors` file.
        prior: The shape model.
        inside: Whether a node of its lattice has a row of the basis.
        step_mm: Quantisation step of the basis.
    """
    assert isinstance(prior.network, PCAShapeModel)
    tensors = packed(prior.network, inside, step_mm, prior.canonical.radius_mm)
    return write_tensors(Path(path), prior, tensors, codec=CODEC)


def write_tensors(path: Path, prior: ShapePrior, tensors: Mapping[str, Tensor], **more: str) -> str:
    """Writes the description of a prior with tensors that stand for its state; returns the SHA-256 of the file.

    Args:
        path: A `.safetensors` file.
        prior: The shape model that is described.
        tensors: Its state, or the compressed state.
        **more: Further metadata.
    """
    metadata = {
        "format": FORMAT,
        "kind": prior.kind,
        "arguments": json.dumps(dict(prior.arguments)),
        "canonical": json.dumps(asdict(prior.canonical)),
        "about": json.dumps(dict(prior.about)),
        **more,
    }
    return write_file(path, TensorFile(metadata, tensors))


def read_description(path: str | Path, sha256: str | None = None) -> PriorDescription:
    """Reads what a prior's file says of it, without its tensors.

    Args:
        path: The file.
        sha256: SHA-256 that the file must have, if given.

    Raises:
        PriorError: There is no such file, it is not a shape prior, or its hash is another.
    """
    path = located(path)
    if not path.is_file():
        raise PriorError(
            f"the prior {path} does not exist; make one with "
            "`headrecon-pretrain prior=deepsdf data=FOLDER`, or name another: prior.path=FILE"
        )
    if sha256 is not None and (found := sha256_of(path)) != sha256:
        raise PriorError(f"{path} has SHA-256 {found}, expected {sha256}: it is broken or another file")
    try:
        metadata = read_metadata(path)
        if metadata.get("format") != FORMAT:
            raise PriorError(f"{path} has format {metadata.get('format')!r}, expected {FORMAT!r}")
        canonical = json.loads(metadata["canonical"])
        landmarks = {name: tuple(place) for name, place in canonical["landmarks_mm"].items()}
        return PriorDescription(
            metadata["kind"],
            json.loads(metadata["arguments"]),
            CanonicalFrame(tuple(canonical["centre_mm"]), float(canonical["radius_mm"]), landmarks),
            json.loads(metadata.get("about", "{}")),
            metadata.get("codec"),
        )
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise _unreadable(path, error) from error


def load_shape_prior(path: str | Path, sha256: str | None = None) -> ShapePrior:
    """Reads a prior that `save_shape_prior` wrote.

    Args:
        path: The file.
        sha256: SHA-256 that the file must have, if given.

    Raises:
        PriorError: There is no such file, it is not a shape prior, or its hash is another.
    """
    path = located(path)
    described = read_description(path, sha256)
    kind, arguments, canonical = described.kind, described.arguments, described.canonical
    try:
        tensors = dict(read_tensors(path).tensors)
        if described.codec is not None:
            if described.codec != CODEC:
                raise PriorError(
                    f"{path} is compressed as {described.codec!r}, expected {CODEC!r}: update the project"
                )
            decode = partial(unpacked, tensors, arguments, canonical.radius_mm)
            tensors = cached(sha256 or sha256_of(path), decode)
        network: ShapeNetwork
        if kind in EXACT_KINDS:
            network = PCAShapeModel.from_state(tensors, arguments)
        else:
            network = NETWORKS[kind](**arguments)
            network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    return ShapePrior(network.eval(), canonical, kind, arguments, described.about)


def _unreadable(path: Path, error: Exception) -> PriorError:
    return PriorError(f"{path} cannot be read as a shape prior of this project: {error}")
