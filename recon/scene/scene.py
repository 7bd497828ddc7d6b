"""Scenes: views with cameras, photographs and masks, and the ground truth where it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float, Integer

from recon.errors import SceneError
from recon.files import decoded
from recon.geometry.obj import read_obj
from recon.reading import read_bytes, reading, shortened
from recon.scene.pairing import files_in
from recon.scene.selection import spread
from recon.scene.view import View

MOST_DIGITS = 9
"""Digits of the index of a vertex."""
MASKS_REMEDY = "masks=auto makes the masks that are missing, masks=FOLDER takes yours"


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The scanned or generated surface of a scene; files are read on use.

    Attributes:
        mesh_path: Wavefront OBJ in world mm.
        landmarks_path: File with `name vertex_index` per line; it may be missing.
        regions_folder: Folder of `<region>.txt`, one vertex index per line; it may be missing.
    """

    mesh_path: Path
    landmarks_path: Path
    regions_folder: Path

    def mesh(self) -> trimesh.Trimesh:
        """The surface in world mm, vertices in file order; read once, so do not change it in place.

        Raises:
            MeshError: The file is missing or not a Wavefront OBJ.
        """
        return self._mesh

    @cached_property
    def _mesh(self) -> trimesh.Trimesh:
        return read_obj(self.mesh_path).mesh()

    @cached_property
    def landmarks(self) -> dict[str, int]:
        """Landmark name to vertex index, in file order; empty where the scene has no landmark file.

        Raises:
            SceneError: A line is not `name index`.
        """
        return read_landmarks(self.landmarks_path) if self.landmarks_path.is_file() else {}

    def region_path(self, name: str) -> Path:
        """Index file of a region, present or not."""
        return self._region_files.get(name, self.regions_folder / f"{name}.txt")

    def regions(self) -> list[str]:
        """Names of the regions that are present, sorted."""
        return sorted(self._region_files)

    @cached_property
    def _region_files(self) -> dict[str, Path]:
        return {path.stem: path for path in files_in(self.regions_folder, (".txt",), warn=False)}

    def region(self, name: str) -> Integer[np.ndarray, " indices"]:
        """Vertex indices (int64) of a region, in file order.

        Raises:
            SceneError: There is no such region, or its file holds something else than indices.
        """
        path = self.region_path(name)
        if not path.is_file():
            raise SceneError(
                f"region {name!r} of {self.mesh_path.parent} is missing: expected {path}; "
                f"present: {', '.join(self.regions()) or 'none'}"
            )
        return read_indices(path)


@dataclass(frozen=True)
class CameraSource:
    """The names under which a format stores cameras, for messages.

    Attributes:
        path: File with the cameras, or folder of such files.
        camera: Name of one camera in it, with `{index}` for the view's index.
        scale: Name of the similarity `Scene.scale_mat` in it.
    """

    path: Path
    camera: str
    scale: str


@dataclass(frozen=True, eq=False)
class Scene:
    """A subject with posed photographs.

    Attributes:
        name: The scene's id or folder name.
        root: The scene's folder.
        views: All views; `views[i].index == i`.
        scale_mat: (4, 4) similarity, world_from_unit: it takes the sphere of radius 1 to world mm.
        default_views: The data set's own view lists by number of views; order and repetitions are kept.
        ground_truth: The surface, or None.
        version: Data version of the set it belongs to, "" if it says none.
        camera_source: Where its reader found the cameras; None for a scene that is on no disk.
        body_ignored: Whether the body below the collar is among the ignored pixels, which are then many on purpose.
    """

    name: str
    root: Path
    views: tuple[View, ...]
    scale_mat: Float[np.ndarray, "4 4"]
    default_views: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    ground_truth: GroundTruth | None = None
    version: str = ""
    camera_source: CameraSource | None = None
    body_ignored: bool = False

    @property
    def unit_from_world(self) -> Float[np.ndarray, "4 4"]:
        """Inverse of `scale_mat`: world mm to the sphere of radius 1."""
        return np.linalg.inv(self.scale_mat)

    def available(self) -> list[int]:
        """Indices of the views whose image and mask exist; in a partial copy not all do."""
        return [view.index for view in self.views if view.available]

    def select(self, views: int | Sequence[Any]) -> list[int]:
        """View indices for a number of views or an explicit list.

        A number takes the data set's own default list for it where there is one (it may repeat a view, and
        once in H3DS it has one view more). Otherwise that many different views spread around the face, see
        `recon.scene.selection`.

        Raises:
            SceneError: More views are asked for than there are, an index is out of range, or one is named
                twice.
        """
        if not isinstance(views, (int, np.integer)):
            return self._checked(views)
        count = int(views)
        if count in self.default_views:
            return self._default(count)
        present = self.available()
        if count < 1:
            raise SceneError(f"expected a number of views of at least 1, got {count}")
        if count > len(present):
            lacking = len(self.views) - len(present)
            note = f" ({lacking} more lack their image or mask)" if lacking else ""
            if any(view.image_path.is_file() and not view.mask_path.is_file() for view in self.views):
                note += f"; {MASKS_REMEDY}"
            raise SceneError(f"{count} views asked for, but scene {self.name!r} has {len(present)}{note}")
        unit = self.unit_from_world
        cameras = [self.views[index].camera.transformed(unit) for index in present]
        return [present[position] for position in spread(cameras, count, self.front())]

    def front(self) -> Float[np.ndarray, " 3"] | None:
        """Direction in unit space from the middle of the head to where the face looks, or None if unknown.

        With landmarks it points from the mean of the others to nose_tip; else to the camera of the first
        view of the shortest default list, which in H3DS is the frontal one.

        Raises:
            MeshError: The scene has landmarks, but its mesh cannot be read.
        """
        truth = self.ground_truth
        if truth is not None and "nose_tip" in truth.landmarks and len(truth.landmarks) > 1:
            vertices = np.asarray(truth.mesh().vertices)
            others = [index for name, index in truth.landmarks.items() if name != "nose_tip"]
            nose = vertices[truth.landmarks["nose_tip"]] - vertices[others].mean(axis=0)
            return self.unit_from_world[:3, :3] @ nose
        if self.default_views:
            first = self.default_views[min(self.default_views)][0]
            if first < len(self.views) and self.views[first].image_path.is_file():
                return self.views[first].camera.transformed(self.unit_from_world).centre
        return None

    def _default(self, count: int) -> list[int]:
        """The data set's own list for a number of views."""
        indices = list(self.default_views[count])
        if beyond := [index for index in indices if index >= len(self.views)]:
            raise SceneError(
                f"the data set's list of {count} views names view {beyond[0]}, but scene {self.root} has the views "
                f"0..{len(self.views) - 1}: name the views yourself (views=[...])"
            )
        return indices

    def _checked(self, views: Sequence[Any]) -> list[int]:
        """The indices of an explicit list of views, after checks."""
        indices: list[int] = []
        count = len(self.views)
        for view in views:
            if isinstance(view, bool) or not isinstance(view, (int, np.integer)):
                raise SceneError(f"view {view!r} is not an index: views of {self.name!r} are 0..{count - 1}")
            if not 0 <= view < count:
                raise SceneError(
                    f"scene {self.name!r} has no view {view}: its {count} views are 0..{count - 1}"
                )
            if view in indices:
                raise SceneError(f"view {view} is named twice in {list(views)}: name each view once")
            indices.append(int(view))
        if not indices:
            raise SceneError("the list of views is empty: name at least one")
        return indices


def parse_views(text: str) -> int | list[int]:
    """The views that a command line names: `3` or `views=3` is a number, `[0,18,65]` or `0,18,65` a list.

    Raises:
        SceneError: It is neither.
    """
    value = text.removeprefix("views=").strip()
    try:
        if value.isdecimal():
            return int(value)
        return [int(part) for part in value.strip("[]").split(",") if part.strip()]
    except ValueError:
        raise SceneError(f"views: expected a number or a list such as [0,18,65], got {text!r}") from None


def read_landmarks(path: Path) -> dict[str, int]:
    """Read `name vertex_index` lines, keeping their order; blank lines are passed over.

    Raises:
        SceneError: The file cannot be read, or a line has another form.
    """
    landmarks: dict[str, int] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 2 or not parts[1].isdecimal() or len(parts[1]) > MOST_DIGITS:
            raise SceneError(
                f"{path}, line {number}: expected 'name vertex_index', got {shortened(line.strip(), 60)!r}"
            )
        landmarks[parts[0]] = int(parts[1])
    return landmarks


def read_indices(path: Path) -> Integer[np.ndarray, " indices"]:
    """Read one vertex index per line as int64; blank lines are passed over.

    Raises:
        SceneError: The file cannot be read, or holds something else.
    """
    with reading(path, SceneError, "a list of one vertex index per line"):
        indices = np.array(_text(path).split(), dtype=np.int64)
    if len(indices) and indices.min() < 0:
        raise SceneError(f"{path}: vertex index {indices.min()} is negative")
    return indices


def _text(path: Path) -> str:
    """The content of a text file."""
    with reading(path, SceneError, "text"):
        return decoded(read_bytes(path))
