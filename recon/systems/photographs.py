"""Plain photographs, without cameras and masks, become a scene: what the stage observe does for them."""

import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from recon import scene as scenes
from recon.calibration import SHEET, CalibratedScene, is_calibrated, scene_from_photographs
from recon.errors import SceneError
from recon.perception import Perception, photographs_in, read_photograph
from recon.perception.photograph import EXTENSIONS
from recon.priors import load_shape_prior
from recon.priors.shipped import hash_of, shipped
from recon.scene import Scene
from recon.scene.readers import READERS
from recon.systems.config import build

log = logging.getLogger(__name__)


def plain_photographs(cfg: DictConfig) -> list[Path]:
    """The photographs that `scene=` names where it names no scene: one file, or a folder of nothing but photographs.

    Returns:
        Paths in natural order; empty where `scene=` is something else.

    Raises:
        SceneError: Two photographs of the folder have the same stem.
    """
    path = Path(str(cfg.scenes.get(str(cfg.scene), cfg.scene))).expanduser()
    if path.is_file() and path.suffix.lower() in EXTENSIONS:
        return [path]
    if not path.is_dir() or not _holds_photographs_alone(path):
        return []
    found = photographs_in(path)
    for unused, reason in found.unused.items():
        log.warning("%s is not used: %s", unused, reason)
    return list(found.photographs)


def _holds_photographs_alone(folder: Path) -> bool:
    """Whether a folder holds photographs and nothing by which a format of scenes is known; a scene of which a part is
    missing is no folder of photographs, and opening it says what is missing.
    """
    files = [pattern for reader in READERS for pattern in reader.looked_for if not pattern.endswith("/")]
    return any(path.suffix.lower() in EXTENSIONS for path in folder.iterdir()) and not any(
        any(folder.glob(pattern)) for pattern in files
    )


def calibrated_scene(cfg: DictConfig, photographs: list[Path], folder: Path) -> Scene:
    """A scene made of plain photographs, with the cameras and masks that were found, in the run folder.

    A resumed run opens the one that its start has made.

    Args:
        cfg: Options as for `calibrate`.
        photographs: Paths of photographs of one person.
        folder: Of the run.

    Raises:
        SceneError: A photograph cannot be read, or none shows a face from before.
        PerceptionError: The networks cannot be had.
    """
    out = folder / "scene" / "photographs"
    if cfg.resume is not None and out.is_dir():
        return scenes.open(out)
    # What a run that was stopped before its training left behind is replaced.
    calibrated = calibrate(cfg, photographs, out, overwrite=True)
    log.info("cameras and masks are estimates: look at %s", out / SHEET)
    return calibrated.scene


def calibrate(cfg: DictConfig, photographs: Sequence[Path], out: Path, *, overwrite: bool) -> CalibratedScene:
    """Makes a scene of plain photographs.

    Args:
        cfg: `person`, `masks`, `focal_mm` and `interpupillary_mm` are options of it, `perception` the networks.
        photographs: Paths of photographs of one person.
        out: Folder of the scene.
        overwrite: Replace a scene that is there.

    Raises:
        SceneError: A photograph cannot be read, none shows a face from before, or the scene exists.
        PerceptionError: The networks cannot be had.
    """
    if is_calibrated(out) and not overwrite:
        raise SceneError(f"{out} holds a scene already: overwrite=true replaces it")
    perception: Perception = build(cfg.perception)
    seen = perception.see_all(
        [read_photograph(path) for path in photographs], int(cfg.person), str(cfg.masks)
    )
    for found in seen:
        for warning in found.warnings:
            log.warning("%s", warning.message)
    path = shipped("pca-synth-v1.safetensors")
    return scene_from_photographs(
        seen,
        out,
        load_shape_prior(path, hash_of(path)),
        focal_mm=cfg.focal_mm,
        interpupillary_mm=cfg.interpupillary_mm,
        overwrite=overwrite,
    )
