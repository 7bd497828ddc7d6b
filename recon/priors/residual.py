"""A residual that training adds to the head of a shape model: a field of grids for what the shape model lacks."""

from collections.abc import Hashable, Mapping, Sequence

from torch import Tensor, nn

from recon.errors import ConfigError
from recon.fields import Field, FieldSample, GridField
from recon.priors.field import PriorField
from recon.priors.pca.shape import GridShape

RESIDUALS = ("none", "field")
"""Choices of `prior.residual`: training adds nothing, or a correction by the configured field."""


class ResidualField(Field):
    """(F(T x; z) + R(T x)) / |T|: the posed head of a frozen shape model, plus a residual R on grids.

    Before the levels of the residual fade in, code and pose of the head learn and there is no residual. From then on
    the code is constant, so the network of the shape model is sampled once on a lattice and both parts are grids.

    Args:
        head: Shape model, code and pose, with the feature network.
        residual: Field whose correction is added; it starts at zero.
        cells: Number of cells of that lattice along its longest side, where the head is no lattice already.

    Raises:
        ConfigError: The residual is no field of grids.
    """

    def __init__(self, head: PriorField, residual: Field, cells: int = 80) -> None:
        super().__init__()
        if not isinstance(residual, GridField):
            raise ConfigError(
                f"prior.residual=field needs a field that can start at zero, field=dense or field=hash, not the "
                f"{type(residual).__name__} that is configured"
            )
        head.shape.requires_grad_(False)
        self.head, self.residual, self.cells = head, residual, cells
        self._lattice: tuple[Tensor, int, GridShape] | None = None
        self.set_progress(1.0)

    def set_progress(self, progress: float) -> None:
        """Set the phase and the levels of the residual."""
        self.residual.set_progress(progress)
        self.second = progress >= self.residual.begin
        if isinstance(self.head.code, nn.Parameter):
            self.head.code.requires_grad_(not self.second)

    def shape_of_progress(self) -> Hashable:
        """The phase, and that of the residual."""
        return self.second, self.residual.shape_of_progress()

    def forward(self, points: Tensor) -> FieldSample:
        """Signed distance, and the feature network's feature."""
        return FieldSample(self.sdf(points), self.head.feature(points))

    def sdf(self, points: Tensor) -> Tensor:
        """Signed distance alone."""
        if not self.second:
            return self.head.sdf(points)
        linear, offset = self.head.canonical_from_unit()
        canonical = points @ linear.T + offset
        distance = self._sampled()(canonical, self.head.code) + self.residual.correction(canonical)
        return distance / linear[0].norm()

    def _sampled(self) -> GridShape:
        """The head of the present code on a lattice, which is kept as long as the code is the same."""
        if isinstance(self.head.shape, GridShape):
            return self.head.shape
        code = self.head.code
        kept = self._lattice
        if (
            kept is None
            or kept[0] is not code
            or kept[1] != code._version
            or kept[2].box_low.device != code.device
        ):
            kept = (code, code._version, GridShape.from_network(self.head.shape, code, self.cells))
            self._lattice = kept
        return kept[2]

    def parameter_groups(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """The residual is the geometry; appearance, code and pose are those of the head."""
        return {**self.head.parameter_groups(), "geometry": list(self.residual.parameters())}
