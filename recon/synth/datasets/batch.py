"""Batches of scenes, made in parallel, resumed where an earlier call stopped, and listed with their hashes."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from recon.errors import ConfigError, SceneError
from recon.files import replacing, sha256_of
from recon.geometry.decimation import decimate
from recon.processes import in_processes
from recon.scene.h3ds.layout import Paths
from recon.scene.scene import read_indices
from recon.synth.body.subject import build_subject, draw_recipe, with_truth
from recon.synth.datasets import cameras, scenes
from recon.synth.model.identity import SPLITS, generator
from recon.synth.parts import Subject
from recon.synth.render.appearance import appearance_of
from recon.synth.render.passes import PASSES

logger = logging.getLogger(__name__)

FORMAT = "headrecon-scenes-1"
VIEWS = (60, 71)
"""Range of the number of views where none is asked for, as in the data set."""
_ORBIT, _PLACEMENT = 32, 33


@dataclass(frozen=True)
class SceneSettings:
    """Settings that all scenes of one call share.

    Attributes:
        views: Number of pictures of each subject; None draws 60 to 70.
        size: Side of the square pictures, pixels.
        passes: Names of `recon.synth.render.passes.PASSES`; "rgb" and "mask" are always made.
        truth_vertices: Number of vertices that the ground truth is simplified to; None keeps all of about 170,000.
        shake: Scale of the hand's shake.
    """

    views: int | None = None
    size: int = 512
    passes: tuple[str, ...] = ("rgb", "mask")
    truth_vertices: int | None = 60_000
    shake: float = 1.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.passes if name not in PASSES]
        if unknown:
            raise ConfigError(f"unknown pass {', '.join(unknown)}: known are {', '.join(sorted(PASSES))}")
        if self.views is not None and self.views < 1:
            raise ConfigError(f"views must be at least 1, got {self.views}")
        if self.size < 16:
            raise ConfigError(f"size must be at least 16 pixels, got {self.size}")


@dataclass(frozen=True)
class SceneProgress:
    """The progress of `make_scenes` after one scene.

    Attributes:
        name: Name of the scene.
        family: Family of its hair.
        new: Whether this call made it, not an earlier one.
        done: Number of scenes that are there now.
        total: Number of scenes that there will be.
    """

    name: str
    family: str
    new: bool
    done: int
    total: int


def split_recipes(
    split: str,
    count: int,
    *,
    first: int = 0,
    style: str | None = None,
    people: str = "usual",
    turned: bool = False,
) -> list[dict[str, Any]]:
    """Draws the recipes of `count` people of a split, seeds from `first` on.

    Args:
        split: "train", "val" or "test".
        count: Number of people.
        first: Seed of the first.
        style: Hair family; drawn by default.
        people: "usual"; "wide" or "expressive" as for `draw_recipe`.
        turned: Turn heads on their necks.

    Raises:
        ConfigError: Unknown split or style, or no head model.
    """
    if split not in SPLITS:
        raise ConfigError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    return [
        draw_recipe(
            seed,
            split=split,
            style=style,
            wide=people == "wide",
            expressive=people == "expressive",
            turned=turned,
        )
        for seed in range(first, first + count)
    ]


def make_scene(root: Path | str, settings: SceneSettings, recipe: Mapping[str, Any]) -> Path:
    """Builds, photographs and writes one person; a scene of that name is replaced.

    Args:
        root: H3DS root.
        settings: Settings of the pictures.
        recipe: Recipe of `draw_recipe` (or a named one).

    Returns:
        The scene's folder.
    """
    subject = build_subject(recipe)
    seed, split = int(recipe["seed"]), str(recipe["split"])
    rng = generator(seed, split, purpose=_ORBIT)
    views = settings.views if settings.views is not None else int(rng.integers(*VIEWS))
    points = np.asarray(subject.truth.vertices)
    orbit = cameras.draw_orbit(views, points, rng, size=settings.size, shake=settings.shake)
    return scenes.write_subject_scene(
        root,
        subject,
        appearance_of(recipe),
        orbit,
        scenes.draw_placement(generator(seed, split, purpose=_PLACEMENT)),
        passes=settings.passes,
        truth=_simplified(subject, settings),
        tags=("synthetic", split, *recipe.get("tags", ())),
        mesh_decimals=3,
        overwrite=True,
    )


def add_ears(folder: Path, settings: SceneSettings, recipe: Mapping[str, Any]) -> bool:
    """Adds the region "ears" to a scene that was made before there was one; no other file changes.

    Args:
        folder: The scene's folder, as `make_scene` wrote it.
        settings: Settings that it was made with.
        recipe: Recipe that it was made from.

    Returns:
        Whether it was added.

    Raises:
        SceneError: The recipe builds another surface today than the one that the scene's other regions belong to.
    """
    paths = Paths(folder)
    if paths.region("ears").exists() or not paths.region("face").is_file():
        return False
    subject = build_subject(recipe)
    truth = _simplified(subject, settings)
    subject = subject if truth is None else with_truth(subject, truth)
    if not np.array_equal(subject.regions["face"], read_indices(paths.region("face"))):
        raise SceneError(
            f"{folder} lacks the region of the ears, and its recipe builds another surface today than when it was "
            f"made, so that {paths.region('ears')} cannot be added: make the scene again in another folder"
        )
    with replacing(paths.region("ears")) as path:
        path.write_text("".join(f"{index}\n" for index in subject.regions["ears"]), encoding="utf-8")
    return True


def _simplified(subject: Subject, settings: SceneSettings) -> trimesh.Trimesh | None:
    """The truth that is written to disk, None where that is the subject's own."""
    most = settings.truth_vertices
    return None if most is None or len(subject.truth.vertices) <= most else decimate(subject.truth, most)


def make_scenes(
    root: Path | str, recipes: Sequence[Mapping[str, Any]], settings: SceneSettings, *, workers: int = 1
) -> Iterator[SceneProgress]:
    """Makes all scenes that are not there yet; what is written does not depend on the number of workers.

    A scene counts as there when the manifest lists it with the same recipe and settings; one that was made before
    truths had the region "ears" is given it. A call that is stopped leaves complete scenes only, and the next one goes
    on after them.

    Args:
        root: H3DS root; `manifest.json` in it lists scenes, their recipes' hashes and the hashes of their files.
        recipes: Recipes of the people, names unique.
        settings: Settings of the pictures.
        workers: Number of processes.

    Yields:
        Scenes as they are done, those of earlier calls first.

    Raises:
        SceneError: A scene of that name was made from another recipe or with other settings.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    known = read_manifest(root)
    keys = {str(recipe["name"]): _key(recipe, settings) for recipe in recipes}
    for name, key in keys.items():
        there = known.get(name)
        if there is not None and there["key"] != key:
            raise SceneError(
                f"{root / name} was made from another recipe or with other settings: write to another folder, "
                "or remove it and its entry in manifest.json"
            )
    missing = [recipe for recipe in recipes if recipe["name"] not in known]
    done = len(recipes) - len(missing)
    families = {str(recipe["name"]): family(recipe) for recipe in recipes}
    by_name = {str(recipe["name"]): recipe for recipe in recipes}
    for number, name in enumerate((name for name in keys if name in known), start=1):
        if add_ears(root / name, settings, by_name[name]):
            known[name]["files"] = file_hashes(root / name)
            _write_manifest(root, known)
        yield SceneProgress(name, families[name], False, number, len(recipes))
    made = in_processes(partial(make_scene, root, settings), missing, workers, one_thread=True)
    for name in (path.name for path in made):
        done += 1
        known[name] = {"key": keys[name], "settings": asdict(settings), "files": file_hashes(root / name)}
        _write_manifest(root, known)
        logger.info("wrote %s (%d of %d)", root / name, done, len(recipes))
        yield SceneProgress(name, families[name], True, done, len(recipes))


def family(recipe: Mapping[str, Any]) -> str:
    """Returns the hair family of a recipe."""
    return str(recipe["hair"]["style"]["family"]) if recipe["hair"] else "bald"


def read_manifest(root: Path | str) -> dict[str, dict[str, Any]]:
    """Reads the scenes of a root by name, as `make_scenes` lists them; empty where there is no manifest.

    Raises:
        SceneError: A manifest of another format.
    """
    path = Path(root) / "manifest.json"
    if not path.exists():
        return {}
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if manifest.get("format") != FORMAT:
        raise SceneError(
            f"{path} has format {manifest.get('format')!r}, expected {FORMAT!r}; use another folder"
        )
    scenes_by_name: dict[str, dict[str, Any]] = manifest["scenes"]
    return scenes_by_name


def file_hashes(folder: Path | str) -> dict[str, str]:
    """Computes the SHA-256 of every file below a folder, by relative path."""
    folder = Path(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def _key(recipe: Mapping[str, Any], settings: SceneSettings) -> str:
    text = json.dumps([dict(recipe), asdict(settings)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write_manifest(root: Path, known: Mapping[str, Mapping[str, Any]]) -> None:
    ordered = {name: known[name] for name in sorted(known)}
    with replacing(root / "manifest.json") as path:
        path.write_text(json.dumps({"format": FORMAT, "scenes": ordered}, indent=1) + "\n", encoding="utf-8")
