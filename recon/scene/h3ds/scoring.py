"""`H3DS.evaluate_scene`: the official protocol of `recon.evaluation` behind the published arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

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
        mesh_pred: Mesh | trimesh.Trimesh,
        landmarks_pred: Mapping[str, Any] | None,
        region_id: str | None,
    ) -> tuple[np.ndarray, np.ndarray, Mesh, Mesh | trimesh.Trimesh]:
        """See `H3DS.evaluate_scene`."""
        if landmarks_pred is not None:
            present_file(self.helper.scene_landmarks(scene_id))
        region = read_indices(Path(present_file(self.helper.scene_region(scene_id, region_id or "face"))))
        evaluator = self._evaluator(scene_id)
        prediction = mesh_pred.to_trimesh() if isinstance(mesh_pred, Mesh) else mesh_pred
        result = evaluator.evaluate(prediction, region=region_id, landmarks=landmarks_pred).result
        aligned = mesh_pred.copy()
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
