"""Training samples for priors: points of synthetic heads with exact signed distances, in one canonical frame.

The canonical frame is that of the mean head, mm: every head is brought there by the similarity that takes
its 68 landmarks closest to the mean head's. Samples are written in shards of a few heads with a manifest,
and read back one head at a time.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from recon.errors import SceneError
from recon.synth.identity import SPLITS
from recon.synth.model import HeadModel, load_head_model
from recon.synth.parts import Subject
from recon.synth.subject import make_subject
from recon.synth.surface_distance import MeshDistance

logger = logging.getLogger(__name__)

FORMAT = "headrecon-samples-1"
UNIT_CENTRE_MM = (0.0, -25.0, -5.0)
UNIT_RADIUS_MM = 290.0
"""The ball of the canonical frame that holds every bust; volume points fill it."""


@dataclass(frozen=True)
class SampleCounts:
    """How many points of each kind one head gives.

    Attributes:
        surface: Points on the surface, with normals.
        near: Points near the surface: half within about 2 mm, half within about 12 mm (standard deviations).
        volume: Points uniform in the unit ball.
    """

    surface: int = 40_000
    near: int = 50_000
    volume: int = 10_000


NEAR_SIGMAS_MM = (2.0, 12.0)


@dataclass(frozen=True)
class HeadSamples:
    """Samples of one head in the canonical frame, mm.

    Attributes:
        name: The subject's name.
        surface: Points on the surface.
        normals: Their unit outward normals.
        points: Points near the surface and in the volume.
        distances: Their signed distances, mm, negative inside.
        canonical_from_head: Similarity that took the head to the canonical frame.
    """

    name: str
    surface: Float32[np.ndarray, "surface 3"]
    normals: Float32[np.ndarray, "surface 3"]
    points: Float32[np.ndarray, "points 3"]
    distances: Float32[np.ndarray, " points"]
    canonical_from_head: Float[np.ndarray, "4 4"]


def similarity(
    source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "4 4"]:
    """Least-squares similarity (rotation, one scale, translation) that takes source to target (Umeyama 1991).

    Returns:
        A 4x4 matrix for column points.
    """
    a, b = source.mean(axis=0), target.mean(axis=0)
    u, stretch, vt = np.linalg.svd((target - b).T @ (source - a))
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * flip) @ vt
    scale = (stretch * flip).sum() / ((source - a) ** 2).sum()
    matrix = np.eye(4)
    matrix[:3, :3] = scale * rotation
    matrix[:3, 3] = b - scale * rotation @ a
    return matrix


def mean_landmarks(model: HeadModel) -> Float[np.ndarray, "68 3"]:
    """Landmarks of the mean head, mm: what the canonical frame is fixed by."""
    result: np.ndarray = model.refinement.canonical[model.landmarks]
    return result


def sample_subject(
    subject: Subject,
    *,
    model: HeadModel | None = None,
    counts: SampleCounts | None = None,
    seed: int = 0,
) -> HeadSamples:
    """Draws samples of one subject's truth.

    Args:
        subject: Whose truth to sample.
        model: Head model; by default the one of `load_head_model()`.
        counts: How many points of each kind.
        seed: Seed of the draw; the same (subject, seed) gives the same samples.
    """
    counts = counts or SampleCounts()
    model = model or load_head_model()
    to_canonical = similarity(subject.landmarks68, mean_landmarks(model))
    vertices = _apply(to_canonical, np.asarray(subject.truth.vertices))
    faces = np.asarray(subject.truth.faces, dtype=np.int64)
    rng = np.random.default_rng(
        [int.from_bytes(hashlib.sha256(subject.name.encode()).digest()[:8], "big"), seed]
    )

    surface, normals = _on_surface(rng, vertices, faces, counts.surface)
    near, _ = _on_surface(rng, vertices, faces, counts.near)
    sigma = np.where(np.arange(counts.near) < counts.near // 2, *NEAR_SIGMAS_MM)
    near = near + rng.normal(size=near.shape) * sigma[:, None]
    points = np.concatenate([near, _in_ball(rng, counts.volume)]).astype(np.float32)
    # distances belong to the rounded points that are kept
    distances = MeshDistance(vertices, faces)(points.astype(np.float64))
    return HeadSamples(
        subject.name,
        surface.astype(np.float32),
        normals.astype(np.float32),
        points,
        distances.astype(np.float32),
        to_canonical,
    )


def write_samples(
    root: str | Path,
    split: str,
    seeds: Sequence[int],
    *,
    counts: SampleCounts | None = None,
    heads_per_shard: int = 8,
    spacing_mm: float = 1.5,
) -> Path:
    """Makes subjects and writes their samples in shards; goes on where an earlier call stopped.

    Args:
        root: Folder; shards go to `<root>/<split>/shard-00000.npz`, and the manifest beside them.
        split: "train", "val" or "test".
        seeds: Which persons.
        counts: How many points of each kind.
        heads_per_shard: Heads in one shard.
        spacing_mm: Grid spacing of the truth.

    Returns:
        Path of the manifest.

    Raises:
        SceneError: The folder holds samples made with other settings.
    """
    counts = counts or SampleCounts()
    folder = Path(root) / split
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {
        "format": FORMAT,
        "split": split,
        "frame": "mean head by similarity of 68 landmarks, mm, +Y up, +Z out of the face, +X subject's left",
        "unit_centre_mm": list(UNIT_CENTRE_MM),
        "unit_radius_mm": UNIT_RADIUS_MM,
        "spacing_mm": spacing_mm,
        "counts": vars(counts),
        "heads_per_shard": heads_per_shard,
    }
    path = folder / "manifest.json"
    old = json.loads(path.read_text()) if path.exists() else {"shards": []}
    if any(old[key] != manifest[key] for key in manifest if key in old):
        raise SceneError(f"{path} was made with other settings; write to another folder or remove it")
    done = {shard["file"]: shard for shard in old["shards"]}
    shards = []
    for number, first in enumerate(range(0, len(seeds), heads_per_shard)):
        own = [int(seed) for seed in seeds[first : first + heads_per_shard]]
        file = f"shard-{number:05d}.npz"
        entry = done.get(file)
        if entry is None or entry["seeds"] != own or not (folder / file).exists():
            heads = [
                sample_subject(make_subject(seed, split=split, spacing_mm=spacing_mm), counts=counts)
                for seed in own
            ]
            _write_shard(folder / file, heads)
            digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
            entry = {"file": file, "seeds": own, "names": [head.name for head in heads], "sha256": digest}
            logger.info("wrote %s (%d of %d heads)", folder / file, first + len(own), len(seeds))
        shards.append(entry)
        _write_atomically(path, json.dumps({**manifest, "shards": shards}, indent=1).encode())
    return path


def read_manifest(root: str | Path, split: str) -> dict[str, Any]:
    """Reads a manifest.

    Raises:
        SceneError: It is missing or of another format.
    """
    path = Path(root) / split / "manifest.json"
    if split not in SPLITS or not path.is_file():
        raise SceneError(f"no samples of split {split!r}: {path} does not exist; `write_samples` makes them")
    manifest: dict[str, Any] = json.loads(path.read_text())
    if manifest.get("format") != FORMAT:
        raise SceneError(f"{path} has format {manifest.get('format')!r}, expected {FORMAT!r}; make it anew")
    return manifest


def read_samples(root: str | Path, split: str, *, verify: bool = False) -> Iterator[HeadSamples]:
    """Yields the heads of a split one after the other, holding one shard in memory.

    Args:
        root: Folder that `write_samples` filled.
        split: Which split.
        verify: Compare every shard with its hash first.

    Raises:
        SceneError: Manifest or shard missing, or a shard that differs from its hash.
    """
    for shard in read_manifest(root, split)["shards"]:
        path = Path(root) / split / shard["file"]
        if not path.is_file():
            raise SceneError(f"{path} is in the manifest but missing; run `write_samples` again")
        if verify and hashlib.sha256(path.read_bytes()).hexdigest() != shard["sha256"]:
            raise SceneError(f"{path} differs from its hash; remove it and run `write_samples` again")
        with np.load(path, allow_pickle=False) as arrays:
            held = {key: arrays[key] for key in arrays.files}
        for n, name in enumerate(shard["names"]):
            yield HeadSamples(
                name,
                held["surface"][n],
                held["normals"][n].astype(np.float32),
                held["points"][n],
                held["distances"][n],
                held["canonical_from_head"][n],
            )


def _write_shard(path: Path, heads: Sequence[HeadSamples]) -> None:
    temporary = path.with_suffix(".tmp.npz")
    np.savez(
        temporary,
        surface=np.stack([head.surface for head in heads]),
        normals=np.stack([head.normals for head in heads]).astype(np.float16),
        points=np.stack([head.points for head in heads]),
        distances=np.stack([head.distances for head in heads]),
        canonical_from_head=np.stack([head.canonical_from_head for head in heads]),
    )
    os.replace(temporary, path)


def _write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    result: np.ndarray = points @ matrix[:3, :3].T + matrix[:3, 3]
    return result


def _on_surface(
    rng: np.random.Generator, vertices: np.ndarray, faces: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Area-uniform points of a mesh with the normals of their triangles."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    area = np.linalg.norm(normal, axis=1)
    mass = np.cumsum(area)
    chosen = np.minimum(
        np.searchsorted(mass, rng.uniform(size=count) * mass[-1], side="right"), len(faces) - 1
    )
    r, t = np.sqrt(rng.uniform(size=(count, 1))), rng.uniform(size=(count, 1))
    points = (1 - r) * a[chosen] + r * (1 - t) * b[chosen] + r * t * c[chosen]
    return points, normal[chosen] / area[chosen, None]


def _in_ball(rng: np.random.Generator, count: int) -> np.ndarray:
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    radius = UNIT_RADIUS_MM * rng.uniform(size=(count, 1)) ** (1 / 3)
    result: np.ndarray = np.asarray(UNIT_CENTRE_MM) + direction * radius
    return result
