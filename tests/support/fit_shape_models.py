"""A shape model in closed form, a ball with a nose whose sizes are the code, and cameras that look at its heads."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from recon.fitting.brightness import BrightnessModel
from recon.scene import Camera

UNIT_MM = 330.0
SIZE = 160  # of photographs, pixels


@dataclass
class BallWithNose:
    """Ball of radius 0.35 (1 + 0.1 z₀) with a nose along z, 0.1 (1 + 0.2 z₁) in radius, a chin and a bun."""

    latent_size: int = 2
    brightness_model: BrightnessModel | None = None

    @property
    def coarse_level(self) -> "BallWithNose":
        return self

    def field(self, points: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        nose, chin, bun = torch.tensor([[0, 0, 0.36], [0, -0.22, 0.26], [0, 0.28, -0.3]]).to(points)
        balls = torch.stack(
            [
                points.norm(dim=1) - 0.35 * (1 + 0.1 * code[..., 0]),
                (points - nose).norm(dim=1) - 0.1 * (1 + 0.2 * code[..., 1]),
                (points - chin).norm(dim=1) - 0.12,
                (points - bun).norm(dim=1) - 0.14,
            ]
        )
        return -torch.logsumexp(-60.0 * balls, dim=0) / 60.0

    def shape_of(self, code: torch.Tensor) -> "Shape":
        return Shape(self, code)


@dataclass
class Shape:
    shape_model: BallWithNose
    code: torch.Tensor

    def sdf(self, points: torch.Tensor) -> torch.Tensor:
        return self.shape_model.field(points, self.code)

    def sdf_and_gradient(self, points):
        x = points.detach().requires_grad_(True)
        sdf = self.shape_model.field(x, self.code)
        return sdf.detach(), torch.autograd.grad(sdf.sum(), x)[0]

    def basis(self, points):
        codes = self.code.detach().expand(len(points), -1).clone().requires_grad_(True)
        return torch.autograd.grad(self.shape_model.field(points, codes).sum(), codes)[0]


def camera(azimuth_deg: float, centre: np.ndarray, distance_mm: float = 1200.0) -> Camera:
    """Looks at `centre` from an azimuth about the world's y axis; the world's y points down."""
    a = np.radians(azimuth_deg)
    back = np.array([np.sin(a), 0.0, -np.cos(a)])  # from the centre to the camera
    pose = np.eye(4)
    pose[:3, 2] = -back
    pose[:3, 1] = [0.0, 1.0, 0.0]
    pose[:3, 0] = np.cross(pose[:3, 1], pose[:3, 2])
    pose[:3, 3] = centre + distance_mm * back
    intrinsics = np.array([[500.0, 0, SIZE / 2], [0, 500.0, SIZE / 2], [0, 0, 1]])
    return Camera(intrinsics=intrinsics, world_from_camera=pose, width=SIZE, height=SIZE)


def placed(turn_deg: tuple[float, float, float], scale: float, centre: np.ndarray) -> np.ndarray:
    """canonical_from_world of a head that looks along the world's −z, turned, scaled and moved."""
    axes = Rotation.from_euler("yxz", turn_deg, degrees=True).as_matrix() @ np.diag([1.0, -1.0, -1.0])
    pose = np.eye(4)
    pose[:3, :3] = axes / (UNIT_MM * scale)
    pose[:3, 3] = -pose[:3, :3] @ centre
    return pose
