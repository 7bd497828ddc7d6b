"""Portraits by the ten thousand: shards of a few people each, made in parallel, resumed where a call stopped."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recon.errors import ConfigError, SceneError
from recon.files import replacing, sha256_of
from recon.geometry.frames import transform
from recon.processes import in_processes
from recon.reading import read_json, reading, shortened, table
from recon.run_folders import claimed
from recon.synth.hair.styles import WIDE_SHARES
from recon.synth.model.identity import SPLITS, generator
from recon.synth.portraits.backdrops import draw_backdrop
from recon.synth.portraits.framing import Framing, draw_framing
from recon.synth.portraits.held import draw_things
from recon.synth.portraits.people import Person, draw_person, seat, sit
from recon.synth.portraits.portrait import shoot
from recon.synth.portraits.shards import FORMAT, Shot, write_shard

logger = logging.getLogger(__name__)

_VIEWS, _BACKDROPS = 51, 52
"""Purposes of random generators."""
FRAME = (
    "mean head, mm, +Y up, +Z out of the face, +X subject's left; hair by similarity of 68 landmarks at rest"
)
SITTING = 8
"""Pictures of one light and one set of colours."""
PORTRAITS_PER_BACKDROP = 4
AIM_MM = np.array([[0.0, 25.0, 0.0]])
"""Middle of the mean head."""


@dataclass(frozen=True)
class PortraitSettings:
    """Settings that all portraits of a folder share.

    Attributes:
        views: Portraits of each person.
        size: Side of a portrait, pixels.
        people_per_shard: People of one shard.
        held_out: Families of hair that training does not see.
        twins: Whether to keep each portrait without the things before the person.
    """

    views: int = 64
    size: int = 256
    people_per_shard: int = 4
    held_out: tuple[str, ...] = ("afro", "ponytail")
    twins: bool = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.held_out if name not in WIDE_SHARES]
        if unknown:
            raise ConfigError(f"held_out={list(self.held_out)}: families are {', '.join(WIDE_SHARES)}")
        if min(self.views, self.people_per_shard) < 1 or self.size < 32 or self.size % 4:
            raise ConfigError(
                f"views={self.views} people_per_shard={self.people_per_shard} size={self.size}: expected at least one "
                "portrait and person, and a size of at least 32 that 4 divides"
            )


@dataclass(frozen=True)
class PortraitProgress:
    """The progress of `make_portraits` after one shard.

    Attributes:
        path: The shard.
        portraits: Number of its portraits.
        seconds: How long it took, of one core.
        done: Number of shards that are there now.
        total: Number of shards that there will be.
    """

    path: Path
    portraits: int
    seconds: float
    done: int
    total: int


def make_portraits(
    root: Path | str, split: str, seeds: range, settings: PortraitSettings, *, workers: int = 1
) -> Iterator[PortraitProgress]:
    """Makes shards that are not there yet; what is written does not depend on the number of workers.

    Args:
        root: Folder; shards go to `<root>/<split>/shard-00000.safetensors`, and a manifest beside them.
        split: "train", "val" or "test".
        seeds: Which people.
        settings: What all portraits share.
        workers: Number of processes.

    Yields:
        New shards as they are done.

    Raises:
        SceneError: The folder holds portraits made with other settings.
        ConfigError: Unknown split, or another process writes there.
    """
    if split not in SPLITS:
        raise ConfigError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    folder = Path(root) / split
    folder.mkdir(parents=True, exist_ok=True)
    with _claimed(folder):
        known = _known(folder, settings)
        jobs = _jobs(seeds, settings.people_per_shard)
        done = {
            name: known[name] for name, own in jobs.items() if _is_done(folder, known.get(name), name, own)
        }
        kept = known | done
        missing = [job for job in jobs.items() if job[0] not in done]
        for entry in in_processes(
            partial(make_shard, folder, split, settings), missing, workers, one_thread=True
        ):
            seconds = entry.pop("seconds")
            kept[entry["file"]] = done[entry["file"]] = entry
            _write_manifest(folder, settings, kept)
            path = folder / entry["file"]
            logger.info("wrote %s (%d of %d shards)", path, len(done), len(jobs))
            yield PortraitProgress(path, entry["portraits"], seconds, len(done), len(jobs))


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """A context in which no other process makes portraits in a folder.

    Raises:
        ConfigError: One is at work there.
    """
    try:
        with claimed(folder, resumed=True):
            yield
    except ConfigError as error:
        raise ConfigError(str(error).removeprefix("resume=")) from error


def make_shard(
    folder: Path, split: str, settings: PortraitSettings, job: tuple[str, tuple[int, ...]]
) -> dict[str, Any]:
    """Makes and writes one shard; returns its entry in the manifest."""
    started = time.perf_counter()
    file, seeds = job
    shots: list[Shot] = []
    people: list[dict[str, Any]] = []
    for number, seed in enumerate(seeds):
        recipe = draw_person(seed, split, settings.held_out)
        person = seat(recipe)
        people.append(
            {"name": recipe["name"], "seed": seed, "family": person.family, "renderer": recipe["renderer"],
             "held_out": person.family in settings.held_out}
        )  # fmt: skip
        shots += photograph(person, seed, split, settings, number)
    rng = generator(seeds[0], split, purpose=_BACKDROPS)
    others = [(shot.portrait.light, shot.portrait.cover) for shot in shots[:: max(len(shots) // 16, 1)]]
    count = max(len(shots) // PORTRAITS_PER_BACKDROP, 1)
    backdrops = [draw_backdrop(rng, settings.size, others) for _ in range(count)]
    write_shard(folder / file, shots, backdrops, people, twins=settings.twins)
    return {
        "file": file,
        "seeds": list(seeds),
        "portraits": len(shots),
        "sha256": sha256_of(folder / file),
        "seconds": time.perf_counter() - started,
    }


def photograph(
    person: Person, seed: int, split: str, settings: PortraitSettings, number: int = 0
) -> Iterator[Shot]:
    """Takes all portraits of a person.

    Args:
        person: Who.
        seed: Which person of the split.
        split: "train", "val" or "test".
        settings: Their number and size.
        number: Number of the person in the shard.
    """
    aim = person.to_head(AIM_MM)[0]
    place = SPLITS.index(split)
    for view in range(settings.views):
        if view % SITTING == 0:
            sitting = sit(person, (place, seed, view // SITTING))
        rng = np.random.default_rng([place, _VIEWS, seed, view])
        framing = draw_framing(rng, aim, settings.size)
        things = draw_things(sitting, framing.camera, rng)
        portrait = shoot(sitting, framing, things)
        to_camera = framing.camera.camera_from_world @ np.linalg.inv(person.canonical_from_head)
        yield Shot(
            portrait, framing.camera.intrinsics, to_camera, _angles(person, framing), number, view // SITTING
        )


def _angles(person: Person, framing: Framing) -> tuple[float, float, float, float]:
    """Azimuth and height of the camera in the canonical frame, its roll, and its focal length."""
    x, y, z = transform(person.canonical_from_head, framing.camera.centre[None])[0] - AIM_MM[0]
    height = np.degrees(np.arctan2(y, np.hypot(x, z)))
    return float(np.degrees(np.arctan2(x, z))), float(height), framing.roll_deg, framing.focal_mm


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads the manifest of the portraits of a split.

    Raises:
        SceneError: It is missing, broken or of another format.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise SceneError(f"no portraits: {path} does not exist; headrecon-make-portraits makes them")
    with reading(path, SceneError, "a manifest of portraits", "make the portraits anew"):
        manifest = table(read_json(path))
        if manifest.get("format") != FORMAT:
            found = shortened(manifest.get("format"), 60)
            raise ValueError(f"its format is {found!r}, expected {FORMAT!r}")
        manifest["shards"] = [table(each) for each in manifest["shards"]]
    return manifest


def _known(folder: Path, settings: PortraitSettings) -> dict[str, dict[str, Any]]:
    """Entries of the shards of earlier calls, by file."""
    if not (folder / "manifest.json").is_file():
        return {}
    manifest = read_manifest(folder)
    if manifest["settings"] != json.loads(json.dumps(asdict(settings))):
        raise SceneError(
            f"{folder / 'manifest.json'} was made with other settings ({manifest['settings']}): write to another "
            "folder, or remove it"
        )
    return {str(entry["file"]): entry for entry in manifest["shards"]}


def _jobs(seeds: range, people: int) -> dict[str, tuple[int, ...]]:
    """Seeds of the people of each shard, by file; a person stands in the same shard whichever range is asked for."""
    jobs: dict[str, list[int]] = {}
    for seed in seeds:
        jobs.setdefault(f"shard-{seed // people:05d}.safetensors", []).append(seed)
    return {name: tuple(own) for name, own in jobs.items()}


def _is_done(folder: Path, entry: dict[str, Any] | None, file: str, seeds: tuple[int, ...]) -> bool:
    """Whether an earlier call has made a shard of these people."""
    return entry is not None and set(seeds) <= set(entry["seeds"]) and (folder / file).is_file()


def _write_manifest(folder: Path, settings: PortraitSettings, shards: dict[str, dict[str, Any]]) -> None:
    content = {
        "format": FORMAT,
        "settings": asdict(settings),
        "frame": FRAME,
        "shards": [shards[file] for file in sorted(shards)],
    }
    with replacing(folder / "manifest.json") as path:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
