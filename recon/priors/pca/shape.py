"""One head of a shape model as a grid of its own, with its SDF offset if there is one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import maximum_filter
from torch import Tensor, nn

from recon.fields import FeatureGrid, distance_to_box, spline_values
from recon.priors.network import ShapeNetwork
from recon.priors.pca.shape_model import PCAShape, PCAShapeModel


@dataclass(frozen=True)
class Details:
    """What a head has besides its grid.

    Attributes:
        displacements: Displacements that take points of the head to the template, one after the other.
        fine: Grid of what is added to the distances on the template.
        offset: Grid of what is added to the distances of the head.
    """

    displacements: Sequence[FeatureGrid] = ()
    fine: FeatureGrid | None = None
    offset: FeatureGrid | None = None


class GridShape(ShapeNetwork):
    """One head as a grid of signed distances that can learn; it has no code.

    Args:
        grid: Spline values of the distances, canonical unit space; of the template, where there are displacements.
        details: Further grids, which do not learn.
    """

    latent_size = 0

    def __init__(self, grid: FeatureGrid, details: Details | None = None) -> None:
        super().__init__()
        self.grid = grid
        details = details or Details()
        self.displacements = nn.ModuleList(details.displacements).requires_grad_(False)
        self.fine = None if details.fine is None else details.fine.requires_grad_(False)
        self.offset = None if details.offset is None else details.offset.requires_grad_(False)
        self.register_buffer("box_low", grid.low.clone(), persistent=False)
        self.register_buffer("box_high", grid.low + grid.cell * grid.cells, persistent=False)

    box_low: Tensor
    box_high: Tensor

    @classmethod
    def from_code(
        cls, shape_model: PCAShapeModel, code: Float[Tensor, " latent"], offset: FeatureGrid | None = None
    ) -> "GridShape":
        """Composes the head of a code, with an SDF offset that is 0 at the border of its grid."""
        head = shape_model.shape_of(code)
        grid, details = shape_model.mean.filled(head.values[:, None]), _details_of(head, offset)
        if offset is not None and details.offset is None:
            with torch.no_grad():
                grid.values.add_(_resampled(offset, grid))
        return cls(grid, details)

    @classmethod
    @torch.no_grad()
    def from_network(cls, network: ShapeNetwork, code: Float[Tensor, " latent"], cells: int) -> "GridShape":
        """Samples the head of a code of any shape model at the middles of cells.

        Args:
            network: The shape model. Its box is taken where it has one, else that of the unit ball.
            code: The code; the result is on its device.
            cells: Number of cells along the longest side of the box.
        """
        low = getattr(network, "low", torch.full((3,), -1.0)).cpu()
        high = getattr(network, "high", torch.full((3,), 1.0)).cpu()
        size = (high - low).double()
        shape = [max(1, round(cells * float(side / size.max()))) for side in size]
        grid = FeatureGrid(low.tolist(), high.tolist(), shape, 1)
        points = torch.cartesian_prod(*grid.cell_centres())
        values = torch.cat([network(part.to(code.device), code).cpu() for part in points.split(16_384)])
        splines = spline_values(values.reshape(shape).double().numpy())
        grid.values.copy_(torch.from_numpy(splines.reshape(-1, 1)))
        return cls(grid).requires_grad_(False).to(code.device)

    def forward(
        self, points: Float[Tensor, "points 3"], latent: Float[Tensor, "*points latent"]
    ) -> Float[Tensor, " points"]:
        """Signed distance at points; outside the box the distance to the box is added."""
        at = points
        for displacement in self.displacements:
            at = at + displacement(at)
        result: Tensor = self.grid(at)[:, 0] + distance_to_box(at, self.box_low, self.box_high)
        if self.fine is not None:
            result = result + self.fine(at)[:, 0]
        if self.offset is not None:
            result = result + self.offset(points)[:, 0]
        return result

    def absorb(self, mean: Float[Tensor, " latent"], scale: Float[Tensor, " latent"]) -> None:
        """Does nothing, since there is no code."""


def _details_of(head: PCAShape, offset: FeatureGrid | None) -> Details:
    """Deformation and fine lattice of a head as grids; without a deformation the offset belongs to the head's grid."""
    fine = None
    if head.fine is not None and head.shape_model.fine is not None:
        fine = head.shape_model.fine.lattice.filled(head.fine)
    if head.deformation is None:
        return Details((), fine, None)
    displacements = (
        head.deformation.lattice.filled(head.deformation.without_identity),
        head.deformation.deformation.expression.lattice.filled(head.deformation.without_expression),
    )
    return Details(displacements, fine, offset)


def _resampled(offset: FeatureGrid, grid: FeatureGrid) -> Float[Tensor, "nodes 1"]:
    """Values of a grid whose function agrees with that of a coarser one in the middle of every cell."""
    middles = grid.cell_centres()
    # Only where one of the 27 values that count is not 0.
    near = maximum_filter((offset.values[:, 0] != 0).reshape(offset.shape).numpy(), 3)
    nodes = [
        ((middle - offset.low[axis]) / offset.cell[axis])
        .floor()
        .long()
        .add(1)
        .clamp(0, offset.shape[axis] - 1)
        for axis, middle in enumerate(middles)
    ]
    inside = torch.from_numpy(near[np.ix_(*(node.numpy() for node in nodes))])
    points = torch.stack([middle[at] for middle, at in zip(middles, inside.nonzero().T, strict=True)], dim=1)
    wanted = torch.zeros([len(middle) for middle in middles])
    wanted[inside] = torch.cat([torch.zeros(0), *(offset(part)[:, 0] for part in points.split(16384))])
    return torch.from_numpy(spline_values(wanted.numpy()).reshape(-1, 1))
