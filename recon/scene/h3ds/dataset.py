"""The published interface of H3DS, for code that was written for it: only the import changes."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer
from PIL import Image

from recon.errors import SceneError
from recon.reading import open_picture, reading
from recon.scene.camera import Camera
from recon.scene.cameras_npz import CameraFile
from recon.scene.h3ds.helper import H3DSHelper, MissingFileError, UnknownIdError, load_config, present_file
from recon.scene.h3ds.layout import REGIONS
from recon.scene.h3ds.mesh import Mesh
from recon.scene.h3ds.scoring import Scorer
from recon.scene.scene import read_indices, read_landmarks

log = logging.getLogger(__name__)


class H3DS:
    """Access to a copy of H3DS, or to a generated data set like it, with the methods of `h3ds.dataset.H3DS`.

    Names, arguments, return types and orders are those of the published package 0.4.0. Scenes that are on
    disk can be loaded from a partial copy. These faults of the published package are corrected:

    * `load_region` and `evaluate_scene` work with every NumPy (it uses `np.int`, gone since 1.24).
    * Importing it leaves the process's logging alone, and no log message raises an exception.
    * OBJ files: comments cannot add phantom vertices, negative indices and polygons are read right, tabs and
      any number of normals are taken, `.OBJ` is an OBJ.
    * `load_landmarks` passes over blank lines.
    * `load_cameras` gives positive focal lengths and a rotation for a projection matrix of either sign,
      decomposes in float64 and needs no OpenCV.
    * `load_images` and `load_masks` decode only the views that are asked for.
    * View lists can be named "3" or 3; `scenes("h3d-net")` takes a single tag as it is.
    * Unknown scenes, lists, tags, regions and releases say what there is instead; they remain KeyErrors, and
      missing files FileNotFoundErrors.
    * `evaluate_scene` needs landmarks on disk only when predicted landmarks are passed, takes points as well
      as vertex indices, keeps ground truths between calls, and refuses predictions that cannot be scored.
    * `Mesh.cut` takes boolean masks and may keep no face; `Mesh.save` takes a bare file name.
    * `download` checks the hash before unpacking, unpacks safely and as a whole, and can be resumed.

    Args:
        path: Root of the data set; `~` is expanded.
        config_path: A toml that describes it. Without one, the root's own `config.toml` counts (generated
            data sets have it), else the built-in table `config_id`.
        config_id: `config_v2` (data version 0.4, 59 scenes) or `config_v1` (0.2, 23 scenes).

    Raises:
        SceneError: The description is missing or broken, or the release is not known.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        config_path: str | os.PathLike[str] | None = None,
        config_id: str = "config_v2",
    ) -> None:
        self.path = os.path.expanduser(os.fspath(path))
        self.config_path = None if config_path is None else os.fspath(config_path)
        self._config = load_config(self.path, config_id, self.config_path)
        self.helper = H3DSHelper(self.path, self._config)
        self._scorer = Scorer(self.helper)
        if not self.is_available():
            log.warning(
                "H3DS %s is not complete at %s: call download(token), or use the scenes that are there (%d "
                "of %d)",
                self.helper.version_config(),
                self.path,
                len(self.present()),
                len(self.scenes()),
            )

    def download(self, token: str, force: bool = False) -> None:
        """Download and unpack the data set unless it is complete.

        Args:
            token: Access token of this version, from the form on the data set's page.
            force: Download and replace what is there.

        Raises:
            SceneError: gdown is missing, the download failed, its hash is wrong, the token is wrong, or the
                disk is full; nothing half unpacked is left, and the message says what to do.
        """
        from recon.scene.h3ds.download import download

        if self.is_available() and not force:
            log.info(
                "H3DS %s is complete at %s: nothing to download", self.helper.version_config(), self.path
            )
            return
        download(self._config, Path(self.path), token)
        self._scorer = Scorer(self.helper)

    def is_available(self) -> bool:
        """Whether the copy has the right version and every mesh, image, mask and camera file."""
        same_version = self.helper.version_config() == self.helper.version_dataset()
        return same_version and all(map(self._complete, self.scenes()))

    def present(self) -> list[str]:
        """Scenes of which this copy has mesh, images, masks and cameras (not in the published class)."""
        return [name for name in self.scenes() if self._complete(name)]

    def _complete(self, scene_id: str) -> bool:
        mesh = self.helper.scene_mesh(scene_id)
        return os.path.exists(mesh) and all(map(os.path.exists, self.helper.scene_files(scene_id)))

    def scenes(self, tags: Collection[str] | str = frozenset()) -> list[str]:
        """Scene ids in published order, on disk or not; with tags, those that carry all of them.

        Raises:
            UnknownIdError: No scene carries such a tag.
        """
        return self.helper.scenes(tags)

    def regions(self) -> list[str]:
        """Names of the regions of each scene."""
        return list(REGIONS)

    def default_views_configs(self, scene_id: str) -> list[str]:
        """Names of the default view lists of a scene, such as "3".

        Raises:
            UnknownIdError: There is no such scene.
        """
        return self.helper.default_views_configs(scene_id)

    def load_scene(
        self, scene_id: str, views_config_id: str | int | None = None, normalized: bool = False
    ) -> tuple[Mesh, list[Image.Image], list[Image.Image], list[tuple[np.ndarray, np.ndarray]]]:
        """Mesh, images, masks and cameras of a scene, see the methods for each."""
        return (
            self.load_mesh(scene_id, normalized),
            self.load_images(scene_id, views_config_id),
            self.load_masks(scene_id, views_config_id),
            self.load_cameras(scene_id, views_config_id, normalized),
        )

    def load_mesh(self, scene_id: str, normalized: bool = False) -> Mesh:
        """Ground truth in mm, or in the unit sphere; vertices in file order.

        Raises:
            UnknownIdError: There is no such scene.
            MissingFileError: This copy lacks the mesh.
            MeshError: The file is broken.
        """
        mesh = Mesh().load(present_file(self.helper.scene_mesh(scene_id)))
        if normalized:
            matrix = self.load_normalization_matrix(scene_id).astype(np.float64)
            mesh.vertices = mesh.vertices @ matrix[:3, :3].T + matrix[:3, 3]
        return mesh

    def load_images(self, scene_id: str, views_config_id: str | int | None = None) -> list[Image.Image]:
        """Photographs of a default list in its order (a view may come twice), or of all views; fully decoded.

        Raises:
            UnknownIdError: There is no such scene or list.
            MissingFileError: This copy lacks an image.
            SceneError: A file is not an image.
        """
        files = self.helper.scene_images(scene_id)
        return [self._picture(files[index]) for index in self.helper.views(scene_id, views_config_id)]

    def load_masks(self, scene_id: str, views_config_id: str | int | None = None) -> list[Image.Image]:
        """Masks in the mode that they are stored in; otherwise as `load_images`."""
        files = self.helper.scene_masks(scene_id)
        return [self._picture(files[index]) for index in self.helper.views(scene_id, views_config_id)]

    def load_cameras(
        self, scene_id: str, views_config_id: str | int | None = None, normalized: bool = False
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Cameras of a default list in its order, or of all views.

        Args:
            scene_id: The scene.
            views_config_id: Name of a default list.
            normalized: World is the unit sphere instead of mm.

        Returns:
            For each view (K, pose): K (3, 3) float64 in pixels, the centre of the first pixel at 0 as
            published; pose (4, 4) float32, world_from_camera, OpenCV axes.

        Raises:
            UnknownIdError: There is no such scene or list.
            MissingFileError: This copy lacks `cameras.npz`.
            SceneError: A matrix is missing or unusable.
        """
        file = CameraFile(Path(present_file(self.helper.scene_cameras(scene_id))))
        cameras = []
        for index in self.helper.views(scene_id, views_config_id):
            try:
                # Published callers expect the file's own pixel coordinates, so the convention is left as it
                # is; K and the pose do not depend on the size.
                camera = Camera.from_projection(file.world_mat(index), 1, 1, pixel_centre=0.5)
            except SceneError as error:
                raise SceneError(f"{file.path}: world_mat_{index}: {error}") from error
            if normalized:
                camera = camera.transformed(self.load_normalization_matrix(scene_id).astype(np.float64))
            cameras.append((camera.intrinsics.copy(), camera.world_from_camera.astype(np.float32)))
        return cameras

    def load_landmarks(self, scene_id: str) -> dict[str, int]:
        """Landmark name to vertex index of the mesh, in file order.

        Raises:
            UnknownIdError: There is no such scene.
            MissingFileError: This copy lacks the landmarks.
            SceneError: A line has another form.
        """
        return read_landmarks(Path(present_file(self.helper.scene_landmarks(scene_id))))

    def load_region(self, scene_id: str, region_id: str) -> Integer[np.ndarray, " indices"]:
        """Vertex indices of `face` (with ears and neck), `face_sphere` (95 mm around the nose tip) or `nose`.

        Raises:
            UnknownIdError: There is no such scene.
            MissingFileError: This copy lacks the region, or the data set does not know it.
        """
        return read_indices(Path(present_file(self.helper.scene_region(scene_id, region_id))))

    def load_normalization_matrix(self, scene_id: str) -> Float[np.ndarray, "4 4"]:
        """Similarity from world mm to the unit sphere, (4, 4) float32.

        Raises:
            UnknownIdError: There is no such scene.
            MissingFileError: This copy lacks `cameras.npz`.
            SceneError: `scale_mat_0` is missing or not a similarity.
        """
        file = CameraFile(Path(present_file(self.helper.scene_cameras(scene_id))))
        return np.linalg.inv(file.scale_mat()).astype(np.float32)

    def evaluate_scene(
        self,
        scene_id: str,
        mesh_pred: Any,
        landmarks_pred: Mapping[str, Any] | None = None,
        region_id: str | None = None,
    ) -> tuple[np.ndarray, np.ndarray, Mesh, Any]:
        """Score a prediction by the official protocol (see `recon.evaluation`).

        Args:
            scene_id: The scene.
            mesh_pred: Prediction in world mm, anything with `vertices` (n, 3) and `faces` (m, 3), such as `Mesh` or a
                trimesh; it is not changed.
            landmarks_pred: Vertex index (or xyz) of every landmark on the prediction, for a coarse
                alignment; without them the prediction is taken as placed.
            region_id: Score this region only; None scores the whole head.

        Returns:
            Distances (n,) in mm from each (kept) vertex of the ground truth to the nearest predicted vertex;
            distances (m,) the other way; the ground truth (cut to the region); the aligned prediction, in
            the class that came in.

        Raises:
            UnknownIdError: There is no such scene.
            MissingFileError: This copy lacks the mesh, the region, or the landmarks if predicted ones are
                given.
            EvaluationError: The prediction cannot be scored.
        """
        return self._scorer.evaluate(scene_id, mesh_pred, landmarks_pred, region_id)

    def _picture(self, file: str) -> Image.Image:
        """A fully decoded image in its stored mode."""
        with (
            reading(f"image {present_file(file)}", SceneError, "an image", "replace the file"),
            open_picture(file) as image,
        ):
            image.load()
            return image


__all__ = ["H3DS", "Mesh", "MissingFileError", "UnknownIdError"]
