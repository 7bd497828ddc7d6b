"""Landmarks of the synthetic heads of a sample folder, which are made again from their seeds."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from recon.errors import ReconError
from recon.files import replacing
from recon.geometry.frames import similarity
from recon.priors.data.dataset import HeadData, SampleFolder
from recon.threads import mapped

log = logging.getLogger(__name__)

AGREEMENT = 1e-3
"""Largest difference of a head's similarity to the canonical frame from the one in its samples."""


def landmark_names() -> tuple[str, ...]:
    """Names of the 68 landmarks: those of H3DS, and a number for the others (Multi-PIE order)."""
    from recon.synth.model.head_model import H3DS_LANDMARKS

    names = [f"landmark_{number:02d}" for number in range(68)]
    for name, index in H3DS_LANDMARKS.items():
        names[index] = name
    return tuple(names)


def seeds_of(data: HeadData, purpose: str) -> list[int] | None:
    """Seeds of synthetic heads, if these can be made again here; else None, with a warning that says why.

    Args:
        data: The heads.
        purpose: Purpose for which they would be made again, for the warning.
    """
    if not isinstance(data, SampleFolder):
        return None
    try:
        from recon.synth.datasets.sample_files import read_manifest
        from recon.synth.model.head_model import load_head_model

        shards = read_manifest(data.folder.parent, data.folder.name)["shards"]
        seeds = [int(seed) for shard in shards for seed in shard["seeds"]]
        if len(seeds) != len(data.names):
            log.warning("no %s: %s names no seeds of its heads", purpose, data.folder / "manifest.json")
            return None
        load_head_model()
    except ReconError as error:
        log.warning("no %s: %s", purpose, error)
        return None
    return seeds


def landmarks_of(data: HeadData, path: Path, workers: int = 1) -> Float[np.ndarray, "heads 68 3"] | None:
    """Landmarks of all heads, canonical mm; a head whose samples are not of this head model has nan.

    Args:
        data: The heads.
        path: File of the landmarks, for a run that goes on.
        workers: Number of threads.

    Returns:
        None where the heads are not synthetic, or there is no head model on this machine.
    """
    seeds = seeds_of(data, "landmarks")
    if seeds is None:
        return None
    assert isinstance(data, SampleFolder)
    if data.has_template:
        return data.of_all("landmarks")
    if path.is_file():
        kept: np.ndarray = np.load(path, allow_pickle=False)
        return kept
    shares = [
        (seeds[heads[0] : heads[-1] + 1], file) for heads, file in zip(data.shards, data.files, strict=True)
    ]
    parts = mapped(partial(_of_shard, data.folder.name), shares, workers)
    landmarks = np.concatenate(list(parts))
    other_model = int(np.isnan(landmarks).any(axis=(1, 2)).sum())
    if other_model:
        log.warning("%d heads were made with another head model: their landmarks do not count", other_model)
    with replacing(path) as temporary:
        np.save(temporary, landmarks, allow_pickle=False)
    return landmarks


def _of_shard(split: str, share: tuple[Sequence[int], Path]) -> Float[np.ndarray, "heads 68 3"]:
    from recon.synth.datasets.samples import mean_landmarks
    from recon.synth.model.head_model import load_head_model
    from recon.synth.model.identity import draw_identity, shape_head

    seeds, file = share
    model = load_head_model()
    mean = mean_landmarks(model)
    with np.load(file, allow_pickle=False) as arrays:
        expected = arrays["canonical_from_head"]
    found = np.full((len(seeds), *mean.shape), np.nan)
    for row, seed in enumerate(seeds):
        landmarks = shape_head(model, draw_identity(model, seed, split)).landmarks68
        to_canonical = similarity(landmarks, mean)
        if np.abs(to_canonical - expected[row]).max() < AGREEMENT:
            found[row] = landmarks @ to_canonical[:3, :3].T + to_canonical[:3, 3]
    return found
