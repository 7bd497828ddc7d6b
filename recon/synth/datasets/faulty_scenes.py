"""Faulty scenes on disk: the views that are used, with a fault, and the ground truth, in the H3DS layout."""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float

from recon.errors import SceneError
from recon.geometry.frames import transform
from recon.scene import Camera, Scene, h3ds
from recon.synth.datasets.faults import Fault, faulty_camera, faulty_mask, faulty_photograph, moved_world

RECORD = "fault.json"
"""In the scene's folder: what was done to which scene."""
FORMAT = "headrecon-faulty-scene-1"
JPEG_QUALITY = 98
MARGIN = 1.02
Relight = Callable[[Camera, Fault, int, int], Float[np.ndarray, "h w 3"]]
"""`recon.synth.datasets.relighting.RelitSubject.photograph`, or what stands for it."""


def write_faulty_scene(
    root: Path | str,
    scene: Scene,
    views: int | Sequence[int],
    fault: Fault,
    *,
    seed: int = 0,
    relight: Callable[[], Relight] | None = None,
) -> tuple[Path, bool]:
    """Writes a scene with a fault, or finds it where it was written before.

    The views are numbered anew and are the default list for their number. Ground truth, landmarks and regions go
    along; where the fault moves the world, so do cameras and ground truth, while the unit sphere stays and only
    grows where the head would stick out of it.

    Args:
        root: H3DS root; the scene's folder in it has the scene's name.
        scene: Scene without fault.
        views: Number or list, as in `Scene.select`.
        fault: The fault.
        seed: Seed of all draws, which differ between scenes of other names too.
        relight: Called, where the fault needs it, for the function that photographs the subject again.

    Returns:
        The folder, and whether it was written now.

    Raises:
        SceneError: A scene of this name with another fault, seed, views or source lies there; the source cannot be
            read; or the fault needs `relight` and there is none.
    """
    chosen = scene.select(views)
    folder = Path(root) / scene.name
    key = {
        "format": FORMAT,
        "fault": asdict(fault),
        "seed": seed,
        "views": chosen,
        "source_sha256": _digest(scene, chosen),
    }
    if _found(folder, key):
        return folder, False
    if fault.relit and relight is None:
        raise SceneError(f"{fault.shows}: takes a synthetic scene, whose subject can be photographed again")
    photograph = relight() if fault.relit and relight is not None else None
    own = zlib.crc32(f"{seed}-{scene.name}".encode())
    return _write(Path(root), scene, fault, own, key, photograph), True


def _write(
    root: Path, scene: Scene, fault: Fault, seed: int, key: dict[str, Any], photograph: Relight | None
) -> Path:
    """Writes the views that `key` names with the fault, and `key` with them."""
    chosen = key["views"]
    # The middle of the unit sphere: about the middle of the head.
    motion = moved_world(fault, scene.scale_mat[:3, 3], seed)
    record = {**key, "source": str(scene.root), "world_from_source": motion.tolist()}
    mesh = _moved_truth(scene, motion)
    truth = scene.ground_truth
    cameras = [faulty_camera(scene.views[view].camera, fault, seed, view) for view in chosen]
    return h3ds.write_scene(
        root,
        scene.name,
        images=_images(scene, chosen, fault, seed, photograph),
        masks=(faulty_mask(scene.views[view].mask(), fault, seed, view) for view in chosen),
        cameras=[camera.transformed(motion) for camera in cameras],
        scale_mat=scene.scale_mat
        if mesh is None
        else enclosing_sphere(scene.scale_mat, np.asarray(mesh.vertices)),
        mesh=mesh,
        landmarks=truth.landmarks if truth else None,
        regions={name: truth.region(name) for name in truth.regions()} if truth else None,
        default_views={len(chosen): range(len(chosen))},
        tags=("faulty",),
        jpeg_quality=JPEG_QUALITY,
        extras=lambda work: _write_record(work / RECORD, record),
    )


def enclosing_sphere(
    scale_mat: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "4 4"]:
    """Grows a scale_mat until its sphere, about the same centre, holds all points."""
    unit = np.linalg.norm((points - scale_mat[:3, 3]) @ np.linalg.inv(scale_mat[:3, :3]).T, axis=1).max()
    grown = scale_mat.copy()
    if unit > 1.0:
        grown[:3, :3] *= MARGIN * unit
    return grown


def _images(
    scene: Scene, views: Sequence[int], fault: Fault, seed: int, photograph: Relight | None
) -> Iterator[np.ndarray]:
    for index in views:
        view = scene.views[index]
        image = view.image() if photograph is None else photograph(view.camera, fault, seed, index)
        yield faulty_photograph(image, fault, seed, index)


def _moved_truth(scene: Scene, motion: np.ndarray) -> trimesh.Trimesh | None:
    if scene.ground_truth is None:
        return None
    mesh = scene.ground_truth.mesh()
    return trimesh.Trimesh(transform(motion, np.asarray(mesh.vertices)), mesh.faces, process=False)


def _found(folder: Path, key: dict[str, Any]) -> bool:
    """Whether this very scene lies in a folder; nothing else may."""
    if not folder.exists():
        return False
    try:
        there = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        there = {}
    wanted = json.loads(json.dumps(key))
    if differing := [name for name in wanted if there.get(name) != wanted[name]]:
        raise SceneError(
            f"{folder} is a scene of another {', '.join(differing)}: use another folder, or remove that one to "
            "have it made again"
        )
    return True


def _digest(scene: Scene, views: Sequence[int]) -> str:
    """SHA-256 of the files of a scene that go into a faulty one."""
    paths = [scene.camera_source.path] if scene.camera_source is not None else []
    paths += [path for view in views for path in (scene.views[view].image_path, scene.views[view].mask_path)]
    if scene.ground_truth is not None:
        paths.append(scene.ground_truth.mesh_path)
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise SceneError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def _write_record(path: Path, record: dict[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
