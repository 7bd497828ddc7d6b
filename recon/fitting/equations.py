"""Normal equations, to which parts of a least squares add up."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Equations:
    """Of a sum of weighted squares ‖J δ + r‖², the matrix Jᵀ W J and the gradient Jᵀ W r, in double precision.

    Attributes:
        matrix: Symmetric.
        gradient: At δ = 0.
    """

    matrix: Float[Tensor, "unknowns unknowns"]
    gradient: Float[Tensor, " unknowns"]

    @classmethod
    def zero(cls, unknowns: int) -> "Equations":
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

    def join(self, other: "Equations") -> None:
        """Adds the squares of others, in place."""
        self.matrix.add_(other.matrix)
        self.gradient.add_(other.gradient)
