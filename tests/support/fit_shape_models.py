"""A shape model whose members are known in closed form: a ball with a nose, their sizes the code."""

from dataclasses import dataclass

import torch

from recon.fitting.brightness import BrightnessModel


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

    def at(self, code: torch.Tensor) -> "Shape":
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
