"""The linear shape model mean(y) + Σ z_k B_k(y) on a lattice, for second-order fits, and its coarse level.

Where heads were brought to a template, y = D(x; z) is the point of the template for a point x of the head, and a fine
lattice about face and ears is added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int32
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from recon.fields import (
    Deformation,
    FeatureGrid,
    HeadDeformation,
    distance_to_box,
    rows_times,
    weighted_sums,
)
from recon.fitting.brightness import BrightnessModel
from recon.priors.network import ShapeNetwork
from recon.priors.pca.fine_lattice import FineLattice


class PCAShapeModel(ShapeNetwork):
    """A shape model of heads whose spline values on a lattice are linear in the code.

    The mean is stored at every value of the lattice, the basis only at those of a narrow band about the surfaces of
    heads. Any other value changes with the nearest of the band: there heads differ from the mean by about what they
    differ by at the edge of the band, and the field has no step. Outside the lattice the distance to its box is added.

    Args:
        latent_size: Length of the code.
        low: Lower corner of the box, half a cell beyond the first node, canonical unit space.
        high: Upper corner.
        cells: Nodes along x, y, z, each in the middle of a cell of the box.
        band: Number of values of the lattice that have a row of the basis.
        landmarks: Names of the landmarks.
        brightness_model: Numbers of face points, levels and components of its `BrightnessModel`; zeros for none.
        coarse: Number of rows of its coarse level, which has half the resolution; 0 for none.
        deformation: Arguments of the `Deformation` to the template, and under "components" the numbers of the
            components of the code that it takes; None where heads are not deformed.
        fine: Arguments of the `FineLattice` but the length of the code; None for none.
    """

    mean: FeatureGrid
    rows: Tensor
    row_of: Tensor
    landmark_mean: Tensor
    landmark_basis: Tensor
    brightness_places: Tensor
    brightness_basis: Tensor
    brightness_mean: Tensor
    brightness_by_code: Tensor
    deformation: Deformation | None
    _lent: tuple[Deformation, ...] = ()

    def __init__(
        self,
        latent_size: int,
        low: Sequence[float],
        high: Sequence[float],
        cells: Sequence[int],
        band: int,
        landmarks: Sequence[str] = (),
        brightness_model: Sequence[int] = (0, 0, 0),
        coarse: int = 0,
        deformation: Mapping[str, Any] | None = None,
        fine: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.latent_size, self.landmark_names = latent_size, tuple(landmarks)
        self.mean = FeatureGrid(low, high, cells, 1)
        self.mean.values.requires_grad_(False)
        constants = {
            "box_low": torch.tensor(low, dtype=torch.float32),
            "box_high": torch.tensor(high, dtype=torch.float32),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        nodes, count = len(self.mean.values), len(self.landmark_names)
        self.register_buffer("rows", torch.empty(band, latent_size, dtype=torch.float16))
        self.register_buffer("row_of", torch.empty(nodes, dtype=torch.int32))
        self.register_buffer("landmark_mean", torch.zeros(count, 3))
        self.register_buffer("landmark_basis", torch.zeros(count, 3, latent_size))
        half = [-(-int(n) // 2) for n in cells]
        far = [a + (b - a) * 2 * h / n for a, b, h, n in zip(low, high, half, cells, strict=True)]
        self.coarse = PCAShapeModel(latent_size, low, far, half, coarse) if coarse else None
        self.deformation, self._deforming = None, []
        self.fine = None if fine is None else FineLattice(latent_size, **fine)
        if deformation is not None:
            self._deforming = [int(number) for number in deformation["components"]]
            self.deformation = Deformation(deformation["identity"], deformation["expression"])
            if self.coarse is not None:
                self.coarse._deforming = self._deforming
                # A tuple hides the module, which is stored once.
                self.coarse._lent = (self.deformation,)
        face_points, levels, components = brightness_model
        if face_points:
            shapes = {
                "places": (face_points, 3),
                "basis": (face_points, 3, latent_size),
                "blurs": (levels,),
                "mean": (levels, face_points),
                "components": (levels, face_points, components),
                "by_code": (levels, components, latent_size),
                "sigma": (levels, face_points),
            }
            for name, shape in shapes.items():
                self.register_buffer(f"brightness_{name}", torch.zeros(shape))
        self._brightness_model = bool(face_points)

    box_low: Tensor
    box_high: Tensor

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> "PCAShapeModel":
        """The shape model of a state, with a coarse level if the state has one; the tensors are not copied."""
        shape_model = cls(**arguments, coarse=len(state.get("coarse.rows", ())))
        shape_model.load_state_dict(state, assign=True)
        return shape_model.eval()

    @property
    def brightness_model(self) -> BrightnessModel | None:
        """Brightness of its faces in photographs, where that is known."""
        if not self._brightness_model:
            return None
        return BrightnessModel(
            **{each.name: getattr(self, f"brightness_{each.name}") for each in fields(BrightnessModel)}
        )

    @property
    def coarse_level(self) -> "PCAShapeModel":
        """The shape model of half the resolution; itself if there is none."""
        return self if self.coarse is None else self.coarse

    def shape_of(self, code: Float[Tensor, " latent"]) -> "PCAShape":  # type: ignore[override]
        """The head of a code, composed once for all points."""
        return PCAShape(
            self,
            self.composed(code),
            None if self.fine is None else self.fine.composed(code),
            self.deformation_of(code),
        )

    @property
    def deforming(self) -> Sequence[int]:
        """Numbers of the components of the code that deform space."""
        return self._deforming

    def deformation_of(self, code: Float[Tensor, " latent"]) -> HeadDeformation | None:
        """The deformation that takes the head of a code to the template; None where heads are not deformed."""
        coarse = bool(self._lent)
        deformation = self._lent[0] if coarse else self.deformation
        return None if deformation is None else deformation.of(code.detach()[self._deforming], coarse=coarse)

    @torch.no_grad()
    def composed(self, code: Float[Tensor, " latent"]) -> Float[Tensor, " nodes"]:
        """Values of a `FeatureGrid` with this box and these cells that is the head of a code."""
        free = int(code.nonzero().max()) + 1 if code.any() else 0  # a fit begins with few components
        if free == 0:
            return self.mean.values[:, 0].clone()
        return self.mean.values[:, 0] + rows_times(self.rows, code[:free])[self.row_of]

    def landmarks(self, code: Float[Tensor, " latent"]) -> Float[Tensor, "landmarks 3"]:
        """Landmarks of the head of a code, canonical mm, in the order of `landmark_names`."""
        return self.landmark_mean + self.landmark_basis @ code

    def forward(
        self, points: Float[Tensor, "points 3"], latent: Float[Tensor, "*points latent"]
    ) -> Float[Tensor, " points"]:
        """Signed distance at points for one code, or for a code for each point.

        With a deformation or a fine lattice there is one code, and the graph can be differentiated once.
        """
        if self._deforming or self.fine is not None:
            result: Tensor = _Distance.apply(points, latent, self)
            return result
        index, weight = self.mean.taps(points)
        if latent.dim() == 1 and points.device.type != "cpu":
            values = self._values_of_all(index, latent)
        elif latent.dim() == 1:
            # Neighbours share most of their values.
            nodes, place = index.unique(return_inverse=True)
            rows = self.rows[self.row_of[nodes]]
            graph = torch.is_grad_enabled() and latent.requires_grad
            moved = rows.float() @ latent if graph else rows_times(rows, latent)
            values = (self.mean.values[nodes, 0] + moved)[place]
        else:
            moved = torch.stack(
                [(self.rows[self.row_of[tap]].float() * latent).sum(1) for tap in index.unbind(1)], dim=1
            )
            values = self.mean.values[index, 0] + moved
        return (weight * values).sum(1) + self.beyond(points)

    def _values_of_all(
        self, index: Int[Tensor, "points 27"], latent: Float[Tensor, " latent"]
    ) -> Float[Tensor, "points 27"]:
        """Values of the head of a code at the taps of points, from all rows of the band: finding those that the points
        need would make the host wait for the device.
        """
        return self.mean.values[index, 0] + (self.rows.float() @ latent)[self.row_of[index]]

    @torch.no_grad()
    def latent_gradient(
        self, points: Float[Tensor, "points 3"], latent: Float[Tensor, " latent"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points latent"]]:
        """Signed distance at points with its derivative by the code, the basis itself."""
        if self._deforming or self.fine is not None:
            head = self.shape_of(latent)
            return head.sdf(points), head.basis(points)
        index, weight = self.mean.taps(points)
        basis = self.gathered(index, weight)
        return self.mean.gather(index, weight)[:, 0] + basis @ latent + self.beyond(points), basis

    def gathered(
        self, index: Int[Tensor, "points 27"], weight: Float[Tensor, "points 27"]
    ) -> Float[Tensor, "points latent"]:
        """Basis at points given by all of their 27 taps, so that it is the derivative of the distance."""
        return weighted_sums(self.row_of[index], weight, self.rows)

    def beyond(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Distance to the box, 0 inside."""
        return distance_to_box(points, self.box_low, self.box_high)

    @torch.no_grad()
    def absorb(self, mean: Float[Tensor, " latent"], scale: Float[Tensor, " latent"]) -> None:
        """Folds the mean into the mean head and its landmarks, and the scale into the bases.

        Raises:
            ValueError: A component that deforms space would be shifted, which its bases cannot express.
        """
        if self._deforming:
            raise ValueError("the code of a shape model that deforms space cannot be substituted")
        self.mean.values.copy_(self.composed(mean)[:, None])
        self.landmark_mean += self.landmark_basis @ mean
        self.rows *= scale.to(self.rows.dtype)
        self.landmark_basis *= scale
        if self.coarse is not None:
            self.coarse.absorb(mean, scale)
        if self._brightness_model:
            brightness_model = self.brightness_model
            assert brightness_model is not None
            for level in range(len(self.brightness_mean)):
                self.brightness_mean[level] = brightness_model.brightness(level, mean)
            self.brightness_by_code *= scale
            self.brightness_places += self.brightness_basis @ mean
            self.brightness_basis *= scale


@dataclass(frozen=True)
class PCAShape:
    """One head of a `PCAShapeModel`, a `recon.fitting.Shape`.

    Attributes:
        shape_model: The shape model.
        values: Spline values of the head.
        fine: Spline values of its fine lattice, if the shape model has one.
        deformation: Its deformation to the template, if the shape model has one.
    """

    shape_model: PCAShapeModel
    values: Float[Tensor, " nodes"]
    fine: Float[Tensor, "fine_nodes 1"] | None = None
    deformation: HeadDeformation | None = None

    @torch.no_grad()
    def sdf(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Signed distance at points, without a graph."""
        if self.deformation is not None:
            points = self.deformation.to_template(points)[1]
        inside = self.shape_model.mean.interpolated(points, self.values[:, None])
        if self.fine is not None and self.shape_model.fine is not None:
            inside = inside + self.shape_model.fine.lattice.interpolated(points, self.fine)
        return inside[:, 0] + self.shape_model.beyond(points)

    @torch.no_grad()
    def sdf_and_gradient(
        self, points: Float[Tensor, "points 3"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]]:
        """Signed distance at points with its derivative by the point, without a graph."""
        if self.deformation is None:
            return self._of_template(points)
        neutral, template = self.deformation.to_template(points)
        value, gradient = self._of_template(template)
        return value, self.deformation.pulled_back(points, neutral, gradient)

    def _of_template(
        self, points: Float[Tensor, "points 3"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]]:
        """Signed distance at points of the template with its derivative by these."""
        value, gradient = self.shape_model.mean.value_and_gradient(points, self.values[:, None])
        if self.fine is not None and self.shape_model.fine is not None:
            more, by_point = self.shape_model.fine.lattice.value_and_gradient(points, self.fine)
            value, gradient = value + more, gradient + by_point
        beyond = points - points.maximum(self.shape_model.box_low).minimum(self.shape_model.box_high)
        gradient = gradient * (beyond == 0) + functional.normalize(beyond, dim=1)
        return value + beyond.norm(dim=1), gradient

    @torch.no_grad()
    def basis(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points latent"]:
        """Derivative of the signed distance at points by the code, without a graph."""
        if self.deformation is None:
            return self._rows(points)
        neutral, template = self.deformation.to_template(points)
        by_template = self._of_template(template)[1]
        by_point = self.deformation.pulled_back(points, neutral, by_template)
        basis = self._rows(template)
        basis[:, list(self.shape_model.deforming)] += self.deformation.by_code(neutral, by_point, by_template)
        return basis

    def _rows(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points latent"]:
        """Rows of the basis at points of the template."""
        basis = self.shape_model.gathered(*self.shape_model.mean.taps(points))
        fine = self.shape_model.fine
        return basis if fine is None else basis + fine.gathered(*fine.lattice.taps(points))


class _Distance(Function):
    """The signed distance of a head that is deformed, as an operation that can be differentiated once."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, latent: Tensor, shape_model: PCAShapeModel) -> Tensor:
        """Points (n, 3) and a code → (n,)."""
        ctx.save_for_backward(points)
        ctx.head = shape_model.shape_of(latent.detach())
        result: Tensor = ctx.head.sdf(points)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Compute the derivatives by points and code."""
        (points,) = ctx.saved_tensors
        by_point = by_code = None
        if ctx.needs_input_grad[0]:
            by_point = cotangent[:, None] * ctx.head.sdf_and_gradient(points)[1]
        if ctx.needs_input_grad[1]:
            by_code = cotangent @ ctx.head.basis(points)
        return by_point, by_code, None


def nearest_rows(inside: Bool[np.ndarray, "x y z"]) -> Int32[np.ndarray, "x2 y2 z2"]:
    """Finds for every spline value, a border of one included, the row of the nearest node of the band."""
    padded = np.pad(inside, 1)
    nearest = distance_transform_edt(~padded, return_distances=False, return_indices=True)
    numbers = np.full(padded.shape, -1, np.int32)
    numbers[padded] = np.arange(inside.sum(), dtype=np.int32)
    result: np.ndarray = numbers[tuple(nearest)]
    return result


COARSE_ROWS_AT_A_TIME = 4096


def halved_resolution(
    state: Mapping[str, Tensor], inside: Bool[np.ndarray, "x y z"], row_of: Int32[np.ndarray, "x2 y2 z2"]
) -> dict[str, Tensor]:
    """Makes the state of a shape model with cells twice as large; heads agree to some tenths of a millimetre.

    The mean of two neighbouring values of a quadratic spline is its value between them, so the mean of eight is that in
    the middle of a coarse cell; the mean head is sharpened to go through these values.

    Args:
        state: `rows` and `mean.values` of the shape model.
        inside: Whether a node has a row.
        row_of: The row of every value, a border of one included.
    """
    mean = state["mean.values"].numpy().reshape(row_of.shape)
    taps = [_taps(n) for n in inside.shape]
    coarse = np.zeros(tuple(len(low) for low, _ in taps), mean.dtype)
    in_band = np.zeros(coarse.shape, dtype=bool)
    numbers = np.empty((*coarse.shape, 8), np.int32)
    padded = np.pad(inside, 1)
    for corner, (i, j, k) in enumerate(np.ndindex(2, 2, 2)):
        at = np.ix_(taps[0][i], taps[1][j], taps[2][k])
        coarse += mean[at] / 8
        in_band |= padded[at]
        numbers[..., corner] = row_of[at]
    inner = in_band[1:-1, 1:-1, 1:-1]
    gathered = torch.from_numpy(numbers[1:-1, 1:-1, 1:-1][inner])
    rows = torch.empty(len(gathered), state["rows"].shape[1], dtype=state["rows"].dtype)
    for part, into in zip(
        gathered.split(COARSE_ROWS_AT_A_TIME), rows.split(COARSE_ROWS_AT_A_TIME), strict=True
    ):
        into.copy_(state["rows"][part].float().mean(dim=1))
    return {
        "mean.values": torch.from_numpy(_sharpened(coarse).reshape(-1, 1)),
        "rows": rows,
        "row_of": torch.from_numpy(nearest_rows(inner).ravel()),
    }


def _taps(cells: int) -> tuple[np.ndarray, np.ndarray]:
    """The two values, a border of one included, that each coarse value of one axis stands for."""
    first = 2 * np.arange(-1, -(-cells // 2) + 1) + 1
    return first.clip(0, cells + 1), (first + 1).clip(0, cells + 1)


def _sharpened(values: Float[np.ndarray, "x y z"]) -> Float[np.ndarray, "x y z"]:
    """Values of a quadratic spline that nearly goes through the given ones at its nodes."""
    result = values.copy()
    for axis in range(3):
        moved = np.moveaxis(values, axis, 0)
        np.moveaxis(result, axis, 0)[1:-1] -= (moved[:-2] - 2 * moved[1:-1] + moved[2:]) / 8
    return result
