"""Safetensors files of priors: reading, writing, and what files of earlier versions called things."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from recon.files import replacing, sha256_of
from recon.reading import table

log = logging.getLogger(__name__)

OLD_NAMES: Mapping[str, Mapping[str, str]] = {
    "format": {"headrecon-donor-1": "headrecon-source-subject-1"},
    "kind": {"deepsdf": "mlp", "linear": "feature_grid", "grid": "pca"},
    "arguments": {"likeness": "brightness_model"},
    "tensors": {"likeness_": "brightness_"},  # beginnings of names
}
"""Names in files of earlier versions and their present names, by the part of the file that they stand in."""


@dataclass(frozen=True)
class TensorFile:
    """The content of a file, in present terms.

    Attributes:
        metadata: Texts by name.
        tensors: Tensors by name.
    """

    metadata: Mapping[str, str]
    tensors: Mapping[str, Tensor]


def read_metadata(path: Path) -> dict[str, str]:
    """Reads the metadata of a file, in present terms; logs one warning for a file of an earlier version.

    Raises:
        SafetensorError: It is no such file.
        OSError: It cannot be read.
        ValueError: Its metadata are broken.
    """
    with safe_open(path, framework="pt") as file:
        metadata, names = file.metadata() or {}, list(file.keys())
    present = _present_metadata(metadata)
    if present != metadata or any(_present_tensor(name) != name for name in names):
        _warn_of_old_names(path)
    return present


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Reads the shapes of the tensors of a file by their present names; the library holds them against its size.

    Raises:
        SafetensorError: It is no such file.
        OSError: It cannot be read.
    """
    with safe_open(path, framework="pt") as file:
        return {_present_tensor(name): tuple(file.get_slice(name).get_shape()) for name in file.keys()}


def read_tensors(path: Path) -> TensorFile:
    """Reads a whole file, in present terms; logs one warning for a file of an earlier version.

    Raises:
        SafetensorError: It is no such file.
        OSError: It cannot be read.
        ValueError: Its metadata are broken.
    """
    metadata = read_metadata(path)
    with safe_open(path, framework="pt") as file:
        return TensorFile(metadata, {_present_tensor(name): file.get_tensor(name) for name in file.keys()})


def write_file(path: Path, content: TensorFile) -> str:
    """Writes a file, the same bytes for the same content; returns its SHA-256."""
    tensors = {name: value.contiguous() for name, value in content.tensors.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(_with_sorted_metadata(save(tensors, dict(content.metadata))))
    return sha256_of(path)


def convert_file(path: str | Path, out: str | Path) -> str:
    """Rewrites a prior or source subject of an earlier version in the present format; its tensors stay as they are.

    Args:
        path: The file.
        out: The new file.

    Returns:
        SHA-256 of the new file.
    """
    return write_file(Path(out), read_tensors(Path(path)))


def _present_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    present = dict(metadata)
    for part in ("format", "kind"):
        if part in present:
            present[part] = OLD_NAMES[part].get(present[part], present[part])
    arguments = table(json.loads(present.get("arguments", "{}")), "arguments")
    if OLD_NAMES["arguments"].keys() & arguments.keys():
        renamed = {OLD_NAMES["arguments"].get(name, name): value for name, value in arguments.items()}
        present["arguments"] = json.dumps(renamed)
    return present


def _present_tensor(name: str) -> str:
    for old, new in OLD_NAMES["tensors"].items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


@cache  # one warning for a file, however often it is read
def _warn_of_old_names(path: Path) -> None:
    log.warning(
        "%s is of an earlier format, whose names are understood. To convert it once and for all: "
        "python -c \"from recon.priors import convert_file; convert_file('%s', 'NEW.safetensors')\"",
        path,
        path,
    )


def _with_sorted_metadata(content: bytes) -> bytes:
    """A safetensors file with its metadata in order: the library's order is another in every process, and
    with it the hash.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns its tensors to 8 bytes
    return len(text).to_bytes(8, "little") + text + content[end:]
