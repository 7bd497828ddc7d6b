"""Interfaces of priors: what a prior may look at, the head that it fits, and what training starts from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor, nn

from recon.fields import Field
from recon.fitting import InstantFit
from recon.priors.pca.shape import GridShape
from recon.priors.pca.shape_model import PCAShapeModel
from recon.priors.weights import ShapePrior
from recon.scene import Camera


@dataclass(frozen=True)
class SceneObservations:
    """The input views of a scene, as a prior may look at them before training.

    Attributes:
        cameras: Cameras of the input views, world mm.
        masks: Masks of the input views.
        world_from_unit: 4x4 similarity, the scene's `scale_mat`.
        images: Function that gives the photographs, sRGB in [0, 1].
        landmarks: Function that gives world positions of facial landmarks by H3DS name, mm; none where there are none.
            H3DS has them on the scans, so a method that uses them knows more than photographs and masks.
        ignored: For each view the pixels at which photograph and mask do not show the head, such as a hand before it;
            empty where every pixel is valid.
        marked: For each view pixels (x, y) of the landmarks marked in its photograph, by name; empty where there are
            none.
        canonical_from_world: Pose of the head, world mm to canonical unit space, where the cameras were found about a
            head; fits begin there instead of searching for it. None where it is not known.
    """

    cameras: Sequence[Camera]
    masks: Sequence[Bool[np.ndarray, "_ _"]]
    world_from_unit: Float[np.ndarray, "4 4"]
    images: Callable[[], Sequence[Float[np.ndarray, "_ _ 3"]]] = list
    landmarks: Callable[[], Mapping[str, Float[np.ndarray, " 3"]]] = dict
    ignored: Sequence[Bool[np.ndarray, "_ _"]] = ()
    marked: Sequence[Mapping[str, Float[np.ndarray, " 2"]]] = ()
    canonical_from_world: Float[np.ndarray, "4 4"] | None = None

    def turned(self, turns: Sequence[int]) -> "SceneObservations":
        """The same views after counterclockwise quarter turns of their pictures (`np.rot90`)."""

        def of(pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
            return [np.ascontiguousarray(np.rot90(each, k)) for each, k in zip(pictures, turns, strict=True)]

        cameras = [camera.turned(k) for camera, k in zip(self.cameras, turns, strict=True)]
        return replace(
            self,
            cameras=cameras,
            masks=of(self.masks),
            images=lambda: of(self.images()),
            ignored=of(self.ignored) if self.ignored else self.ignored,
            marked=[
                {name: camera.turned_pixel(place, k) for name, place in pixels.items()}
                for camera, pixels, k in zip(self.cameras, self.marked, turns, strict=True)
            ]
            if self.marked
            else self.marked,
        )

    def scaled(self, factor: float) -> "SceneObservations":
        """The same views in a world in which every length is so many times longer."""
        # 1 leaves everything as it is to the last digit.
        return self if factor == 1.0 else self.transformed(np.diag([factor, factor, factor, 1.0]))

    def transformed(self, similarity: Float[np.ndarray, "4 4"]) -> "SceneObservations":
        """The same views after the world moved by a similarity (rotation, uniform scale, translation)."""
        linear, shift, pose = similarity[:3, :3], similarity[:3, 3], self.canonical_from_world
        return replace(
            self,
            cameras=[camera.transformed(similarity) for camera in self.cameras],
            world_from_unit=similarity @ self.world_from_unit,
            landmarks=lambda: {name: linear @ place + shift for name, place in self.landmarks().items()},
            canonical_from_world=None if pose is None else pose @ np.linalg.inv(similarity),
        )


@dataclass(frozen=True)
class Networks:
    """Factories of the configured networks; a prior calls those that it needs.

    Attributes:
        sdf: Makes IDR's geometry: signed distance and feature in one network.
        feature: Makes H3D-Net's feature network, for geometries that have no feature of their own.
        colour: Makes the rendering network.
    """

    sdf: Callable[[], Field]
    feature: Callable[[], nn.Module]
    colour: Callable[[], nn.Module]


@dataclass(frozen=True)
class Start:
    """The networks that training starts from, with the facts that a prior knows of the head.

    Attributes:
        field: Geometry.
        colour: Rendering network.
        schedule_offset: Fraction of the schedules of α and the learning rate at which training begins: they see
            `schedule_offset + step / steps`.
        optimizer_state: Adam's state by parameter name (`sdf.…`, `colour.…`), each as Adam keeps it, to go on
            with; or None for a fresh start.
        deviation: Standard deviation of the surface along its normal at points on it, both in unit space, where
            the prior knows it; or None.
        cameras: Cameras of the input views as the prior corrected them, world mm; or None for those given.
        life_size: Size of the head relative to the mean head, where the prior knows it; or None.
        landmarks: Positions of facial landmarks by name, world mm, where the prior knows them; or None.
        canonical_from_world: Pose of the head, a similarity from world mm to canonical unit space, where the prior
            knows it; or None.
        frozen: Fraction of the training in which the geometry does not learn, where that is more than the objective's:
            untrained colours would damage a good geometry.
        geometry_rate: Factor of the geometry's learning rate.
    """

    field: Field
    colour: nn.Module
    schedule_offset: float = 0.0
    optimizer_state: Mapping[str, Mapping[str, Any]] | None = None
    deviation: Callable[[Float[Tensor, "points 3"]], Float[Tensor, " points"]] | None = None
    cameras: Sequence[Camera] | None = None
    life_size: float | None = None
    landmarks: Mapping[str, Float[np.ndarray, " 3"]] | None = None
    canonical_from_world: Float[np.ndarray, "4 4"] | None = None
    frozen: float = 0.0
    geometry_rate: float = 1.0


class FittedHead(NamedTuple):
    """A head of a linear shape model, fitted to photographs.

    Attributes:
        prior: Content of the prior's file.
        shape_model: Its shape model.
        fit: Code, pose and cameras.
        shape: Distances of the head, canonical unit space.
    """

    prior: ShapePrior
    shape_model: PCAShapeModel
    fit: InstantFit
    shape: GridShape

    def landmarks(self) -> Mapping[str, Float[np.ndarray, " 3"]]:
        """Positions of its landmarks by name, world mm."""
        world_from_mm = np.linalg.inv(self.prior.canonical.mm_from_unit @ self.fit.canonical_from_world)
        places = self.shape_model.landmarks(self.fit.code).double().numpy()
        places = places @ world_from_mm[:3, :3].T + world_from_mm[:3, 3]
        return dict(zip(self.shape_model.landmark_names, places, strict=True))


@runtime_checkable
class Prior(Protocol):
    """A prior: one class, one file, one yaml in conf/prior/."""

    def starts(
        self, networks: Networks, observations: SceneObservations, fitted: FittedHead | None = None
    ) -> Mapping[str, Start]:
        """What training may start from, by the name that metrics.json gives it.

        Most priors return one start; of several, a short trial on the photographs chooses.

        Args:
            networks: Factories of the configured networks.
            observations: The input views.
            fitted: Head that `FitsHead.fit` of this prior returned; with None a prior that needs one fits it. Other
                priors do not use it.

        Raises:
            PriorError: The prior's files are missing, broken or of another size than the networks.
        """
        ...


@runtime_checkable
class FitsHead(Protocol):
    """A prior that fits a head to the photographs before training; the fit is a stage of its own."""

    def fit(self, observations: SceneObservations) -> FittedHead:
        """Fits the head that the photographs show, without networks.

        Raises:
            PriorError: The prior's files are missing or broken, or the pose cannot be found.
            OutOfDistributionError: No head of the shape model matches the masks.
        """
        ...


class SpherePrior:
    """The geometric initialisation of IDR: every head starts as a sphere."""

    def starts(
        self, networks: Networks, observations: SceneObservations, fitted: FittedHead | None = None
    ) -> Mapping[str, Start]:
        """Networks as the configuration makes them; no fitted head is used."""
        return {"sphere": Start(networks.sdf(), networks.colour())}
