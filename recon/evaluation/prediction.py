"""A prediction made ready to be scored."""

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import trimesh
from jaxtyping import Float

from recon.errors import EvaluationError
from recon.evaluation.checks import check_mesh
from recon.geometry.nearest import PointSet
from recon.geometry.surface import Surface

Landmarks = Mapping[str, "int | np.integer | Float[np.ndarray, '3']"]


class Prediction:
    """A checked prediction with its search trees, which several scores can share.

    Args:
        mesh: World frame of the scene, mm. It is not changed.
        landmarks: Vertex index or xyz (mm) of each landmark, by name, or None.
        name: How messages call it.

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
    """Landmarks of a mesh from rough places, such as a prior's: the nearest points of its surface.

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
