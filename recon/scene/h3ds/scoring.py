"""`H3DS.evaluate_scene`: the official protocol of `recon.evaluation` behind the published arguments."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from recon.errors import MeshError
from recon.scene.h3ds.helper import H3DSHelper, present_file
from recon.scene.h3ds.mesh import Mesh
from recon.scene.scene import GroundTruth, read_indices

# Ground truths kept ready for further calls: one of H3DS weighs some tens of megabytes.
KEPT = 4


class Scorer:
    """Evaluates predictions against the scenes of a data set and keeps the last ground truths.

    Args:
        helper: Where the files lie.
    """

    def __init__(self, helper: H3DSHelper) -> None:
        self.helper = helper
        self._evaluators: dict[str, Any] = {}

    def evaluate(
        self,
        scene_id: str,
        mesh_pred: Any,
        landmarks_pred: Mapping[str, Any] | None,
        region_id: str | None,
    ) -> tuple[np.ndarray, np.ndarray, Mesh, Any]:
        """See `H3DS.evaluate_scene`."""
        if landmarks_pred is not None:
            present_file(self.helper.scene_landmarks(scene_id))
        region = read_indices(Path(present_file(self.helper.scene_region(scene_id, region_id or "face"))))
        evaluator = self._evaluator(scene_id)
        prediction = _surface(mesh_pred)
        result = evaluator.evaluate(prediction, region=region_id, landmarks=landmarks_pred).result
        aligned = copy.deepcopy(mesh_pred)
        aligned.vertices = result.aligned.copy()
        truth = Mesh().load(self.helper.scene_mesh(scene_id))
        kept = truth if region_id is None else truth.cut(region)
        return result.distances_gt, result.distances_pred, kept, aligned

    def _evaluator(self, scene_id: str) -> Any:
        """The scene's `recon.evaluation.Evaluator`, kept for the next call."""
        # Imported here: readers of scenes need no evaluator.
        from recon.evaluation import Evaluator

        if scene_id not in self._evaluators:
            paths = self.helper.paths(scene_id)
            present_file(str(paths.mesh))
            while len(self._evaluators) >= KEPT:
                del self._evaluators[next(iter(self._evaluators))]
            truth = GroundTruth(paths.mesh, paths.landmarks, paths.regions)
            self._evaluators[scene_id] = Evaluator(truth, name=f"H3DS scene {scene_id}")
        return self._evaluators[scene_id]


def _surface(mesh: Any) -> trimesh.Trimesh:
    """Vertices and faces of a mesh of any class.

    Raises:
        MeshError: It has none.
    """
    try:
        vertices, faces = np.array(mesh.vertices, np.float64), np.array(mesh.faces)
    except (AttributeError, TypeError, ValueError) as error:
        raise MeshError(
            f"the prediction is a {type(mesh).__name__}, expected anything with arrays vertices (n, 3) and faces (m, 3)"
        ) from error
    whole = faces.dtype.kind in "iu" or not faces.size
    if (
        vertices.ndim != 2
        or vertices.shape[1:] != (3,)
        or faces.ndim != 2
        or faces.shape[1:] != (3,)
        or not whole
    ):
        raise MeshError(
            f"the prediction has vertices {vertices.shape} and faces {faces.shape} of {faces.dtype}, expected (n, 3) "
            "and whole numbers (m, 3)"
        )
    return trimesh.Trimesh(vertices, faces.astype(np.int64), process=False)
