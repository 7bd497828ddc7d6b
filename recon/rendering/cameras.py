"""The cameras of a scene as tensors in unit space, fixed or refined while training."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recon.scene import Camera


class CameraBundle(nn.Module):
    """The poses (unit quaternion and centre) and intrinsics of some views, in unit space.

    These seven numbers a view are those by which IDR (section 3.2) refines poses; intrinsics are not refined.

    Args:
        cameras: cameras in world space.
        world_from_unit: 4x4 similarity, the scene's `scale_mat`.
        refine: make quaternions and centres parameters.
    """

    quaternions: Tensor
    centres: Tensor
    camera_from_pixel: Tensor

    def __init__(
        self, cameras: Sequence[Camera], world_from_unit: Float[np.ndarray, "4 4"], *, refine: bool = False
    ) -> None:
        super().__init__()
        in_unit = [camera.transformed(np.linalg.inv(world_from_unit)) for camera in cameras]
        poses = torch.from_numpy(np.stack([camera.world_from_camera for camera in in_unit]))
        intrinsics = torch.from_numpy(np.stack([camera.intrinsics for camera in in_unit]))
        quaternions = quaternion_from_rotation(poses[:, :3, :3]).float()
        centres = poses[:, :3, 3].float()
        if refine:
            self.quaternions, self.centres = nn.Parameter(quaternions), nn.Parameter(centres)
        else:
            self.register_buffer("quaternions", quaternions)
            self.register_buffer("centres", centres)
        self.register_buffer("camera_from_pixel", torch.linalg.inv(intrinsics).float())

    def rotations(self) -> Float[Tensor, "views 3 3"]:
        """Rotations from camera to unit space, differentiable with respect to the quaternions."""
        return rotation_from_quaternion(self.quaternions)

    def rays(
        self, views: Int[Tensor, " rays"], pixels: Float[Tensor, "rays 2"]
    ) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, "rays 3"]]:
        """Origins and unit directions, in unit space, of the rays through pixels.

        Args:
            views: index of each ray's view among the bundle's cameras.
            pixels: (x, y) in pixels; the centre of the first pixel is (0.5, 0.5).
        """
        homogeneous = torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=1)
        in_camera = (self.camera_from_pixel[views] @ homogeneous[:, :, None])[:, :, 0]
        rotations = self.rotations()[views]
        directions = (rotations @ in_camera[:, :, None])[:, :, 0]
        return self.centres[views], nn.functional.normalize(directions, dim=1)


def rotation_from_quaternion(quaternion: Float[Tensor, "views 4"]) -> Float[Tensor, "views 3 3"]:
    """Rotation matrices of quaternions (w, x, y, z), which are normalised first; differentiable."""
    w, x, y, z = nn.functional.normalize(quaternion, dim=1).unbind(1)
    rows = (
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=1),
    )
    return torch.stack(rows, dim=1)


def quaternion_from_rotation(rotation: Float[Tensor, "views 3 3"]) -> Float[Tensor, "views 4"]:
    """Unit quaternions (w, x, y, z) of proper rotations.

    The quaternion is the eigenvector of largest eigenvalue of the symmetric 4x4 matrix of Bar-Itzhack (2000):
    stable at every angle.
    """
    r = rotation
    trace = r[:, 0, 0] + r[:, 1, 1] + r[:, 2, 2]
    skew = torch.stack([r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]], dim=1)
    k = torch.zeros(len(r), 4, 4, dtype=r.dtype, device=r.device)
    k[:, 0, 0] = trace
    k[:, 0, 1:] = k[:, 1:, 0] = skew
    k[:, 1:, 1:] = r + r.transpose(1, 2) - trace[:, None, None] * torch.eye(3, dtype=r.dtype, device=r.device)
    return torch.linalg.eigh(k).eigenvectors[:, :, -1]
