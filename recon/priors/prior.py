"""What a prior is to a reconstruction: the networks that training starts from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor, nn

from recon.fields import Field
from recon.scene import Camera


@dataclass(frozen=True)
class SceneObservations:
    """What a prior may look at before training.

    Attributes:
        cameras: Of the input views, world mm.
        masks: Their masks.
        world_from_unit: 4x4 similarity, the scene's `scale_mat`.
        images: Gives their photographs, sRGB in [0, 1].
        landmarks: Gives world positions of facial landmarks by H3DS name, mm; none where there are none. H3DS
            has them on the scans, so a method that uses them knows more than photographs and masks.
        ignored: For each view the pixels of which photograph and mask say nothing of the head, such as a hand before
            it; empty where every pixel counts.
        marked: For each view pixels (x, y) of the landmarks marked in its photograph, by name; empty where there are
            none.
    """

    cameras: Sequence[Camera]
    masks: Sequence[Bool[np.ndarray, "_ _"]]
    world_from_unit: Float[np.ndarray, "4 4"]
    images: Callable[[], Sequence[Float[np.ndarray, "_ _ 3"]]] = list
    landmarks: Callable[[], Mapping[str, Float[np.ndarray, " 3"]]] = dict
    ignored: Sequence[Bool[np.ndarray, "_ _"]] = ()
    marked: Sequence[Mapping[str, Float[np.ndarray, " 2"]]] = ()


@dataclass(frozen=True)
class Networks:
    """How the configuration would make each network; a prior calls those that it needs.

    Attributes:
        sdf: IDR's geometry: signed distance and feature in one network.
        feature: H3D-Net's feature network, for geometries that have no feature of their own.
        colour: The rendering network.
    """

    sdf: Callable[[], Field]
    feature: Callable[[], nn.Module]
    colour: Callable[[], nn.Module]


@dataclass(frozen=True)
class Start:
    """What training starts from.

    Attributes:
        field: The geometry.
        colour: The rendering network.
        schedule_offset: Where in the schedules of α and the learning rate training begins, as a fraction of
            the whole: they see `schedule_offset + step / steps`.
        optimizer_state: Adam's state by parameter name (`sdf.…`, `colour.…`), each as Adam keeps it, to go on
            with; or None for a fresh start.
        deviation: Standard deviation of the surface along its normal at points on it, both in unit space, where
            the prior knows it; or None.
        cameras: The input views' cameras as the prior corrected them, world mm; or None for those given.
        life_size: Size of the head against the mean head, where the prior knows it; or None.
        landmarks: Places of facial landmarks by name, world mm, where the prior knows them; or None.
        frozen: Fraction of the training in which the geometry does not learn, where that is more than the
            objective's: colours that know nothing yet would spoil a good one.
        geometry_rate: What the geometry's learning rate is multiplied by.
    """

    field: Field
    colour: nn.Module
    schedule_offset: float = 0.0
    optimizer_state: Mapping[str, Mapping[str, Any]] | None = None
    deviation: Callable[[Float[Tensor, "points 3"]], Float[Tensor, " points"]] | None = None
    cameras: Sequence[Camera] | None = None
    life_size: float | None = None
    landmarks: Mapping[str, Float[np.ndarray, " 3"]] | None = None
    frozen: float = 0.0
    geometry_rate: float = 1.0


@runtime_checkable
class Prior(Protocol):
    """A prior: one class, one file, one yaml in conf/prior/."""

    def starts(self, networks: Networks, observations: SceneObservations) -> Mapping[str, Start]:
        """What training may start from, by the name that metrics.json gives it.

        Most priors return one; of several, a short trial on the photographs chooses.

        Raises:
            PriorError: The prior's files are missing, broken or of another size than the networks.
        """
        ...


class SpherePrior:
    """The geometric initialisation of IDR: whatever the photographs show starts as a sphere."""

    def starts(self, networks: Networks, observations: SceneObservations) -> Mapping[str, Start]:
        """Networks as the configuration makes them."""
        return {"sphere": Start(networks.sdf(), networks.colour())}
