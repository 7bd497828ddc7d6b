"""Training samples of many heads on disk: shards of a few heads, and a manifest.

`recon.priors.data.dataset.SampleFolder` reads them.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recon.errors import SceneError
from recon.files import replacing
from recon.geometry.frames import UNIT_CENTRE_MM, UNIT_RADIUS_MM
from recon.processes import in_processes
from recon.reading import read_json, reading, shortened, table
from recon.synth.body.subject import make_subject
from recon.synth.datasets.samples import HeadSamples, SampleCounts, sample_subject
from recon.synth.datasets.template import FILE as TEMPLATE_FILE
from recon.synth.datasets.template import Template, fit_template, read_template, write_template
from recon.synth.model.identity import SPLITS

logger = logging.getLogger(__name__)

FORMAT = "headrecon-samples-2"
GOLDEN_RATIO = 0.6180339887498949


def write_samples(
    root: str | Path,
    split: str,
    seeds: Sequence[int],
    *,
    counts: SampleCounts | None = None,
    heads_per_shard: int = 8,
    spacing_mm: float = 1.5,
    workers: int = 1,
    wide: float = 0.0,
    template: bool = False,
) -> Path:
    """Makes subjects and writes their samples in shards; goes on where an earlier call stopped.

    Args:
        root: Folder; shards go to `<root>/<split>/shard-00000.npz`, and the manifest beside them.
        split: "train", "val" or "test".
        seeds: Which persons.
        counts: How many points of each kind.
        heads_per_shard: Heads in one shard.
        spacing_mm: Grid spacing of the truth.
        workers: Processes to share the shards among; the files do not depend on it.
        wide: Share of the persons that are drawn wider: see `recon.synth.body.subject.make_subject`.
        template: Whether lattices are of heads taken to the template, which is kept in `<root>`.

    Returns:
        Path of the manifest.

    Raises:
        SceneError: The folder holds samples made with other settings.
    """
    counts = counts or SampleCounts()
    folder = Path(root) / split
    folder.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "split": split,
        "frame": "mean head by similarity of 68 landmarks, mm, +Y up, +Z out of the face, +X subject's left",
        "unit_centre_mm": list(UNIT_CENTRE_MM),
        "unit_radius_mm": UNIT_RADIUS_MM,
        "spacing_mm": spacing_mm,
        "counts": vars(counts),
        "heads_per_shard": heads_per_shard,
        **({"wide": wide} if wide else {}),
        **({"template": template_of(Path(root)).digest} if template else {}),
    }
    path = folder / "manifest.json"
    old: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {**manifest, "shards": []}
    if any(old.get(key) != manifest.get(key) for key in (*manifest, "wide", "template")):
        raise SceneError(f"{path} was made with other settings; write to another folder or remove it")
    jobs = _seeds_of_shards(seeds, heads_per_shard)
    done = _finished(folder, old["shards"], jobs)
    kept = folder.parent / TEMPLATE_FILE if template else None
    make = partial(_make_shard, folder, split, counts, spacing_mm, wide, kept)
    for entry in in_processes(make, _missing(jobs, done), workers, one_thread=True):
        done[entry["file"]] = entry
        logger.info("wrote %s (%d of %d shards)", folder / entry["file"], len(done), len(jobs))
        _write_manifest(path, manifest, done)
    _write_manifest(path, manifest, done)
    return path


def _seeds_of_shards(seeds: Sequence[int], heads_per_shard: int) -> dict[str, tuple[int, ...]]:
    """Seeds of the heads of each shard, by file."""
    return {
        f"shard-{number:05d}.npz": tuple(int(seed) for seed in seeds[first : first + heads_per_shard])
        for number, first in enumerate(range(0, len(seeds), heads_per_shard))
    }


def _missing(
    jobs: Mapping[str, tuple[int, ...]], done: Mapping[str, Any]
) -> list[tuple[str, tuple[int, ...]]]:
    """Shards that are still to be made."""
    return [job for job in jobs.items() if job[0] not in done]


def _finished(
    folder: Path, shards: Sequence[dict[str, Any]], jobs: Mapping[str, tuple[int, ...]]
) -> dict[str, dict[str, Any]]:
    """Entries of the shards that an earlier call made, by file."""
    return {
        shard["file"]: shard
        for shard in shards
        if jobs.get(shard["file"]) == tuple(shard["seeds"]) and (folder / shard["file"]).is_file()
    }


def template_of(root: Path) -> Template:
    """The template of a folder of samples, which is fitted to the head model where it is missing: some minutes.

    Raises:
        SceneError: The file cannot be read.
        ConfigError: There is no head model.
    """
    path = root / TEMPLATE_FILE
    if not path.is_file():
        logger.info("fitting the template, once: some minutes")
        write_template(path, fit_template())
    return read_template(path)


def is_wide(seed: int, share: float) -> bool:
    """Whether the person of a seed is one of the share that is drawn wider; they are spread evenly among the seeds."""
    return seed * GOLDEN_RATIO % 1.0 >= 1.0 - share


def read_manifest(root: str | Path, split: str) -> dict[str, Any]:
    """Reads a manifest.

    Raises:
        SceneError: It is missing or of another format.
    """
    path = Path(root) / split / "manifest.json"
    if split not in SPLITS or not path.is_file():
        raise SceneError(f"no samples of split {split!r}: {path} does not exist; `write_samples` makes them")
    with reading(path, SceneError, "a manifest of samples", "make it anew"):
        manifest = table(read_json(path))
    if manifest.get("format") != FORMAT:
        found = shortened(manifest.get("format"), 60)
        raise SceneError(f"{path} has format {found!r}, expected {FORMAT!r}; make it anew")
    return manifest


def _make_shard(
    folder: Path,
    split: str,
    counts: SampleCounts,
    spacing_mm: float,
    wide: float,
    template: Path | None,
    job: tuple[str, tuple[int, ...]],
) -> dict[str, Any]:
    """Makes and writes one shard; returns its entry in the manifest."""
    file, seeds = job
    subjects = (
        make_subject(seed, split=split, spacing_mm=spacing_mm, wide=is_wide(seed, wide)) for seed in seeds
    )
    found = None if template is None else read_template(template)
    heads = [sample_subject(subject, counts=counts, template=found) for subject in subjects]
    _write_shard(folder / file, heads)
    digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    return {"file": file, "seeds": list(seeds), "names": [head.name for head in heads], "sha256": digest}


def _write_manifest(path: Path, manifest: dict[str, Any], shards: dict[str, dict[str, Any]]) -> None:
    ordered = [shards[file] for file in sorted(shards)]
    _write_atomically(path, json.dumps({**manifest, "shards": ordered}, indent=1).encode())


def _write_shard(path: Path, heads: Sequence[HeadSamples]) -> None:
    arrays = {
        "surface": np.stack([head.surface for head in heads]),
        "normals": np.stack([head.normals for head in heads]).astype(np.float16),
        "points": np.stack([head.points for head in heads]),
        "distances": np.stack([head.distances for head in heads]),
        "canonical_from_head": np.stack([head.canonical_from_head for head in heads]),
        "landmarks": np.stack([head.landmarks for head in heads]),
    }
    for name in ("lattice", "fine", "code"):
        parts = [part for head in heads if (part := getattr(head, name)) is not None]
        if parts:
            arrays[name] = np.stack(parts)
    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def _write_atomically(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
