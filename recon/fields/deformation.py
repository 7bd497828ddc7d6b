"""Deformation of space that takes a head to the template of a shape model, by two linear models of displacements.

Where heads are brought to a template first, lids, lips and ears of all of them lie at the same places, and what is left
of their differences is small (deformed implicit fields: Deng, Yang and Tong, 2021; Yenamandra et al., i3DMM, 2021).
Here both deformations are linear in codes, so that least squares can solve for these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recon.fields.feature_grid import FeatureGrid, rows_times, spline_values, weighted_sums

INVERSION_STEPS = 8
"""Steps of the fixed-point iteration that inverts an identity; its displacements change by some 0.3 per unit of length
at the most, so that this many leave less than a hundredth of a millimetre."""


class DisplacementModes(nn.Module):
    """Displacements of space that are linear in a code, as quadratic B-splines on a lattice; 0 outside its box.

    Args:
        low: Lower corner of the box.
        high: Upper corner.
        cells: Cells along x, y, z.
        modes: Length of the code.
    """

    rows: Tensor

    def __init__(self, low: Sequence[float], high: Sequence[float], cells: Sequence[int], modes: int) -> None:
        super().__init__()
        self.modes = modes
        self.lattice = FeatureGrid(low, high, cells, 3)
        del self.lattice.values  # each head has its own
        self.register_buffer("rows", torch.zeros(self.lattice.nodes, 3 * modes, dtype=torch.float16))

    def composed(self, code: Float[Tensor, " modes"]) -> Float[Tensor, "nodes 3"]:
        """Spline values of the displacement of a code."""
        if not code.any():
            return torch.zeros(len(self.rows), 3, dtype=code.dtype, device=code.device)
        return rows_times(self.rows.view(-1, self.modes), code).view(-1, 3)

    def at(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3 modes"]:
        """Displacements of all modes at points."""
        index, weight = self.lattice.taps(points)
        return weighted_sums(index, weight, self.rows).view(len(points), 3, self.modes)


class Deformation(nn.Module):
    """Deformations of space that take heads to the template.

    An identity w displaces points y of the template, x = y + Σ w_k F_k(y), as the vertices of a morphable model; it is
    inverted for each head. An expression e is undone after that, y' = y + Σ e_k E_k(y), by displacements of what is
    displaced already: where a mouth opens, space opens between the lips, and no displacement of the template can do
    that. All lengths are in canonical unit space.

    Args:
        identity: Arguments of the `DisplacementModes` F.
        expression: Arguments of the `DisplacementModes` E.
    """

    def __init__(self, identity: Mapping[str, Any], expression: Mapping[str, Any]) -> None:
        super().__init__()
        self.identity, self.expression = DisplacementModes(**identity), DisplacementModes(**expression)
        cells = [-(-int(n) // 2) for n in identity["cells"]]
        low = self.identity.lattice.low
        far = low + self.identity.lattice.cell * 2 * torch.tensor(cells)
        self.coarse = FeatureGrid(low.tolist(), far.tolist(), cells, 3)
        del self.coarse.values

    @property
    def modes(self) -> int:
        """Length of both codes together."""
        return self.identity.modes + self.expression.modes

    @torch.no_grad()
    def of(self, code: Float[Tensor, " modes"], *, coarse: bool = False) -> "HeadDeformation":
        """The deformation of one head.

        Args:
            code: w, then e.
            coarse: Whether the inverse of the identity is kept at half the resolution, which costs a fifth.
        """
        w, e = code.split([self.identity.modes, self.expression.modes])
        lattice = self.coarse if coarse else self.identity.lattice
        return HeadDeformation(
            self, lattice, _inverted(self.identity, w, lattice), self.expression.composed(e)
        )


def _inverted(
    modes: DisplacementModes, code: Float[Tensor, " modes"], lattice: FeatureGrid
) -> Float[Tensor, "nodes 3"]:
    """Spline values, on a lattice, of the displacement that undoes that of a code, by fixed-point iteration."""
    if not code.any():
        return torch.zeros(lattice.nodes, 3, dtype=code.dtype, device=code.device)
    forward = modes.composed(code)
    axes = lattice.cell_centres()
    centres = torch.cartesian_prod(*axes).to(code)
    displacement = torch.zeros_like(centres)
    for _ in range(INVERSION_STEPS):
        displacement = -modes.lattice.interpolated(centres + displacement, forward)
    channels = displacement.cpu().numpy().reshape(*map(len, axes), 3)
    splines = [torch.from_numpy(spline_values(channels[..., axis]).reshape(-1)) for axis in range(3)]
    return torch.stack(splines, dim=1).to(code)


@dataclass(frozen=True)
class HeadDeformation:
    """The deformation of one head to the template; no method keeps a graph.

    Attributes:
        deformation: The model that it is of.
        lattice: Lattice of the displacement that undoes the identity.
        without_identity: Spline values of the displacement that undoes the identity.
        without_expression: Spline values of the displacement that undoes the expression.
    """

    deformation: Deformation
    lattice: FeatureGrid
    without_identity: Float[Tensor, "nodes_i 3"]
    without_expression: Float[Tensor, "nodes_e 3"]

    @torch.no_grad()
    def to_template(
        self, points: Float[Tensor, "points 3"]
    ) -> tuple[Float[Tensor, "points 3"], Float[Tensor, "points 3"]]:
        """Points of the template for points of the head: without the identity, and without the expression too."""
        neutral = points + self.lattice.interpolated(points, self.without_identity)
        expression = self.deformation.expression.lattice
        return neutral, neutral + expression.interpolated(neutral, self.without_expression)

    @torch.no_grad()
    def pulled_back(
        self,
        points: Float[Tensor, "points 3"],
        neutral: Float[Tensor, "points 3"],
        gradient: Float[Tensor, "points 3"],
    ) -> Float[Tensor, "points 3"]:
        """Derivative by points of the head of a function of the template whose derivative there is `gradient`.

        Args:
            points: Points of the head.
            neutral: The same points without the identity.
            gradient: Derivative of the function by the point of the template.
        """
        expression = self.deformation.expression.lattice
        _, turned = expression.projected_gradient(neutral, self.without_expression, gradient)
        gradient = gradient + turned
        _, turned = self.lattice.projected_gradient(points, self.without_identity, gradient)
        return gradient + turned

    @torch.no_grad()
    def by_code(
        self,
        neutral: Float[Tensor, "points 3"],
        by_point: Float[Tensor, "points 3"],
        by_template: Float[Tensor, "points 3"],
    ) -> Float[Tensor, "points modes"]:
        """Derivative by the code, at a point of the head that stays, of a function of the template.

        A surface that moves with velocity v changes its level-set function by −∇f · v: so do identities, which move
        points of the head by F. Expressions move points of the template by E.

        Args:
            neutral: Points without the identity.
            by_point: Derivative of the function by the points of the head.
            by_template: Derivative of the function by the points of the template.
        """
        identity = -torch.einsum("ndk,nd->nk", self.deformation.identity.at(neutral), by_point)
        expression = torch.einsum("ndk,nd->nk", self.deformation.expression.at(neutral), by_template)
        return torch.cat([identity, expression], dim=1)
