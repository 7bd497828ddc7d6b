"""The 468 points of MediaPipe's face mesh on heads of a linear shape model, and how the network misplaces them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from recon.errors import PriorError
from recon.priors.pca.shape_model import PCAShapeModel
from recon.priors.weights import ShapePrior
from recon.reading import numbers, read_arrays, reading

TABLE = Path(__file__).with_name("landmarks468.npz")
"""Made by `tools/measure_landmarks.py`; README.md beside it says how."""
YAW_UNIT_DEG = 45.0
COMPONENTS = 80
"""Of the code, that landmarks are asked for."""
NEIGHBOURS = 4
"""Points of the shape model from which the derivative of a landmark is interpolated."""


@dataclass(frozen=True, eq=False)
class LandmarkModel:
    """Landmarks by code, canonical mm, with their bias by yaw.

    Attributes:
        places: (468, 3) on the mean head.
        basis: (468, 3, components) how they move with the code.
        bias: (468, 2, powers) how far right of and above its place the network sees a point, millimetres on the head,
            as polynomials of the yaw in units of 45 degrees.
        relative_sigma: (468, 11) how much noisier each point is than the middle one, at yaws from -75 to 75 degrees.
        mirror: (468,) number of the mirror image of each point.
    """

    places: Float[np.ndarray, "points 3"]
    basis: Float[np.ndarray, "points 3 components"]
    bias: Float[np.ndarray, "points 2 powers"]
    relative_sigma: Float[np.ndarray, "points yaws"]
    mirror: np.ndarray

    @classmethod
    def from_prior(
        cls, prior: ShapePrior, components: int = COMPONENTS, table: Path = TABLE, biased: bool = True
    ) -> LandmarkModel:
        """The landmarks on heads of a prior; their derivative is that of its face points and landmarks nearby.

        Args:
            prior: A linear shape model with face points.
            components: Of the code, from the first.
            table: Places and bias.
            biased: Whether the bias counts.

        Raises:
            PriorError: The prior is no linear shape model, or has no face points.
        """
        nodes, node_basis = face_nodes(prior, components)
        places, bias, noise, mirror = read_table(table)
        distance, near = cKDTree(nodes).query(places, k=NEIGHBOURS)
        weight = 1 / (distance + 0.5) ** 2
        weight /= weight.sum(axis=1, keepdims=True)
        basis = np.einsum("pk,pkdc->pdc", weight, node_basis[near])
        return cls(places, basis, bias if biased else np.zeros_like(bias), noise, mirror)

    def of_components(self, components: int) -> LandmarkModel:
        """The same landmarks moving with fewer components."""
        return replace(self, basis=self.basis[..., :components])

    @property
    def components(self) -> int:
        """Number of components of the code that the landmarks move with."""
        return self.basis.shape[2]

    def points_of(self, code: Float[np.ndarray, " components"]) -> Float[np.ndarray, "points 3"]:
        """Where the landmarks of a head are, canonical mm."""
        return self.places + self.basis @ code

    def offset(self, yaw: float) -> tuple[Float[np.ndarray, "points 3"], Float[np.ndarray, "points 3"]]:
        """How far from their places a camera sees the landmarks, canonical mm, and the derivative by the yaw.

        Args:
            yaw: Of the camera about the head's vertical axis, radians, positive on the subject's left.
        """
        unit = np.radians(YAW_UNIT_DEG)
        powers = np.arange(self.bias.shape[2])
        at = yaw / unit
        right, up = (self.bias @ at**powers).T
        right_by, up_by = (self.bias[:, :, 1:] @ (powers[1:] * at ** (powers[1:] - 1)) / unit).T
        across = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
        across_by = np.array([-np.sin(yaw), 0.0, -np.cos(yaw)])
        vertical = np.array([0.0, 1.0, 0.0])
        offset = right[:, None] * across + up[:, None] * vertical
        return offset, right_by[:, None] * across + right[:, None] * across_by + up_by[:, None] * vertical

    def noise(self, yaw: float) -> Float[np.ndarray, " points"]:
        """How much noisier each landmark is than the middle one, for a camera's yaw in radians."""
        last = self.relative_sigma.shape[1] - 1
        at = np.clip((np.degrees(yaw) + 75.0) / 150.0, 0, 1) * last
        low = min(int(at), last - 1)
        share = at - low
        result: np.ndarray = (1 - share) * self.relative_sigma[:, low] + share * self.relative_sigma[
            :, low + 1
        ]
        return result


def read_table(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The arrays of a table of landmarks: places (mm), bias (mm), relative sigma, and mirror images.

    Raises:
        PriorError: The file holds something else.
    """
    shapes = {
        "places_mm": (None, 3),
        "bias_mm": (None, 2, None),
        "relative_sigma": (None, None),
        "mirror": (None,),
    }
    with reading(path, PriorError, "a table of landmarks"):
        arrays = read_arrays(path, list(shapes))
        places, bias, noise, mirror = (numbers(arrays[name], shape, name) for name, shape in shapes.items())
        count = len(places)
        if (
            not (len(bias) == len(noise) == len(mirror) == count > 0)
            or min(bias.shape[2], noise.shape[1]) < 2
        ):
            raise ValueError(
                f"its arrays are of {[len(each) for each in (places, bias, noise, mirror)]} points"
            )
        if mirror.min() < 0 or mirror.max() >= count:
            raise ValueError(f"mirror images must be numbers of its {count} points")
    return places, bias, noise, mirror.astype(int)


def face_nodes(
    prior: ShapePrior, components: int
) -> tuple[Float[np.ndarray, "nodes 3"], Float[np.ndarray, "nodes 3 components"]]:
    """Points of the mean head, canonical mm, whose derivative by the code the prior knows.

    Raises:
        PriorError: The prior is no linear shape model, or has no face points.
    """
    network = prior.network
    known = network.brightness_model if isinstance(network, PCAShapeModel) else None
    if not isinstance(network, PCAShapeModel) or known is None:
        raise PriorError(
            "photographs without cameras need a linear shape model with face points, as the shipped linear prior is "
            f"(this one is of kind {prior.kind!r})"
        )
    radius, centre = prior.canonical.radius_mm, np.array(prior.canonical.centre_mm)
    places = np.concatenate([known.places.numpy() * radius + centre, network.landmark_mean.numpy()])
    basis = np.concatenate([known.basis.numpy() * radius, network.landmark_basis.numpy()])
    return places.astype(float), basis[..., :components].astype(float)
