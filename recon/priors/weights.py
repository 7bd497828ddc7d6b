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
from torch import Tensor

from recon.errors import PriorError
from recon.fields.stored import check_arguments, check_finite, made_to_fit, shapes_of
from recon.files import sha256_of
from recon.geometry.frames import CanonicalFrame
from recon.priors.network import DeepSDFNetwork, FeatureGridSDFNetwork, ShapeNetwork
from recon.priors.pca.packing import CODEC, cached, packed, unpacked
from recon.priors.pca.shape_model import PCAShapeModel
from recon.priors.shipped import located
from recon.priors.stored import check_decoded, check_indices, check_packed
from recon.priors.tensor_files import (
    TensorFile,
    read_metadata,
    read_shapes,
    read_tensors,
    write_file,
)
from recon.reading import missing_or_no_file, number, numbers, reading, shortened, table

FORMAT = "headrecon-shape-prior-1"
NETWORKS = {"mlp": DeepSDFNetwork, "feature_grid": FeatureGridSDFNetwork, "pca": PCAShapeModel}
"""Classes of shape models by the kind that files name."""
WHAT = "a shape prior of this project"
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
            f"the prior {path} {missing_or_no_file(path)}; make one with "
            "`headrecon-pretrain prior=deepsdf data=FOLDER`, or name another: prior.path=FILE"
        )
    if sha256 is not None and (found := sha256_of(path)) != sha256:
        raise PriorError(f"{path} has SHA-256 {found}, expected {sha256}: it is broken or another file")
    with reading(path, PriorError, WHAT):
        metadata = read_metadata(path)
        if metadata.get("format") != FORMAT:
            raise PriorError(
                f"{path} has format {shortened(metadata.get('format'), 60)!r}, expected {FORMAT!r}"
            )
        if metadata["kind"] not in NETWORKS:
            raise ValueError(
                f"its kind is {shortened(metadata['kind'], 60)!r}, expected one of {', '.join(NETWORKS)}"
            )
        return PriorDescription(
            metadata["kind"],
            check_arguments(json.loads(metadata["arguments"])),
            _canonical(json.loads(metadata["canonical"])),
            table(json.loads(metadata.get("about", "{}")), "about"),
            metadata.get("codec"),
        )


def _canonical(stored: Any) -> CanonicalFrame:
    """The canonical frame as a file has it.

    Raises:
        ValueError: It has another form, or a ball without extent.
    """
    frame = table(stored, "canonical")
    landmarks = {
        name: _point(place, name) for name, place in table(frame["landmarks_mm"], "landmarks_mm").items()
    }
    radius = number(frame["radius_mm"], "radius_mm", positive=True)
    return CanonicalFrame(_point(frame["centre_mm"], "centre_mm"), radius, landmarks)


def _point(value: Any, what: str) -> tuple[float, float, float]:
    x, y, z = numbers(value, (3,), what).tolist()
    return x, y, z


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
    with reading(path, PriorError, WHAT):
        shapes = read_shapes(path)
        if described.codec not in (None, CODEC):
            raise PriorError(
                f"{path} is compressed as {shortened(described.codec, 60)!r}, expected {CODEC!r}: update the project"
            )
        network: ShapeNetwork
        if kind not in EXACT_KINDS:
            network = made_to_fit(NETWORKS[kind], arguments, shapes)
            tensors = {name: tensor.float() for name, tensor in read_tensors(path).tensors.items()}
            check_finite(tensors)
            network.load_state_dict(tensors)
        elif described.codec is None:
            check_decoded(arguments, shapes)
            tensors = dict(read_tensors(path).tensors)
            check_finite(tensors)
            check_indices(tensors)
            network = PCAShapeModel.from_state(tensors, arguments)
        else:
            check_packed(arguments, shapes)
            decode = partial(_decoded, path, arguments, canonical.radius_mm)
            network = PCAShapeModel.from_state(cached(sha256 or sha256_of(path), decode), arguments)
    return ShapePrior(network.eval(), canonical, kind, arguments, described.about)


def _decoded(path: Path, arguments: Mapping[str, Any], radius_mm: float) -> dict[str, Tensor]:
    """The state of a compressed shape model, checked before it is kept.

    Raises:
        ValueError: It does not fit the arguments, or holds numbers that are not finite.
        Exception: As `unpacked` raises them: the file is broken.
    """
    tensors = unpacked(read_tensors(path).tensors, arguments, radius_mm)
    check_decoded(arguments, shapes_of(tensors))
    check_finite(tensors)
    check_indices(tensors)
    return tensors
