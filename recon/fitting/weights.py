"""How much residuals count by their own level."""

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
