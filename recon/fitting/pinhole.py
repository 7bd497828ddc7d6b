"""Cameras in canonical unit space, as PyTorch tensors."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recon.scene import Camera


@dataclass(frozen=True)
class Pinhole:
    """A camera of canonical unit space; OpenCV axes, pixel centres at + 0.5.

    Attributes:
        intrinsics: 3x3, pixels.
        rotation: 3x3, canonical_from_camera.
        centre: Of projection, canonical unit space.
    """

    intrinsics: Float[Tensor, "3 3"]
    rotation: Float[Tensor, "3 3"]
    centre: Float[Tensor, " 3"]

    @classmethod
    def of(
        cls,
        camera: Camera,
        canonical_from_world: Float[np.ndarray, "4 4"],
        dtype: torch.dtype = torch.float32,
    ) -> "Pinhole":
        """A world camera seen from canonical unit space."""
        moved = camera.transformed(canonical_from_world)
        intrinsics, pose = torch.tensor(moved.intrinsics), torch.tensor(moved.world_from_camera)
        return cls(intrinsics.to(dtype), pose[:3, :3].to(dtype), pose[:3, 3].to(dtype))

    def directions(self, pixels: Float[Tensor, "rays 2"]) -> Float[Tensor, "rays 3"]:
        """Unit directions of the rays through pixels."""
        offset = pixels - self.intrinsics[:2, 2]
        y = offset[:, 1] / self.intrinsics[1, 1]
        x = (offset[:, 0] - self.intrinsics[0, 1] * y) / self.intrinsics[0, 0]
        local = torch.stack([x, y, torch.ones_like(x)], dim=1)
        return torch.nn.functional.normalize(local @ self.rotation.T, dim=1)

    def project(
        self, points: Float[Tensor, "points 3"]
    ) -> tuple[Float[Tensor, "points 2"], Float[Tensor, " points"]]:
        """Pixels and depths of points."""
        local = (points - self.centre) @ self.rotation
        pixels = local @ self.intrinsics.T
        return pixels[:, :2] / local[:, 2:], local[:, 2]

    def pixel_slope(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 2 3"]:
        """Derivative of the pixels of points by the points."""
        local = (points - self.centre) @ self.rotation
        pixels = local @ self.intrinsics.T
        x, depth = pixels[:, :2] / local[:, 2:], local[:, 2]
        by_local = (self.intrinsics[None, :2] - x[:, :, None] * self.intrinsics[None, 2:]) / depth[
            :, None, None
        ]
        return by_local @ self.rotation.T
