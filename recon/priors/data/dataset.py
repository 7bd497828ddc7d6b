"""Data that shape priors are trained on: points of heads with distances or normals, read a shard at a time.

`SampleFolder` reads what `recon.synth.datasets.sample_files` writes, without its compiled parts;
`recon.priors.data.scans` does the same for raw scans.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float16, Float32

from recon.errors import PriorError
from recon.geometry.frames import LANDMARKS_MM, CanonicalFrame
from recon.reading import listed, number, numbers, read_arrays, read_json, reading, shortened, table, text

FORMAT = "headrecon-samples-2"
SHARD_BYTES = 16 << 30
"""Most bytes of the arrays of a shard."""
DIMENSIONS = {"surface": 3, "normals": 3, "points": 3, "distances": 2, "lattice": 4}
"""Dimensions of arrays of a shard, that of the heads included; others have two at least."""


@dataclass(frozen=True)
class HeadPoints:
    """Points of a few heads, canonical unit space.

    Attributes:
        surface: Points on the surface.
        normals: Their outward unit normals.
        points: Points with known distances, or None.
        distances: Their signed distances, negative inside, or None.
    """

    surface: Float32[np.ndarray, "heads surface 3"]
    normals: Float32[np.ndarray, "heads surface 3"]
    points: Float32[np.ndarray, "heads points 3"] | None = None
    distances: Float32[np.ndarray, "heads points"] | None = None


@runtime_checkable
class HeadData(Protocol):
    """Heads in shards.

    Attributes:
        canonical: CanonicalFrame frame of all heads.
        names: Names of the heads; the place of a head in it is its number.
        shards: Numbers of the heads of each shard.
        has_distances: Whether shards come with exact distances.
        lattice_mm: Spacing of the lattices of distances, or None where there are none.
    """

    @property
    def canonical(self) -> CanonicalFrame: ...  # noqa: D102
    @property
    def names(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def shards(self) -> Sequence[Sequence[int]]: ...  # noqa: D102
    @property
    def has_distances(self) -> bool: ...  # noqa: D102
    @property
    def lattice_mm(self) -> float | None: ...  # noqa: D102

    def load(self, shard: int) -> HeadPoints:
        """The points of a shard's heads, in its order.

        Raises:
            PriorError: It cannot be read.
        """
        ...

    def lattice(self, shard: int) -> Float16[np.ndarray, "heads x y z"]:
        """Signed distances of a shard's heads on the common lattice, mm.

        Raises:
            PriorError: It cannot be read.
        """
        ...


class SampleFolder:
    """Training samples of synthetic heads, `<root>/<split>/manifest.json` with its shards.

    Args:
        root: Folder.
        split: "train", "val" or "test".

    Raises:
        PriorError: There is no manifest, it is of another format, or a shard is missing.
    """

    def __init__(self, root: str | Path, split: str) -> None:
        self.folder = Path(root) / split
        path = self.folder / "manifest.json"
        if not path.is_file():
            raise PriorError(
                f"no samples of split {split!r}: {path} does not exist; make them with "
                "`recon.synth.datasets.sample_files.write_samples`, or name another folder: data=FOLDER"
            )
        manifest = _manifest(path)
        with reading(path, PriorError, "a manifest of samples", "make it anew"):
            self._describe(manifest)
        missing = [file for file in self.files if not file.is_file()]
        if missing or not self.files:
            raise PriorError(
                f"{path} names {len(self.files)} shards, of which {len(missing)} are missing "
                f"({', '.join(map(str, missing[:3]))}); run `write_samples` again"
            )

    def _describe(self, manifest: Mapping[str, Any]) -> None:
        """Keep what a manifest says of heads, shards and their frame."""
        shards = [table(shard, "a shard") for shard in listed(manifest["shards"], "shards")]
        files = [text(shard["file"], "file") for shard in shards]
        if any(Path(file).name != file for file in files):
            raise ValueError("a shard lies in another folder")
        self.files = [self.folder / file for file in files]
        names = [listed(shard["names"], "names") for shard in shards]
        self.names = [text(name, "a name") for each in names for name in each]
        counts = [len(each) for each in names]
        ends = np.cumsum(counts).tolist()
        self.shards = [range(end - count, end) for count, end in zip(counts, ends, strict=True)]
        x, y, z = numbers(manifest["unit_centre_mm"], (3,), "unit_centre_mm").tolist()
        radius = number(manifest["unit_radius_mm"], "unit_radius_mm", positive=True)
        self.canonical = CanonicalFrame((x, y, z), radius, LANDMARKS_MM)
        self.has_distances = True
        spacing = table(manifest["counts"], "counts").get("lattice_mm")
        self.lattice_mm = None if spacing is None else number(spacing, "lattice_mm", positive=True)
        self.has_template = "template" in manifest

    def load(self, shard: int) -> HeadPoints:
        """The points of a shard's heads, in its order."""
        held = self._read(shard, ("surface", "normals", "points", "distances"))
        centre = np.asarray(self.canonical.centre_mm, np.float32)
        radius = np.float32(self.canonical.radius_mm)
        return HeadPoints(
            (held["surface"] - centre) / radius,
            held["normals"].astype(np.float32),
            (held["points"] - centre) / radius,
            held["distances"] / radius,
        )

    def lattice(self, shard: int) -> Float16[np.ndarray, "heads x y z"]:
        """Signed distances of a shard's heads on the common lattice, mm."""
        return self._read(shard, ("lattice",))["lattice"]

    def of_all(self, name: str) -> np.ndarray:
        """An array of all heads: "landmarks", and with a template "code" and "fine"."""
        return np.concatenate([self._read(shard, (name,))[name] for shard in range(len(self.files))])

    def _read(self, shard: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Some arrays of a shard; the others are not touched."""
        path = self.files[shard]
        with reading(path, PriorError, "samples", "remove it and run `write_samples` again"):
            held = read_arrays(path, names, SHARD_BYTES)
            for name, array in held.items():
                fits = array.ndim == DIMENSIONS[name] if name in DIMENSIONS else array.ndim >= 2
                if not fits or array.dtype.kind not in "fiu":
                    raise ValueError(f"{name} must be numbers for each head, got {array.dtype} {array.shape}")
            for one, other in (("surface", "normals"), ("points", "distances")):
                if one in held and held[one].shape != (*held[other].shape[:2], 3):
                    raise ValueError(f"{one} and {other} are not of the same points")
        if any(len(array) != len(self.shards[shard]) for array in held.values()):
            raise PriorError(
                f"{path} does not hold the {len(self.shards[shard])} heads that the manifest names"
            )
        return held


def _manifest(path: Path) -> dict[str, Any]:
    with reading(path, PriorError, "a manifest of samples", "make it anew"):
        manifest = table(read_json(path))
    if manifest.get("format") != FORMAT:
        found = shortened(manifest.get("format"), 60)
        raise PriorError(f"{path} has format {found!r}, expected {FORMAT!r}; make it anew")
    return manifest
