"""Codes of given surfaces: the auto-decoder's inference, by Gauss–Newton in the code."""

import torch
from jaxtyping import Float
from torch import Tensor

from recon.priors.network import ShapeNetwork


def fit_code(
    network: ShapeNetwork,
    points: Float[Tensor, "points 3"],
    distances: Float[Tensor, " points"] | float = 0.0,
    *,
    sigma: float = 2e-3,
    steps: int = 8,
    start: Float[Tensor, " latent"] | None = None,
    chunk: int = 16_384,
) -> Float[Tensor, " latent"]:
    """The most probable code of a head: least squares over points with known distance, under a standard normal.

    Minimises Σ ρ((F(xᵢ; z) − dᵢ) / σ) + ‖z‖² with a Huber ρ; DeepSDF (section 4.3) descends the same kind of
    objective by Adam, in a hundred times as many steps.

    Args:
        network: The family.
        points: In canonical unit space.
        distances: Their signed distances; 0 for points on the surface.
        sigma: Standard deviation of a distance, points of a head being far from independent.
        steps: Of Gauss–Newton.
        start: First code; zero by default.
        chunk: Points at a time.
    """
    code = torch.zeros(network.latent_size) if start is None else start.detach().clone()
    code = code.to(points)
    wanted = torch.as_tensor(distances, dtype=points.dtype, device=points.device).expand(len(points))
    # The points of a head share their errors: about a thousand of them count as independent.
    share = min(1.0, 1000 / len(points))
    for _ in range(steps):
        normal = torch.eye(len(code), dtype=torch.float64, device=points.device)
        slope = code.double()
        for part, target in zip(points.split(chunk), wanted.split(chunk), strict=True):
            sdf, basis = network.latent_gradient(part, code)
            residual = (sdf - target).double() / sigma
            weight = share * (3.0 / residual.abs().clamp_min(3.0))
            basis = basis.double() / sigma
            normal += (basis * weight[:, None]).T @ basis
            slope = slope + basis.T @ (weight * residual)
        code = code - torch.linalg.solve(normal, slope).to(code.dtype)
    return code
