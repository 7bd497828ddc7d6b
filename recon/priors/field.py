"""The posed head of a shape model as the geometry of a scene."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from recon.fields import Field, FieldSample
from recon.priors.network import ShapeNetwork


class PriorField(Field):
    """F(T x; z) / |T| with a separate feature network: the geometry of H3D-Net (section 3, figure 2).

    T is the similarity from the scene's unit space to the prior's canonical unit space. It is an initial value and a
    small learned correction of it: rotation, translation and logarithm of the scale, all about the middle of the
    canonical ball.

    Args:
        shape: The shape model of heads.
        feature: Network Q of features at points of unit space.
        code: Initial z.
        canonical_from_unit: Initial T, a 4x4 similarity.
        learn_code: Whether z is a parameter; otherwise it is constant.
    """

    code: Tensor
    start: Tensor

    def __init__(
        self,
        shape: ShapeNetwork,
        feature: nn.Module,
        code: Float[Tensor, " latent"],
        canonical_from_unit: Float[np.ndarray, "4 4"],
        *,
        learn_code: bool = True,
    ) -> None:
        super().__init__()
        self.shape, self.feature = shape, feature
        if learn_code:
            self.code = nn.Parameter(code.detach().clone())
        else:
            self.register_buffer("code", code.detach().clone())
        self.register_buffer("start", torch.from_numpy(canonical_from_unit).float())
        self.correction = nn.Parameter(torch.zeros(7))

    def forward(self, points: Tensor) -> FieldSample:
        """Signed distance of the posed head, and the feature network's feature."""
        return FieldSample(self.sdf(points), self.feature(points))

    def sdf(self, points: Tensor) -> Tensor:
        """Signed distance of the posed head alone."""
        linear, offset = self.canonical_from_unit()
        scale = linear[0].norm()
        return self.shape(points @ linear.T + offset, self.code) / scale

    def canonical_from_unit(self) -> tuple[Float[Tensor, "3 3"], Float[Tensor, " 3"]]:
        """The present similarity: x ↦ linear @ x + offset."""
        turn, move, stretch = self.correction[:3], self.correction[3:6], self.correction[6]
        linear = stretch.exp() * (rotation(turn) @ self.start[:3, :3])
        offset = stretch.exp() * (rotation(turn) @ self.start[:3, 3]) + move
        return linear, offset

    def parameter_groups(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """The prior's network, its code, the pose, and the feature network."""
        groups = {
            "geometry": list(self.shape.parameters()),
            "appearance": list(self.feature.parameters()),
            "pose": [self.correction],
        }
        if isinstance(self.code, nn.Parameter):
            groups["code"] = [self.code]
        return groups


def rotation(vector: Float[Tensor, " 3"]) -> Float[Tensor, "3 3"]:
    """Rotation of the unit quaternion along (1, v / 2): for small v about v by its length in radians.

    Equal to I + (K + K² / 2) / (1 + ‖v‖² / 4), with K the matrix of the cross product with v.
    """
    eye = torch.eye(3, dtype=vector.dtype, device=vector.device)
    cross = torch.linalg.cross(eye, vector.expand(3, 3))
    return eye + (cross + cross @ cross / 2) / (1 + vector @ vector / 4)
