"""Normal equations, to which parts of a least squares add up."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


def typical(residual: Float[Tensor, " rows"]) -> float:
    """Standard deviation of residuals, of which some may be outliers."""
    return 1.48 * float(residual.abs().median())


def robust(residual: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """Geman and McClure's weights of residuals in standard deviations: what disagrees loses its say."""
    return 1.0 / (1.0 + (residual / 3.0) ** 2) ** 2


def robust_cost(residual: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """Geman and McClure's cost, whose weight is `robust`: r² near 0, 9 at most."""
    square = residual.square()
    return square / (1.0 + square / 9.0)


def huber(residual: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """Huber's weights of residuals in standard deviations: what disagrees keeps a constant pull."""
    return (2.0 / residual.abs().clamp_min(2.0)).clamp_max(1.0)


@dataclass(frozen=True)
class NormalEquations:
    """Of a sum of weighted squares ‖J δ + r‖², the matrix Jᵀ W J and the gradient Jᵀ W r, in double precision.

    Attributes:
        matrix: Symmetric.
        gradient: At δ = 0.
    """

    matrix: Float[Tensor, "unknowns unknowns"]
    gradient: Float[Tensor, " unknowns"]

    @classmethod
    def zero(cls, unknowns: int) -> "NormalEquations":
        """Those of no squares at all."""
        return cls(
            torch.zeros(unknowns, unknowns, dtype=torch.float64), torch.zeros(unknowns, dtype=torch.float64)
        )

    def add(
        self,
        residual: Float[Tensor, " rows"],
        jacobian: Float[Tensor, "rows unknowns"],
        weight: Float[Tensor, " rows"] | float = 1.0,
    ) -> None:
        """Adds squares, in place.

        Args:
            residual: r.
            jacobian: J.
            weight: Diagonal of W.
        """
        weighted = jacobian * (weight[:, None] if isinstance(weight, Tensor) else weight)
        self.matrix.add_((weighted.T @ jacobian).double())
        self.gradient.add_((weighted.T @ residual).double())

    def join(self, other: "NormalEquations") -> None:
        """Adds the squares of others, in place."""
        self.matrix.add_(other.matrix)
        self.gradient.add_(other.gradient)
