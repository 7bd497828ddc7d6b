"""Portraits on disk: shards of a few hundred, each one safetensors file that can be read whole or by memory map.

A portrait is a record of fields, each packed by itself: light as JPEG of the square roots of linear light, maps as
differences of neighbours in whole numbers, deflated. Backgrounds lie beside the records, to be put behind any of them.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save

from recon.errors import SceneError
from recon.files import replacing
from recon.reading import listed, reading, table
from recon.synth.portraits.portrait import Portrait, Stored

FORMAT = "headrecon-portraits-1"
MAPS: dict[str, tuple[str, int]] = {
    "cover": ("u1", 1),
    "alpha": ("u1", 1),
    "parts": ("u1", 1),
    "normals": ("i1", 3),
    "canonical": ("<i2", 3),
    "strand": ("u1", 1),
    "depth": ("<i2", 1),
}
"""Type and channels of each map as it is stored."""
FIELDS = ("light", *MAPS, "twin_light", "twin_alpha")
"""Fields of a record; those of the twin are empty where none was asked for."""
STEP_MM = 0.5
"""Step of canonical coordinates and depths."""
QUALITY = 92
NUMBERS = ("intrinsics", "camera_from_canonical", "angles", "person")


@dataclass(frozen=True, eq=False)
class Shot:
    """A portrait with what is known of it.

    Attributes:
        portrait: Light and maps.
        intrinsics: Of its camera, pixels.
        camera_from_canonical: Similarity from the canonical frame, mm, to camera axes, mm.
        angles: Azimuth, height and roll of the camera about the head, degrees, and focal length, mm of 35 mm film.
        person: Number of the person among those of the shard.
        sitting: Number of the light and colours among those of the person.
    """

    portrait: Portrait
    intrinsics: Float[np.ndarray, "3 3"]
    camera_from_canonical: Float[np.ndarray, "4 4"]
    angles: tuple[float, float, float, float]
    person: int
    sitting: int


def write_shard(
    path: Path,
    shots: Sequence[Shot],
    backdrops: Sequence[np.ndarray],
    people: Sequence[Mapping[str, Any]],
    *,
    twins: bool = False,
) -> None:
    """Writes a shard, the same bytes for the same portraits.

    Args:
        path: The file.
        shots: Portraits.
        backdrops: Linear light of backgrounds.
        people: What is known of each person: name, family of hair, renderer, seed.
        twins: Whether to keep light and alpha without things before the person.
    """
    records = [_fields(shot.portrait, twins) for shot in shots]
    blob, offsets = _joined([field for record in records for field in record])
    behind, behind_offsets = _joined([encode_light(each) for each in backdrops])
    tensors = {
        "records": blob,
        "record_offsets": offsets,
        "backdrops": behind,
        "backdrop_offsets": behind_offsets,
        "intrinsics": np.array([shot.intrinsics for shot in shots], np.float64),
        "camera_from_canonical": np.array([shot.camera_from_canonical for shot in shots], np.float64),
        "angles": np.array([shot.angles for shot in shots], np.float32),
        "person": np.array([(shot.person, shot.sitting) for shot in shots], np.int64),
    }
    about = {
        "format": FORMAT,
        "size": shots[0].portrait.cover.shape[0],
        "people": list(people),
        "things": [list(shot.portrait.things) for shot in shots],
    }
    with replacing(path) as temporary:  # one entry of metadata, whose order the library could not change
        temporary.write_bytes(save(tensors, {"about": json.dumps(about, sort_keys=True)}))


class Shard:
    """A shard that is read portrait by portrait.

    Args:
        path: The file.

    Raises:
        SceneError: It is no shard, or broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._reading():
            with safe_open(path, framework="np") as file:
                about = table(json.loads((file.metadata() or {}).get("about", "{}")))
                if about.get("format") != FORMAT:
                    raise ValueError(f"its format is {about.get('format')!r}, expected {FORMAT!r}")
                self.people = [table(each) for each in listed(about["people"], "people")]
                self.things = [tuple(each) for each in listed(about["things"], "things")]
                self.size = int(about["size"])
                self.intrinsics, self.camera_from_canonical, self.angles, self.person = (
                    file.get_tensor(name) for name in NUMBERS
                )
                self._offsets = file.get_tensor("record_offsets")
                self._backdrop_offsets = file.get_tensor("backdrop_offsets")
            count = len(self.things)
            if len(self._offsets) != count * len(FIELDS) + 1 or len(self.intrinsics) != count:
                raise ValueError(f"it lists {count} portraits and has {len(self._offsets) - 1} fields")

    def __len__(self) -> int:
        """Number of portraits."""
        return len(self.things)

    @property
    def backdrop_count(self) -> int:
        """Number of backgrounds."""
        return len(self._backdrop_offsets) - 1

    @cached_property
    def _file(self) -> Any:
        return safe_open(self.path, framework="np")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_file"}

    def _reading(self) -> Any:
        return reading(
            self.path, SceneError, "a shard of portraits", "make it anew: headrecon-make-portraits"
        )

    def _slice(self, name: str, offsets: np.ndarray, index: int) -> bytes:
        return bytes(self._file.get_slice(name)[int(offsets[index]) : int(offsets[index + 1])])

    def read(self, index: int) -> Stored:
        """Reads a portrait.

        Raises:
            SceneError: It is broken.
        """
        with self._reading():
            first, size = index * len(FIELDS), self.size
            start, stop = int(self._offsets[first]), int(self._offsets[first + len(FIELDS)])
            record = bytes(self._file.get_slice("records")[start:stop])
            cuts = (self._offsets[first : first + len(FIELDS) + 1] - start).tolist()
            fields = {
                name: record[low:high] for name, low, high in zip(FIELDS, cuts[:-1], cuts[1:], strict=True)
            }
            maps = {name: unpacked(fields[name], size, *MAPS[name]) for name in MAPS}
            angle = maps["strand"].astype(np.float32) * np.float32(2 * np.pi / 255)
            hairy = (maps["parts"] == 5) | (maps["parts"] == 6)
            strand = np.stack([np.cos(angle), np.sin(angle)], axis=2) * hairy[..., None]
            normals = maps["normals"].astype(np.float32) / np.float32(127)
            return Stored(
                decode_light(fields["light"], size),
                maps["cover"] / np.float32(255),
                maps["alpha"] / np.float32(255),
                maps["parts"],
                normals,
                maps["canonical"] * np.float32(STEP_MM),
                strand.astype(np.float32),
                maps["depth"] * np.float32(STEP_MM),
            )

    def twin(self, index: int) -> tuple[Float32[np.ndarray, "h w 3"], Float32[np.ndarray, "h w"]]:
        """Reads light and alpha of a portrait without the things before the person.

        Raises:
            SceneError: It is broken, or was made without twins.
        """
        with self._reading():
            first = index * len(FIELDS)
            light, alpha = (self._slice("records", self._offsets, first + len(FIELDS) - k) for k in (2, 1))
            if not light:
                raise ValueError("it was made without twins (twins=true)")
            return decode_light(light, self.size), unpacked(alpha, self.size, "u1", 1) / np.float32(255)

    def backdrop(self, index: int) -> Float32[np.ndarray, "h w 3"]:
        """Reads the linear light of a background.

        Raises:
            SceneError: It is broken.
        """
        with self._reading():
            return decode_light(self._slice("backdrops", self._backdrop_offsets, index), self.size)


def encode_light(light: Float32[np.ndarray, "h w 3"]) -> bytes:
    """Encodes linear light as a JPEG of its square roots; what is above 1 is cut."""
    coded = np.rint(np.sqrt(np.clip(light, 0.0, 1.0)) * 255.0).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coded).save(buffer, format="JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()


def decode_light(content: bytes, size: int) -> Float32[np.ndarray, "h w 3"]:
    """The inverse of `encode_light`.

    Raises:
        ValueError: It is of another size.
    """
    picture = Image.open(io.BytesIO(content), formats=("JPEG",))
    if picture.size != (size, size):
        raise ValueError(f"a picture has {picture.size} pixels, expected {size} x {size}")
    return _SQUARES[np.asarray(picture)]


_SQUARES = ((np.arange(256, dtype=np.float32) / 255) ** 2).astype(np.float32)


def packed(values: np.ndarray) -> bytes:
    """Packs whole numbers: differences along rows, their bytes apart, deflated."""
    step = values.copy()
    step[:, 1:] -= values[:, :-1]  # they wrap around, and back when they are summed
    planes = step.view(np.uint8).reshape(-1, values.dtype.itemsize).T
    return zlib.compress(planes.tobytes(), 3)


def unpacked(content: bytes, size: int, kind: str, channels: int) -> np.ndarray:
    """The inverse of `packed`.

    Raises:
        ValueError: It is of another length.
    """
    dtype = np.dtype(kind)
    wanted = size * size * channels * dtype.itemsize
    plain = zlib.decompressobj().decompress(content, wanted + 1)
    if len(plain) != wanted:
        raise ValueError(f"a map has {len(plain)} bytes, expected {wanted}")
    planes = np.frombuffer(plain, np.uint8).reshape(dtype.itemsize, -1)
    step = np.ascontiguousarray(planes.T).view(dtype).reshape(size, size, channels)
    values = np.cumsum(step, axis=1, dtype=dtype)
    return values[..., 0] if channels == 1 else values


def _fields(portrait: Portrait, twins: bool) -> list[bytes]:
    """The fields of a record in their order."""
    angle = np.arctan2(portrait.strand[..., 1], portrait.strand[..., 0]) % (2 * np.pi)
    maps = {
        "cover": np.rint(portrait.cover * 255).astype(np.uint8),
        "alpha": np.rint(portrait.alpha * 255).astype(np.uint8),
        "parts": portrait.parts,
        "normals": np.rint(portrait.normals * 127).astype(np.int8),
        "canonical": _steps(portrait.canonical),
        "strand": np.rint(angle * (255 / (2 * np.pi))).astype(np.uint8),
        "depth": _steps(portrait.depth),
    }
    twin = [b"", b""]
    if twins:
        alpha = np.rint(portrait.twin_alpha * 255).astype(np.uint8)
        twin = [encode_light(portrait.twin_light), packed(alpha)]
    return [encode_light(portrait.light), *(packed(maps[name]) for name in MAPS), *twin]


def _steps(millimetres: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(millimetres / STEP_MM), -32768, 32767).astype("<i2")


def _joined(parts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Bytes one after the other, and where each begins and the last ends."""
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return np.frombuffer(b"".join(parts), np.uint8), offsets
