"""Robust weights of residuals, and normal equations to which the terms of a least squares add up."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


def mad_sigma(residual: Float[Tensor, " rows"]) -> float:
    """Standard deviation of residuals by their median absolute deviation, which a few outliers do not change."""
    return 1.48 * float(residual.abs().median())


def geman_mcclure_weight(residual: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """Weights of Geman and McClure for residuals in standard deviations; those of outliers go to zero."""
    return 1.0 / (1.0 + (residual / 3.0) ** 2) ** 2


def geman_mcclure_cost(residual: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """Cost of Geman and McClure, whose weight is `geman_mcclure_weight`: r² near 0, 9 at most."""
    square = residual.square()
    return square / (1.0 + square / 9.0)


def huber_weight(residual: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """Weights of Huber for residuals in standard deviations; an outlier keeps a constant gradient."""
    return (2.0 / residual.abs().clamp_min(2.0)).clamp_max(1.0)


@dataclass(frozen=True)
class NormalEquations:
    """The matrix Jᵀ W J and the gradient Jᵀ W r of a sum of weighted squares ‖J δ + r‖², in double precision.

    Attributes:
        matrix: Jᵀ W J, symmetric.
        gradient: Jᵀ W r, half the derivative of the sum at δ = 0.
    """

    matrix: Float[Tensor, "unknowns unknowns"]
    gradient: Float[Tensor, " unknowns"]

    @classmethod
    def zero(cls, unknowns: int) -> "NormalEquations":
        """Normal equations without any residual."""
        return cls(
            torch.zeros(unknowns, unknowns, dtype=torch.float64), torch.zeros(unknowns, dtype=torch.float64)
        )

    def add(
        self,
        residual: Float[Tensor, " rows"],
        jacobian: Float[Tensor, "rows unknowns"],
        weight: Float[Tensor, " rows"] | float = 1.0,
    ) -> None:
        """Adds weighted residuals, in place.

        Args:
            residual: Values r.
            jacobian: Derivatives J of the residuals by the unknowns.
            weight: Diagonal of W.
        """
        weighted = jacobian * (weight[:, None] if isinstance(weight, Tensor) else weight)
        self.matrix.add_((weighted.T @ jacobian).double())
        self.gradient.add_((weighted.T @ residual).double())

    def join(self, other: "NormalEquations") -> None:
        """Adds the residuals of other normal equations, in place."""
        self.matrix.add_(other.matrix)
        self.gradient.add_(other.gradient)
