"""What a fit asks of a family of heads."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Family(Protocol):
    """Heads by a code whose prior is a standard normal, in a canonical unit space; `recon.priors.Heads` is one.

    Attributes:
        latent_size: Length of the code.
    """

    latent_size: int

    def sdf(
        self, points: Float[Tensor, "points 3"], code: Float[Tensor, " latent"]
    ) -> Float[Tensor, " points"]:
        """Signed distance at points, without a graph."""
        ...

    def linearise(
        self, points: Float[Tensor, "points 3"], code: Float[Tensor, " latent"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 3"], Float[Tensor, "points latent"]]:
        """Signed distance at points with its derivatives by the point and by the code, without a graph."""
        ...
