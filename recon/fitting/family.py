"""What a fit asks of a family of heads."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from recon.fitting.likeness import Likeness


@runtime_checkable
class Member(Protocol):
    """One head of a family, in canonical unit space; nothing here keeps a graph."""

    def sdf(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Signed distance at points."""
        ...

    def slope(
        self, points: Float[Tensor, "points 3"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]]:
        """Signed distance at points with its derivative by the point."""
        ...

    def basis(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points latent"]:
        """Derivative of the signed distance at points by the code."""
        ...


@runtime_checkable
class Family(Protocol):
    """Heads by a code whose prior is a standard normal, in a canonical unit space.

    Attributes:
        latent_size: Length of the code.
    """

    latent_size: int

    @property
    def likeness(self) -> Likeness | None:
        """What photographs of its faces look like, where that is known."""
        ...

    @property
    def rough(self) -> "Family":
        """Nearly the same family with the same code, cheaper; what a fit may begin with. Itself if there is none."""
        ...

    def at(self, code: Float[Tensor, " latent"]) -> Member:
        """The head of a code; what can be computed once for all points is computed here."""
        ...
