"""Principal components of the distance lattices of any number of heads, computed out of core.

The samples are read twice: once to find the band of nodes where heads have their surfaces, once to keep the distances
in that band on disk. From there on all is computed in blocks of nodes or of components, so that memory does not grow
with nodes times heads. Finished parts stay in a work folder, and an interrupted run goes on from them.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float16, Float32, Int32
from numpy.lib.format import open_memmap

from recon.errors import PriorError
from recon.files import replacing
from recon.priors.data.band import Band, find_band
from recon.priors.data.components import codes_from_gram, spline_values
from recon.priors.data.dataset import HeadData
from recon.priors.pca.shape_model import nearest_rows
from recon.threads import mapped, slices

log = logging.getLogger(__name__)

NODES_AT_A_TIME, COMPONENTS_AT_A_TIME = 16_384, 10
PARTS_BETWEEN = 8
"""Number of finished parts after which progress is written down."""
VERSION = 1
"""Version of the files in the work folder."""


@dataclass(frozen=True)
class GridComponents:
    """Principal components as spline values of a lattice.

    Attributes:
        band: Nodes that have a row.
        mean_mm: Spline values of the mean head, a border of one value included.
        rows_mm: Spline values of the components at each node of the band, for codes of unit variance.
        codes: Codes of the heads, in the order of the data.
        explained: Share of the weighted variance that each component explains.
    """

    band: Band
    mean_mm: Float32[np.ndarray, "x2 y2 z2"]
    rows_mm: Float16[np.ndarray, "band components"]
    codes: Float32[np.ndarray, "heads components"]
    explained: Float[np.ndarray, " components"]


def principal_lattice(
    data: HeadData, folder: Path, count: int, *, reach_mm: float, share: float, workers: int = 1
) -> GridComponents:
    """Computes the principal components of the lattices of all heads.

    Args:
        data: Heads with lattices.
        folder: Folder of finished parts; those of other data or options are refused.
        count: Number of components; at most one fewer than heads.
        reach_mm: A node is in the band if enough heads have their surface nearer than this.
        share: Share of the heads that is enough.
        workers: Number of threads.

    Raises:
        PriorError: The lattices do not cover the box, or the folder is of another run.
    """
    count = min(count, len(data.names) - 1)
    _claim(folder, data, count=count, reach_mm=reach_mm, share=share)
    band = find_band(data, folder / "band.npz", reach_mm, share, workers)
    log.info("band: %d of %d nodes", band.inside.sum(), band.inside.size)
    files = [folder / f"heads-{shard:05d}.npy" for shard in range(len(data.shards))]
    missing = [shard for shard, file in enumerate(files) if not file.is_file()]
    for _ in mapped(partial(_keep, data, band.inside, files), missing, workers):
        pass
    codes, explained = _codes(files, folder / "gram.npz", band, count, workers)
    log.info("%d components explain %.4f of the variance", len(explained), explained.sum())
    rows = _rows(files, folder, band, codes, workers)
    return GridComponents(band, spline_values(band.mean_mm), rows, codes, explained)


def _claim(folder: Path, data: HeadData, **options: Any) -> None:
    """Marks the work folder as that of this run.

    Raises:
        PriorError: It belongs to another run.
    """
    names = hashlib.sha256("\n".join(data.names).encode()).hexdigest()
    wanted = {"version": VERSION, "heads": len(data.names), "names": names, **options}
    path = folder / "work.json"
    if path.is_file() and json.loads(path.read_text()) != wanted:
        raise PriorError(
            f"{folder} holds parts of a run with other data or options; remove it and start anew"
        )
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(wanted, indent=1))


def _keep(data: HeadData, inside: Bool[np.ndarray, "x y z"], files: Sequence[Path], shard: int) -> None:
    """Writes a shard's distances in the band."""
    with replacing(files[shard]) as temporary:
        np.save(temporary, data.lattice(shard)[:, inside], allow_pickle=False)


def _deviations(files: Sequence[Path], mean: Float[np.ndarray, " band"], part: slice) -> np.ndarray:
    """Deviations of all heads from the mean at a block of nodes: (heads, nodes), mm."""
    distances = [np.load(file, mmap_mode="r")[:, part] for file in files]
    return np.concatenate(distances).astype(np.float32) - mean[part]


def _codes(
    files: Sequence[Path], path: Path, band: Band, count: int, workers: int
) -> tuple[np.ndarray, np.ndarray]:
    """Codes from the matrix of inner products, which is kept after every few blocks."""
    gram, done = np.zeros(()), 0
    if path.is_file():
        with np.load(path) as held:
            gram, done = held["gram"], int(held["done"])
    parts = slices(len(band.weights), NODES_AT_A_TIME)
    inner = partial(_inner, files, band.mean_mm[band.inside], band.weights)
    for product in mapped(inner, parts[done:], workers):
        gram = gram + product
        done += 1
        if done % PARTS_BETWEEN == 0 or done == len(parts):
            with replacing(path) as temporary:
                np.savez(temporary, allow_pickle=False, gram=gram, done=done)
    return codes_from_gram(gram, count)


def _inner(files: Sequence[Path], mean: np.ndarray, weights: np.ndarray, part: slice) -> np.ndarray:
    weighted = _deviations(files, mean, part) * np.sqrt(weights[part])
    return (weighted @ weighted.T).astype(np.float64)


def _rows(
    files: Sequence[Path],
    folder: Path,
    band: Band,
    codes: Float32[np.ndarray, "heads components"],
    workers: int,
) -> Float16[np.ndarray, "band components"]:
    """Components from the codes, and their spline values; each in a file that is filled a few blocks at a time."""
    nodes, components = len(band.weights), codes.shape[1]
    project = partial(_project, files, band.mean_mm[band.inside], codes)
    by_node, splines = folder / "components.npy", folder / "splines.npy"
    _fill(by_node, (components, nodes), np.float32, 1, NODES_AT_A_TIME, project, workers)
    rows = nearest_rows(band.inside)[1:-1, 1:-1, 1:-1]
    convert = partial(_convert, by_node, band.inside, rows)
    _fill(splines, (components, nodes), np.float16, 0, COMPONENTS_AT_A_TIME, convert, workers)
    held = np.load(splines, mmap_mode="r")
    result = np.empty((nodes, components), np.float16)
    for part in slices(nodes, NODES_AT_A_TIME):
        result[part] = held[:, part].T
    return result


def _project(files: Sequence[Path], mean: np.ndarray, codes: np.ndarray, part: slice) -> np.ndarray:
    result: np.ndarray = codes.T @ _deviations(files, mean, part) / np.float32(len(codes))
    return result


def _convert(
    path: Path, inside: Bool[np.ndarray, "x y z"], rows: Int32[np.ndarray, "x y z"], part: slice
) -> np.ndarray:
    """Spline values in the band of a few components, which continue beyond it with the value of its nearest node."""
    components = np.load(path, mmap_mode="r")[part]
    return np.stack([spline_values(one[rows])[1:-1, 1:-1, 1:-1][inside] for one in components]).astype(
        np.float16
    )


def _fill(
    path: Path,
    shape: tuple[int, int],
    dtype: type,
    axis: int,
    step: int,
    make: Callable[[slice], np.ndarray],
    workers: int,
) -> None:
    """Fills an array on disk block by block; those that an earlier run finished are kept."""
    record = path.with_suffix(".json")
    done = int(json.loads(record.read_text())) if record.is_file() else 0
    array = open_memmap(path, "r+") if done else open_memmap(path, "w+", dtype=dtype, shape=shape)
    parts = slices(shape[axis], step)[done:]
    for part, block in zip(parts, mapped(make, parts, workers), strict=True):
        array[(slice(None),) * axis + (part,)] = block
        done += 1
        if done % PARTS_BETWEEN == 0 or part is parts[-1]:
            array.flush()
            with replacing(record) as temporary:
                temporary.write_text(json.dumps(done))
