"""Shading that differs between two photographs: spherical harmonics of the normal, taken out of the residuals."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def harmonics(normals: Float[Tensor, "points 3"]) -> Float[Tensor, "points 9"]:
    """Real spherical harmonics of degree 0 to 2 at unit vectors, orthonormal on the sphere.

    They span irradiance under any distant light to about 1 % (Ramamoorthi and Hanrahan, 2001, equation 3).
    """
    x, y, z = normals.unbind(1)
    flat = math.sqrt(1 / (4 * math.pi)) * torch.ones_like(x)
    linear, product = math.sqrt(3 / (4 * math.pi)), math.sqrt(15 / (4 * math.pi))
    return torch.stack(
        [
            flat,
            linear * y,
            linear * z,
            linear * x,
            product * x * y,
            product * y * z,
            math.sqrt(5 / (16 * math.pi)) * (3 * z * z - 1),
            product * x * z,
            product / 2 * (x * x - y * y),
        ],
        dim=1,
    )


def marginalised(
    residual: Float[Tensor, " rows"],
    jacobian: Float[Tensor, "rows unknowns"],
    normals: Float[Tensor, "rows 3"],
    weight: Float[Tensor, " rows"],
    sigma: float = 0.5,
) -> tuple[Float[Tensor, " rows+9"], Float[Tensor, "rows+9 unknowns"]]:
    """Residuals and Jacobian, both times the root of the weight, without what nine coefficients of shading explain.

    The coefficients have a normal prior and are eliminated from the least squares exactly: afterwards
    ‖J δ + r‖² is the least value over them of the weighted squares plus their prior. (The nine rows appended are
    what their prior costs.)

    Args:
        residual: Logarithms of the ratio of two photographs.
        jacobian: Their derivatives.
        normals: Unit normals.
        weight: Of each row.
        sigma: Standard deviation of the coefficients, in the logarithm of light times √(4π) for a plain gain.
    """
    root = weight.sqrt()
    shade = harmonics(normals) * root[:, None]
    nine = torch.eye(9, dtype=shade.dtype, device=shade.device) / sigma
    basis, _ = torch.linalg.qr(torch.cat([shade, nine]))
    zeros = torch.zeros(9, jacobian.shape[1] + 1, dtype=shade.dtype, device=shade.device)
    rows = torch.cat([torch.cat([residual[:, None], jacobian], dim=1) * root[:, None], zeros])
    rows = rows - basis @ (basis.T @ rows)
    return rows[:, 0], rows[:, 1:]
