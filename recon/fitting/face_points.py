"""The brightness term of a fit: face points of a head, which move with its code, against a photograph.

A change of the code moves the face points over the photograph, and it turns their normals, which changes their
shading: shape from shading, under a light that is found by least squares.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from recon.fitting.brightness import LIGHT_SIGMA, BrightnessModel
from recon.fitting.covisibility import LEAST_ROWS, visible
from recon.fitting.least_squares import geman_mcclure_weight, mad_sigma
from recon.fitting.observations import Pinhole, SolverSettings, ViewObservation
from recon.fitting.residuals import Layout, face_brightness
from recon.fitting.shading import harmonics_gradient, marginalised, nuisance_coefficients
from recon.fitting.shape_model import Shape

TURN_MM = 4.0
"""Half the distance over which the turn of a normal is measured, about that between face points."""


@dataclass(frozen=True)
class FaceBrightnessTerm:
    """The residuals of photographs against the expected brightness of the face points of one head.

    Attributes:
        model: Brightness model of the head's shape model.
        head: The head.
        code: Code of the head.
        places: Positions of its face points, canonical unit space.
        gradient: Derivative of the signed distance at the face points.
        settings: Settings of the solver.
        unit_mm: Radius of the canonical ball.
    """

    model: BrightnessModel
    head: Shape
    code: Float[Tensor, " latent"]
    places: Float[Tensor, "face_points 3"]
    gradient: Float[Tensor, "face_points 3"]
    settings: SolverSettings
    unit_mm: float

    @classmethod
    def from_code(
        cls,
        model: BrightnessModel,
        head: Shape,
        code: Float[Tensor, " latent"],
        settings: SolverSettings,
        unit_mm: float,
    ) -> "FaceBrightnessTerm":
        """Places the face points on the head of a code."""
        places = model.face_points(code)
        return cls(model, head, code, places, head.sdf_and_gradient(places)[1], settings, unit_mm)

    def linearised(
        self,
        view: ViewObservation,
        pinhole: Pinhole,
        index: int,
        blur_px: float,
        count: float,
        layout: Layout,
    ) -> tuple[Float[Tensor, " rows"], Float[Tensor, "rows unknowns"]] | None:
        """Weighted residuals of a photograph with their Jacobian; light and differences between people are eliminated.

        Args:
            view: The photograph.
            pinhole: Camera of the photograph, canonical unit space.
            index: Number of the photograph.
            blur_px: Standard deviation of the blur, pixels of a picture 512 wide.
            count: Number of independent residuals that all face points count for.
            layout: Positions of the unknowns.

        Returns:
            None where the photograph does not show the face.
        """
        shown = visible(self.head, self.places, self.gradient, pinhole, view)
        if len(shown) < LEAST_ROWS:
            return None
        model = self.model
        pixels_per_unit = float(pinhole.intrinsics[0, 0] / (pinhole.centre - self.places.mean(0)).norm())
        level = model.level(blur_px * view.scale / pixels_per_unit)
        picture = view.blurred(float(model.blurs[level]) * pixels_per_unit)
        normals = normalize(self.gradient[shown], dim=1)
        rows, contrast = face_brightness(
            self.places[shown], normals, model.basis[shown], model.brightness(level, self.code)[shown],
            pinhole, index, picture, layout,
        )  # fmt: skip
        rows.jacobian[:, : layout.latent] -= model.brightness_by_code(level, shown)
        floor = model.sigma[level, shown].clamp_min(self.settings.colour_sigma)
        # A face point is not exactly where the code says, which matters where the photograph has edges.
        sigma = (
            floor.square() + (contrast * self.settings.face_point_sigma_mm / self.unit_mm).square()
        ).sqrt()
        nuisance = model.nuisance(level, shown, normals)
        weight, coefficients = self._weights(rows.residual, nuisance, sigma, min(1.0, count / len(shown)))
        if self.settings.shading:
            rows.jacobian[:, : layout.latent] -= self._shading_by_code(
                shown, normals, LIGHT_SIGMA * coefficients[:9]
            )
        return marginalised(rows.residual, rows.jacobian, nuisance, weight)

    def _weights(
        self,
        residual: Float[Tensor, " rows"],
        nuisance: Float[Tensor, "rows columns"],
        sigma: Float[Tensor, " rows"],
        share: float,
    ) -> tuple[Float[Tensor, " rows"], Float[Tensor, " columns"]]:
        """Robust weights of residuals once light is explained, and the coefficients of the nuisance."""
        weight = share / sigma**2
        coefficients = nuisance_coefficients(residual, nuisance, weight)
        for _ in range(2):
            by_sigma = (residual - nuisance @ coefficients) / sigma
            scatter = max(1.0, mad_sigma(by_sigma))
            weight = share * geman_mcclure_weight(by_sigma / scatter) / (sigma * scatter) ** 2
            coefficients = nuisance_coefficients(residual, nuisance, weight)
        return weight, coefficients

    def _shading_by_code(
        self, shown: Int[Tensor, " rows"], normals: Float[Tensor, "rows 3"], light: Float[Tensor, " 9"]
    ) -> Float[Tensor, "rows latent"]:
        """Derivative of the shading of face points by the code."""
        points, basis = self.places[shown], self.model.basis[shown]
        by_normal = harmonics_gradient(normals, light)
        changes = torch.zeros_like(basis[:, 0])
        for tangent in tangents(normals):
            turn = normal_turn_rate(self.head, points, tangent, basis, TURN_MM / self.unit_mm)
            changes = changes + (by_normal * tangent).sum(1)[:, None] * turn
        return changes


def tangents(
    normals: Float[Tensor, "points 3"],
) -> tuple[Float[Tensor, "points 3"], Float[Tensor, "points 3"]]:
    """Two unit vectors orthogonal to each normal and to each other."""
    least = torch.nn.functional.one_hot(normals.abs().argmin(dim=1), 3).to(normals)
    first = normalize(torch.linalg.cross(normals, least), dim=1)
    return first, torch.linalg.cross(normals, first)


def normal_turn_rate(
    head: Shape,
    points: Float[Tensor, "points 3"],
    tangent: Float[Tensor, "points 3"],
    basis: Float[Tensor, "points 3 latent"],
    step: float,
) -> Float[Tensor, "points latent"]:
    """Derivative by the code of the turn of normals along a tangent, at points that move with the code.

    The derivative of t · ∇f is t · ∇(∂f/∂z) + t · ∇∇f · ∂x/∂z; both by central differences along the tangent, and
    |∇f| is taken to be 1.

    Args:
        head: The head.
        points: Points on its surface, canonical unit space.
        tangent: Unit tangent vectors.
        basis: Derivative of the points by the code.
        step: Half the distance of the differences.
    """
    ahead, behind = points + step * tangent, points - step * tangent
    by_code = head.basis(ahead) - head.basis(behind)
    gradient_change = head.sdf_and_gradient(ahead)[1] - head.sdf_and_gradient(behind)[1]
    return (by_code + torch.einsum("ni,nik->nk", gradient_change, basis)) / (2 * step)
