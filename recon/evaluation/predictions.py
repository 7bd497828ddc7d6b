"""Predictions: made ready to be scored, found on disk, and read."""

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float

from recon.errors import EvaluationError, MeshError
from recon.evaluation.checks import check_mesh
from recon.geometry.nearest import PointSet
from recon.geometry.obj import load_in_order
from recon.geometry.surface import Surface
from recon.reading import integer, numbers, read_json, reading, shortened, table, text

log = logging.getLogger(__name__)

Landmarks = Mapping[str, "int | np.integer | Float[np.ndarray, '3']"]
_SUFFIXES = (".ply", ".obj", ".stl", ".glb")


class Prediction:
    """A checked prediction with its search trees, which several scores can share.

    Args:
        mesh: World frame of the scene, mm. It is not changed.
        landmarks: Vertex index or xyz (mm) of each landmark, by name, or None.
        name: Name in messages.

    Raises:
        EvaluationError: The mesh cannot be scored, or a landmark is not on it.
    """

    def __init__(
        self, mesh: trimesh.Trimesh, *, landmarks: Landmarks | None = None, name: str = "prediction"
    ) -> None:
        check_mesh(mesh, name)
        self.mesh, self.name = mesh, name
        self.points = PointSet(np.asarray(mesh.vertices, np.float64))
        self.landmarks = None if landmarks is None else _places(landmarks, self.points.points, name)

    @cached_property
    def surface(self) -> Surface:
        """For exact distances; strict mode only."""
        return Surface(self.mesh)


def project_landmarks(
    places: Mapping[str, Float[np.ndarray, "3"]], mesh: trimesh.Trimesh
) -> dict[str, Float[np.ndarray, "3"]]:
    """Finds landmarks on a mesh from rough places, such as a prior's: the nearest points of its surface.

    Args:
        places: Name to xyz, in the frame and unit of the mesh.
        mesh: Where the landmarks shall lie.

    Returns:
        Name to xyz on the surface, for `Prediction`.

    Raises:
        EvaluationError: The mesh has no surface, or a place is not three finite numbers.
    """
    check_mesh(mesh, "mesh")
    found = _places(places, np.asarray(mesh.vertices, np.float64), "mesh")
    nearest = Surface(mesh).closest(np.array(list(found.values())).reshape(-1, 3))
    return dict(zip(found, nearest.points, strict=True))


@dataclass(frozen=True)
class Job:
    """A mesh on disk that is to be scored.

    Attributes:
        method: Row of the table.
        scene: Name of the ground truth.
        views: Number of photographs that it was made from; column of the table.
        path: File of the mesh.
    """

    method: str
    scene: str
    views: int
    path: Path


def find(
    path: Path | str,
    *,
    method: str | None = None,
    scene: str | None = None,
    views: Collection[int] | None = None,
) -> list[Job]:
    """Finds the meshes to score.

    Args:
        path: A mesh named `<scene>_<views>.ply` (also .obj, .stl, .glb), a folder of such meshes, a run
            folder (`mesh.ply` beside `metrics.json`), or a folder with run folders at any depth.
        method: Row for meshes that are not from run folders; the folder's name without it.
        scene: Scene of a mesh whose name does not say it.
        views: Numbers of views to keep; all without it.

    Returns:
        By method, scene and views. Of several runs of the same three the latest counts, and the log says so.

    Raises:
        EvaluationError: Nothing is there, or a mesh's name or metrics.json does not say what it is.
    """
    path = Path(path).expanduser()
    if path.is_file():
        beside = path.with_name("metrics.json")
        run = path.stem == "mesh" and beside.is_file()
        jobs = [
            _of_run(path.parent)
            if run
            else _of_name(path, method or path.parent.resolve().name, scene, views)
        ]
    elif path.is_dir():
        runs = sorted(
            file.parent for file in path.rglob("metrics.json") if (file.parent / "mesh.ply").is_file()
        )
        meshes = sorted(file for file in path.iterdir() if _is_mesh(file))
        if path in runs:
            meshes = []
        jobs = [_of_run(folder) for folder in runs]
        jobs += [_of_name(mesh, method or path.resolve().name, scene, views) for mesh in meshes]
    else:
        raise EvaluationError(f"pred={path}: there is no such file or folder")
    if not jobs:
        raise EvaluationError(
            f"pred={path}: nothing to score. Expected <scene>_<views>.ply files, "
            "or run folders with mesh.ply and metrics.json"
        )
    kept: dict[tuple[str, str, int], Job] = {}
    for job in jobs:
        key = (job.method, job.scene, job.views)
        if key in kept:
            log.warning("%s replaces %s: same method, scene and number of views", job.path, kept[key].path)
        kept[key] = job
    wanted = [job for job in kept.values() if views is None or job.views in views]
    if not wanted:
        raise EvaluationError(
            f"pred={path}: nothing with {sorted(views or [])} views; "
            f"there are {sorted({job.views for job in jobs})}"
        )
    return sorted(wanted, key=lambda job: (job.method, job.scene, job.views))


def _is_mesh(file: Path) -> bool:
    """Whether a file has the ending of a mesh, and is not hidden, as the `._` files of Macs are."""
    return file.suffix.lower() in _SUFFIXES and not file.name.startswith(".")


def read_mesh(path: Path) -> trimesh.Trimesh:
    """Reads a prediction as it is: no vertex merged, moved or reordered.

    Raises:
        EvaluationError: The file cannot be read, or holds no single mesh.
    """
    try:
        with reading(path, EvaluationError, "a mesh"):
            loaded = load_in_order(path)
            if isinstance(loaded, trimesh.Scene):
                loaded = loaded.to_mesh()
    except MeshError as error:
        raise EvaluationError(str(error)) from error
    if not isinstance(loaded, trimesh.Trimesh):
        raise EvaluationError(f"{path}: holds a {type(loaded).__name__}, not a mesh with faces")
    return loaded


def read_landmarks(path: Path) -> dict[str, int | np.ndarray] | None:
    """Reads the landmarks beside a mesh, `<mesh>.landmarks.json`: name to vertex index or [x, y, z] in mm; or None.

    Raises:
        EvaluationError: The file holds something else, or names vertices of a format that has none in an order.
    """
    file = path.with_suffix(".landmarks.json")
    if not file.is_file():
        return None
    with reading(file, EvaluationError, "landmarks, {name: vertex index or [x, y, z]}"):
        found = {
            name: integer(value, name)
            if isinstance(value, int)
            else numbers(value, (3,), shortened(name, 60))
            for name, value in table(read_json(file)).items()
        }
    if any(isinstance(value, int) for value in found.values()):
        _check_counted(path, file)
    return found


def _check_counted(path: Path, file: Path) -> None:
    """Refuses landmarks by vertex index for a mesh whose file has no order of vertices.

    Raises:
        EvaluationError: It is an STL, or a GLB of several parts.
    """
    why = ""
    if path.suffix.lower() == ".stl":
        why = "is an STL, which holds triangles without vertices that could be counted"
    elif path.suffix.lower() == ".glb":
        with reading(path, EvaluationError, "a mesh"):
            if (count := len(load_in_order(path).geometry)) != 1:
                why = f"holds {count} meshes, whose vertices are not counted in one order"
    if why:
        raise EvaluationError(
            f"{file} names landmarks by vertex index, but {path.name} {why}: give each landmark as [x, y, z] in mm"
        )


def _of_name(path: Path, method: str, scene: str | None, views: Collection[int] | None) -> Job:
    match = re.fullmatch(r"(.+)_(\d+)", path.stem)
    if match:
        return Job(method, match[1], int(match[2]), path)
    if scene is not None and views is not None and len(views) == 1:
        return Job(method, scene, next(iter(views)), path)
    raise EvaluationError(
        f"{path}: the name must be <scene>_<views>{path.suffix}, for instance 1b2a8613401e42a8_3.ply; "
        "or name them for a single mesh: scene=NAME views=NUMBER"
    )


def _of_run(folder: Path) -> Job:
    path = folder / "metrics.json"
    with reading(path, EvaluationError, "the metrics of a run"):
        metrics = table(read_json(path))
        views, method, scene = metrics["views"], metrics["method"], metrics["scene"]
        count = len(views) if isinstance(views, list) else integer(views, "views")
        return Job(text(method, "method"), Path(text(scene, "scene")).name, count, folder / "mesh.ply")


def _places(
    landmarks: Landmarks, vertices: Float[np.ndarray, "vertices 3"], name: str
) -> dict[str, Float[np.ndarray, "3"]]:
    places = {}
    for key, value in landmarks.items():
        if isinstance(value, int | np.integer):
            if not 0 <= value < len(vertices):
                raise EvaluationError(
                    f"{name}: landmark '{key}' is vertex {value}, but they are 0 to {len(vertices) - 1}"
                )
            places[key] = vertices[int(value)]
            continue
        place = np.asarray(value, float)
        if place.shape != (3,) or not np.isfinite(place).all():
            raise EvaluationError(
                f"{name}: landmark '{key}' must be a vertex index or three finite numbers, not {value}"
            )
        places[key] = place
    return places
