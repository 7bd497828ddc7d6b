"""Shading that differs between two photographs: spherical harmonics of the normal, eliminated from the residuals."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

SHADING_SIGMA = 0.5
"""Standard deviation of coefficients of shading, in the logarithm of light times √(4π) for a plain gain."""


def harmonics(normals: Float[Tensor, "points 3"]) -> Float[Tensor, "points 9"]:
    """Evaluates the real spherical harmonics of degree 0 to 2 at unit vectors, orthonormal on the sphere.

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


def harmonics_gradient(
    normals: Float[Tensor, "points 3"], light: Float[Tensor, " 9"]
) -> Float[Tensor, "points 3"]:
    """Derivative of `harmonics(n) @ light` by n, as polynomials; only its part along the sphere has a meaning.

    Args:
        normals: Unit vectors n.
        light: Coefficients.
    """
    x, y, z = normals.unbind(1)
    linear, product = math.sqrt(3 / (4 * math.pi)), math.sqrt(15 / (4 * math.pi))
    polar = 6 * math.sqrt(5 / (16 * math.pi))
    _, by_y, by_z, by_x, xy, yz, zz, xz, xx_yy = light
    return torch.stack(
        [
            linear * by_x + product * (xy * y + xz * z + xx_yy * x),
            linear * by_y + product * (xy * x + yz * z - xx_yy * y),
            linear * by_z + product * (yz * y + xz * x) + polar * zz * z,
        ],
        dim=1,
    )


def shading(normals: Float[Tensor, "points 3"]) -> Float[Tensor, "points 9"]:
    """Harmonics times the standard deviation of their coefficients, in the logarithm of light."""
    return SHADING_SIGMA * harmonics(normals)


def nuisance_coefficients(
    residual: Float[Tensor, " rows"],
    nuisance: Float[Tensor, "rows nuisances"],
    weight: Float[Tensor, " rows"],
) -> Float[Tensor, " nuisances"]:
    """Most probable coefficients of nuisance columns, under a standard normal prior, given residuals.

    Args:
        residual: Residuals to be explained.
        nuisance: Columns by which the residuals may differ, to be multiplied by the coefficients.
        weight: Weight of each row.
    """
    weighted = nuisance * weight[:, None]
    own = torch.eye(nuisance.shape[1], dtype=nuisance.dtype, device=nuisance.device)
    found: Tensor = torch.linalg.solve(weighted.T @ nuisance + own, weighted.T @ residual)
    return found


def marginalised(
    residual: Float[Tensor, " rows"],
    jacobian: Float[Tensor, "rows unknowns"],
    nuisance: Float[Tensor, "rows nuisances"],
    weight: Float[Tensor, " rows"],
) -> tuple[Float[Tensor, " rows+nuisances"], Float[Tensor, "rows+nuisances unknowns"]]:
    """Eliminates a nuisance such as shading from residuals and Jacobian, and multiplies both by the root of the weight.

    The coefficients have a standard normal prior and are eliminated exactly: afterwards ‖J δ + r‖² is the least value
    over them of the weighted squares plus the cost of that prior, whose rows are appended.

    Args:
        residual: Logarithms of ratios of brightness.
        jacobian: Derivatives of the residuals by the unknowns.
        nuisance: Columns by which the residuals may differ, to be multiplied by the coefficients.
        weight: Weight of each row.
    """
    root, count = weight.sqrt(), nuisance.shape[1]
    own = torch.eye(count, dtype=nuisance.dtype, device=nuisance.device)
    basis, _ = torch.linalg.qr(torch.cat([nuisance * root[:, None], own]))
    zeros = torch.zeros(count, jacobian.shape[1] + 1, dtype=nuisance.dtype, device=nuisance.device)
    rows = torch.cat([torch.cat([residual[:, None], jacobian], dim=1) * root[:, None], zeros])
    rows = rows - basis @ (basis.T @ rows)
    return rows[:, 0], rows[:, 1:]
