"""A head of a shape model with a grid of its own for what the shape model cannot follow."""

from collections.abc import Hashable, Mapping, Sequence

from torch import Tensor, nn

from recon.errors import ConfigError
from recon.fields import Field, FieldSample, GridField
from recon.priors.field import PriorField
from recon.priors.pca.shape import GridShape

RESIDUALS = ("none", "field")
"""What training adds to a head of a shape model: nothing, or a correction by the configured field."""


class ResidualField(Field):
    """(F(T x; z) + R(T x)) / |T|: a posed head of a shape model that itself never changes, and a residual R on grids.

    While the residual's levels have not begun to come in, code and pose of the head learn and there is no residual.
    From then on the code stays as it is, so the shape model's network, asked once for a lattice of distances, is not
    needed any more: both parts are grids.

    Args:
        head: The shape model, code and pose; its feature network serves as it does there.
        residual: Whose correction is added; it starts at zero.
        cells: Of the lattice that stands for the head, along its longest side, where it is no lattice already.

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
        """Phase and levels of the residual."""
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
        """The head of the present code as a lattice: a function of the code, kept while that is the same."""
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
