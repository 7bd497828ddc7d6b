"""Checks of meshes before they are scored: an error, or a warning where the number still means something."""

import logging

import numpy as np
import trimesh
from jaxtyping import Float

from recon.errors import EvaluationError

log = logging.getLogger(__name__)

_WRONG_UNIT = 20.0  # no head is this much larger or smaller than another
_SUSPICIOUS = 2.0


def check_mesh(mesh: object, name: str) -> None:
    """Refuses meshes that cannot be measured.

    Args:
        mesh: Prediction or ground truth.
        name: How the message calls it.

    Raises:
        EvaluationError: No mesh, no vertices or faces, values that are not finite, indices out of range, or
            no extent.
    """
    if not isinstance(mesh, trimesh.Trimesh):
        raise EvaluationError(
            f"{name}: expected a trimesh.Trimesh, got {type(mesh).__name__}; a file with several objects "
            "loads as a Scene, a file without faces as a PointCloud"
        )
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    if not len(vertices):
        raise EvaluationError(f"{name}: the mesh is empty: it has no vertices")
    if not len(faces):
        raise EvaluationError(
            f"{name}: the mesh has {len(vertices)} vertices but no faces; a surface is needed"
        )
    broken = ~np.isfinite(vertices).all(axis=1)
    if broken.any():
        raise EvaluationError(
            f"{name}: {broken.sum()} of {len(vertices)} vertices are not finite, the first is vertex "
            f"{broken.argmax()}; the field that made the mesh has diverged, or the file is damaged"
        )
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise EvaluationError(
            f"{name}: faces name the vertices {faces.min()} to {faces.max()}, "
            f"but there are only 0 to {len(vertices) - 1}"
        )
    if not np.ptp(vertices, axis=0).max() > 0:
        raise EvaluationError(f"{name}: all {len(vertices)} vertices are in one place")


def check_size_and_place(
    gt: Float[np.ndarray, "2 3"],
    pred: Float[np.ndarray, "2 3"],
    name: str,
    *,
    scaled: bool = False,
    placed: bool = False,
) -> None:
    """Tells a prediction in the wrong unit, or far off, from one that is merely bad.

    Args:
        gt: Lower and upper corner of the ground truth's bounding box, mm.
        pred: The same of the prediction, in what should be the same frame.
        name: How the message calls the prediction.
        scaled: Landmarks will set the scale: a wrong one is only worth a warning.
        placed: Landmarks will set the place: a wrong one is not worth a word.

    Raises:
        EvaluationError: The sizes differ by more than a factor of 20, and not `scaled`.
    """
    gt_size, pred_size = (float(np.linalg.norm(high - low)) for low, high in (gt, pred))
    ratio = pred_size / gt_size
    if not 1 / _WRONG_UNIT < ratio < _WRONG_UNIT:
        message = (
            f"{name}: its bounding box measures {pred_size:.4g}, the ground truth's {gt_size:.4g} mm: "
            f"{_guess(ratio, pred_size)}"
        )
        if not scaled:
            raise EvaluationError(message)
        log.warning("%s; the landmarks will scale it", message)
        return
    if not 1 / _SUSPICIOUS < ratio < _SUSPICIOUS:
        log.warning(
            "%s: its bounding box measures %.4g mm, the ground truth's %.4g mm; is the scale right, "
            "is it only a part?",
            name,
            pred_size,
            gt_size,
        )
    apart = np.maximum(gt[0] - pred[1], pred[0] - gt[1]).max()
    if apart > 0 and not placed:
        log.warning(
            "%s: it lies %.4g mm outside the ground truth's bounding box; without landmarks the alignment "
            "may fail. Is it in the scene's world frame?",
            name,
            apart,
        )


def _guess(ratio: float, size: float) -> str:
    if 0.0005 < ratio < 0.002:
        return "it is in metres; multiply by 1000"
    if 500 < ratio < 2000:
        return "its unit is a thousand times too small; divide by 1000"
    if 0.2 < size < 4.0:
        return "it is in unit space; map it to the world with the scene's scale_mat"
    return "its unit is wrong; the world is in mm"
