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
from jaxtyping import Bool, Float, Float16, Float32, Int, Int32
from numpy.lib.format import open_memmap

from recon.errors import PriorError
from recon.files import replacing
from recon.geometry.frames import BOX_LOW_MM, face_and_ears_window
from recon.priors.data.band import Band, find_band
from recon.priors.data.components import codes_from_gram, spline_values
from recon.priors.data.dataset import HeadData
from recon.priors.pca.shape_model import nearest_rows
from recon.threads import mapped, slices

log = logging.getLogger(__name__)

NODES_AT_A_TIME, COMPONENTS_AT_A_TIME = 16_384, 10
PARTS_BETWEEN = 8
"""Number of finished parts after which progress is written down."""
VERSION = 3
"""Version of the files in the work folder."""
KNOWN_RIDGE = 8.0
"""Ridge of the regression on known codes, in heads."""


@dataclass(frozen=True)
class GridComponents:
    """Components as spline values of a lattice: those of codes that are known, then principal components of the rest.

    Attributes:
        band: Nodes that have a row.
        mean_mm: Spline values of the mean head, a border of one value included.
        rows_mm: Spline values of the components at each node of the band, for codes of unit variance.
        codes: Codes of the heads, in the order of the data.
        explained: Share of the weighted variance that each principal component explains, of what is not known.
        projection: Matrix that takes the deviations of all heads at a node to the components there, before windows.
        windows: For each component the number of its window in `windows_at`.
    """

    band: Band
    mean_mm: Float32[np.ndarray, "x2 y2 z2"]
    rows_mm: Float16[np.ndarray, "band components"]
    codes: Float32[np.ndarray, "heads components"]
    explained: Float[np.ndarray, " principal"]
    projection: Float32[np.ndarray, "components heads"]
    windows: Int[np.ndarray, " components"]


EVERYWHERE, FACE_AND_EARS, ELSEWHERE = range(3)
"""Windows of components: those of known codes act everywhere, principal components where they are of."""


def windows_at(canonical_mm: Float[np.ndarray, "nodes 3"]) -> Float32[np.ndarray, "3 nodes"]:
    """Factors of components at nodes, for each window; those of face and ears and of what is elsewhere add up to 1."""
    detail = face_and_ears_window(canonical_mm)
    return np.stack([np.ones_like(detail), detail, 1 - detail]).astype(np.float32)


def principal_lattice(
    data: HeadData,
    folder: Path,
    count: int,
    *,
    reach_mm: float,
    share: float,
    workers: int = 1,
    known: Float32[np.ndarray, "heads known"] | None = None,
    face: int = 0,
) -> GridComponents:
    """Computes the principal components of the lattices of all heads.

    Face and ears can have components of their own. Hair and clothes differ far more, so that a fit whose components
    are of all together bends a face to what it lacks of the hair.

    Args:
        data: Heads with lattices.
        folder: Folder of finished parts; those of other data or options are refused.
        count: Number of components, known ones and those of the face included; at most one fewer than heads.
        reach_mm: A node is in the band if enough heads have their surface nearer than this.
        share: Share of the heads that is enough.
        workers: Number of threads.
        known: Numbers of the code that are known of each head; deviations are regressed on these first.
        face: Number of components of face and ears alone; with 0 all components are of the whole head.

    Raises:
        PriorError: The lattices do not cover the box, or the folder is of another run.
    """
    count = min(count, len(data.names) - 1)
    _claim(folder, data, count=count, reach_mm=reach_mm, share=share, face=face)
    band = find_band(data, folder / "band.npz", reach_mm, share, workers)
    log.info("band: %d of %d nodes", band.inside.sum(), band.inside.size)
    files = [folder / f"heads-{shard:05d}.npy" for shard in range(len(data.shards))]
    missing = [shard for shard, file in enumerate(files) if not file.is_file()]
    for _ in mapped(partial(_keep, data, band.inside, files), missing, workers):
        pass
    assert data.lattice_mm is not None  # find_band needs it
    factors = windows_at(np.array(BOX_LOW_MM) + np.argwhere(band.inside) * data.lattice_mm)
    used = [FACE_AND_EARS, ELSEWHERE] if face else [EVERYWHERE]
    grams = _grams(files, folder / "gram.npz", band, factors[used], workers)
    free = count - (0 if known is None else known.shape[1])
    counts = [face, free - face] if face else [free]
    codes, explained, projection = regressed_components(grams, counts, known)
    log.info("%d components explain %.4f of the variance", len(explained), explained.sum())
    windows = np.repeat([EVERYWHERE, *used], [count - free, *counts])
    rows = _rows(files, folder, band, (projection, factors, windows), workers)
    mean = spline_values(band.mean_mm)
    # Deviations are those from the mean of all heads, whose codes are not 0 on average where they are known.
    mean -= (rows.astype(np.float32) @ codes.mean(axis=0))[nearest_rows(band.inside)]
    return GridComponents(band, mean, rows, codes, explained, projection, windows)


def regressed_components(
    grams: Float[np.ndarray, "parts heads heads"],
    counts: Sequence[int],
    known: Float32[np.ndarray, "heads known"] | None,
) -> tuple[
    Float32[np.ndarray, "heads components"],
    Float[np.ndarray, " principal"],
    Float32[np.ndarray, "components heads"],
]:
    """Regresses deviations of heads on known codes, and takes principal components of what is left, part by part.

    Args:
        grams: Weighted inner products of the heads' deviations from their mean, for each part of space.
        counts: Number of principal components of each part.
        known: Known codes.

    Returns:
        Codes of the heads, the shares of all remaining variance that the principal components explain, and the matrix
        that takes deviations of the heads to components.
    """
    heads = grams.shape[1]
    if known is None:
        known = np.zeros((heads, 0), np.float32)
    centred = known.astype(np.float64) - known.mean(axis=0)
    inverse = np.linalg.inv(centred.T @ centred + KNOWN_RIDGE * np.eye(known.shape[1]))
    regression = inverse @ centred.T
    rest = np.eye(heads) - centred @ regression
    left = [rest @ gram @ rest.T for gram in grams]
    variances = np.array([np.trace(gram) for gram in left])
    parts = [codes_from_gram(gram, count) for gram, count in zip(left, counts, strict=True)]
    shares = variances / max(variances.sum(), 1e-30)
    explained = np.concatenate([share * own for share, (_, own) in zip(shares, parts, strict=True)])
    codes = np.concatenate([known, *(own for own, _ in parts)], axis=1).astype(np.float32)
    projection = np.concatenate([regression, *(own.T @ rest / heads for own, _ in parts)])
    return codes, explained, projection.astype(np.float32)


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


def _grams(
    files: Sequence[Path], path: Path, band: Band, windows: Float32[np.ndarray, "parts band"], workers: int
) -> Float[np.ndarray, "parts heads heads"]:
    """Inner products of the heads' deviations under each window, which are kept after every few blocks."""
    gram, done = np.zeros(()), 0
    if path.is_file():
        with np.load(path) as held:
            gram, done = held["gram"], int(held["done"])
    parts = slices(len(band.weights), NODES_AT_A_TIME)
    inner = partial(_inner, files, band.mean_mm[band.inside], windows * np.sqrt(band.weights))
    for product in mapped(inner, parts[done:], workers):
        gram = gram + product
        done += 1
        if done % PARTS_BETWEEN == 0 or done == len(parts):
            with replacing(path) as temporary:
                np.savez(temporary, allow_pickle=False, gram=gram, done=done)
    return gram


def _inner(files: Sequence[Path], mean: np.ndarray, roots: np.ndarray, part: slice) -> np.ndarray:
    deviations = _deviations(files, mean, part)
    weighted = [deviations * root for root in roots[:, part]]
    return np.stack([(each @ each.T).astype(np.float64) for each in weighted])


def _rows(
    files: Sequence[Path],
    folder: Path,
    band: Band,
    components_of: tuple[np.ndarray, np.ndarray, np.ndarray],
    workers: int,
) -> Float16[np.ndarray, "band components"]:
    """Components and their spline values; each in a file that is filled a few blocks at a time.

    Args:
        files: Distances in the band, shard by shard.
        folder: Folder of the files that are filled.
        band: The band.
        components_of: Projection, factors of each window at the nodes, and the window of each component.
        workers: Number of threads.
    """
    nodes, components = len(band.weights), len(components_of[0])
    project = partial(_project, files, band.mean_mm[band.inside], components_of)
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


def _project(
    files: Sequence[Path], mean: np.ndarray, components_of: tuple[np.ndarray, ...], part: slice
) -> np.ndarray:
    projection, factors, windows = components_of
    result: np.ndarray = (projection @ _deviations(files, mean, part)) * factors[:, part][windows]
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


def fine_components(
    fine: Float16[np.ndarray, "heads band"],
    inside: Bool[np.ndarray, "x y z"],
    places_mm: Float[np.ndarray, "band 3"],
    found: GridComponents,
    workers: int = 1,
) -> tuple[Float32[np.ndarray, " band"], Float16[np.ndarray, "band components"]]:
    """Computes spline values of the mean head and the components on the fine lattice.

    Args:
        fine: Values of the heads, mm.
        inside: Whether a node is in the band.
        places_mm: Places of the nodes of the band, canonical mm.
        found: Components of the whole lattice.
        workers: Number of threads.
    """
    factors = windows_at(places_mm)
    mean = np.zeros(fine.shape[1], np.float32)
    nodes = np.empty((len(found.projection), fine.shape[1]), np.float32)
    for part in slices(fine.shape[1], NODES_AT_A_TIME):
        block = fine[:, part].astype(np.float32)
        mean[part] = block.mean(axis=0)
        nodes[:, part] = (found.projection @ (block - mean[part])) * factors[:, part][found.windows]

    def convert(values: Float32[np.ndarray, " band"]) -> Float32[np.ndarray, " band"]:
        dense = np.zeros(inside.shape, np.float32)
        dense[inside] = values
        splines: np.ndarray = spline_values(dense)[1:-1, 1:-1, 1:-1][inside]
        return splines

    rows = np.empty((fine.shape[1], len(nodes)), np.float16)
    for number, splines in enumerate(mapped(convert, list(nodes), workers)):
        rows[:, number] = splines
    at_zero = convert(mean) - rows.astype(np.float32) @ found.codes.mean(axis=0)
    return at_zero, rows
