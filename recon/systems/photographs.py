"""What perception adds to photographs: a scene where there are neither cameras nor masks, and the masks that a scene
with cameras lacks.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from omegaconf import DictConfig
from PIL import Image

from recon import scene as scenes
from recon.calibration import SHEET, CalibratedScene, is_calibrated, say_warnings, scene_from_photographs
from recon.errors import SceneError
from recon.files import replacing, save_picture
from recon.perception import (
    Perception,
    PhotographObservation,
    mask_paths,
    photographs_in,
    read_photograph,
)
from recon.perception.masks import ALPHA, AUTO
from recon.perception.photograph import EXTENSIONS
from recon.priors import load_shape_prior
from recon.priors.shipped import PCA, hash_of, shipped
from recon.scene import Scene
from recon.scene.carving import hits_sphere
from recon.scene.images import upright
from recon.scene.readers import READERS
from recon.scene.view import View
from recon.systems.config import build
from recon.systems.resolvers import scene_name

log = logging.getLogger(__name__)

BACK_AGAIN = {6: 8, 8: 6}
"""EXIF orientations that undo others; all but these undo themselves."""


def plain_photographs(cfg: DictConfig) -> list[Path]:
    """The photographs that `scene=` names where it names no scene: one file, or a folder of nothing but photographs.

    Returns:
        Paths in natural order; empty where `scene=` is something else.

    Raises:
        SceneError: Two photographs of the folder have the same stem.
    """
    path = Path(str(cfg.scenes.get(str(cfg.scene), cfg.scene)))
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
    out = folder / "scene" / scene_name(str(cfg.scene))
    if cfg.resume is not None:
        for made in (out, folder / "scene" / "photographs"):  # the name that every one had before
            if made.is_dir():
                say_warnings(made)
                return scenes.open(made)
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
    perception: Perception = build(cfg.perception, kind="perception")
    seen = perception.see_all(
        [read_photograph(path) for path in photographs], int(cfg.person), str(cfg.masks or AUTO)
    )
    path = shipped(PCA)
    calibrated = scene_from_photographs(
        seen,
        out,
        load_shape_prior(path, hash_of(path)),
        focal_mm=cfg.focal_mm,
        interpupillary_mm=cfg.interpupillary_mm,
        overwrite=overwrite,
    )
    say_warnings(calibrated.scene.root)
    return calibrated


def maskable(cfg: DictConfig, scene: Scene) -> Scene:
    """The scene as views are chosen from it: with `masks=`, every view that has a photograph can be chosen."""
    if cfg.masks is None:
        return scene
    return replace(
        scene,
        views=tuple(
            view if view.mask_path.is_file() else view.with_mask(view.image_path) for view in scene.views
        ),
    )


def with_masks(cfg: DictConfig, scene: Scene, views: Sequence[int], folder: Path) -> Scene:
    """The scene with masks for the views that lack one, which are written into the run folder; masks that are there
    stay, and without `masks=` nothing is done.

    Args:
        cfg: `masks`, `person` and `perception` are options of it.
        scene: In any layout.
        views: Those to be used.
        folder: Of the run.

    Raises:
        SceneError: There is no such folder of masks, or a mask or a photograph cannot be read.
        PerceptionError: The networks cannot be had.
    """
    if cfg.masks is None:
        return scene
    masks, given = str(cfg.masks), dict[Path, Path]()
    if masks not in (AUTO, ALPHA):
        given, masks = mask_paths(Path(masks), [view.image_path for view in scene.views]), AUTO
    scene = replace(scene, views=tuple(_with_given(view, given) for view in scene.views))
    missing = [index for index in views if _lacks_mask(scene.views[index])]
    if not missing:
        return scene
    out = folder / "scene" / "masks"
    made = {index: _paths(out, scene.views[index]) for index in missing}
    if cfg.resume is None or not all(path.is_file() for pair in made.values() for path in pair):
        perception: Perception = build(cfg.perception, kind="perception")
        for index in missing:
            photograph = read_photograph(scene.views[index].image_path)
            _write(scene, index, perception.see(photograph, int(cfg.person), masks), *made[index])
    log.info(
        "masks of views %s are made by masks=%s, with what is below the collar ignored: look at %s",
        missing,
        cfg.masks,
        out,
    )
    return replace(
        scene,
        views=tuple(
            view.with_mask(*made[view.index]) if view.index in made else view for view in scene.views
        ),
        body_ignored=True,
    )


def _with_given(view: View, given: Mapping[Path, Path]) -> View:
    """The view with the mask of the user's folder, where that has one."""
    return view.with_mask(given[view.image_path]) if view.image_path in given else view


def _lacks_mask(view: View) -> bool:
    return view.image_path.is_file() and not view.mask_path.is_file()


def _paths(folder: Path, view: View) -> tuple[Path, Path]:
    """Files of a mask and of its ignored pixels."""
    return folder / "mask" / f"{view.name}.png", folder / "ignore" / f"{view.name}.png"


def _write(scene: Scene, index: int, seen: PhotographObservation, mask: Path, ignore: Path) -> None:
    """Writes what perception sees in a photograph, in the pixels of the file as it is stored."""
    view = scene.views[index]
    for warning in seen.warnings:
        log.warning("%s", warning.message)
    ignored = _as_stored(seen, seen.mask.ignore)
    if view.ignore_path is not None:
        ignored |= view.ignored()
    if (
        seen.face is None
    ):  # nothing tells where the collar is: what is beyond the scene's sphere does not count
        ignored |= _beyond_sphere(scene, view)
    for path, pixels in ((mask, _as_stored(seen, seen.mask.mask)), (ignore, ignored)):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save_picture(Image.fromarray(pixels.astype(np.uint8) * 255), temporary, optimize=True)


def _as_stored(
    seen: PhotographObservation, pixels: Bool[np.ndarray, "height width"]
) -> Bool[np.ndarray, "rows columns"]:
    """Pixels of the working picture as pixels of the file: at its size, and not turned upright."""
    photograph = seen.photograph
    picture = Image.fromarray(pixels.astype(np.uint8) * 255)
    if picture.size != photograph.original_size:
        picture = picture.resize(photograph.original_size, Image.Resampling.BILINEAR)
    return upright(np.asarray(picture), BACK_AGAIN.get(photograph.orientation, photograph.orientation)) > 127


def _beyond_sphere(scene: Scene, view: View) -> Bool[np.ndarray, "height width"]:
    """Pixels whose rays miss the scene's unit sphere."""
    camera = view.camera.transformed(scene.unit_from_world)
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    hits = hits_sphere(camera, np.stack([columns.ravel(), rows.ravel()], axis=1))
    return ~hits.reshape(camera.height, camera.width)
