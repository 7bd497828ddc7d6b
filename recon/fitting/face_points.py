"""A head against what faces of its shape model look like: face points that move with the code, their brightness and
its shading.

A change of the code moves the face points over the photograph, and it turns their normals, which changes how light
shades them: shape from shading, about a light that is found by least squares.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from recon.fitting.brightness import LIGHT_SIGMA, BrightnessModel
from recon.fitting.covisibility import LEAST_ROWS, visible
from recon.fitting.least_squares import robust, typical
from recon.fitting.observations import Pinhole, SolverSettings, ViewObservation
from recon.fitting.residuals import Layout, face_brightness
from recon.fitting.shading import explained, harmonics_gradient, marginalised
from recon.fitting.shape_model import Shape

TURN_MM = 4.0
"""Half the distance over which a normal is measured, about that between face points."""


@dataclass(frozen=True)
class Faces:
    """A head and its face points.

    Attributes:
        known: What faces of its shape model look like.
        head: The head.
        code: Its code.
        places: Of its face points, canonical unit space.
        gradient: Derivative of the signed distance there.
        settings: How much they count.
        unit_mm: Radius of the canonical ball.
    """

    known: BrightnessModel
    head: Shape
    code: Float[Tensor, " latent"]
    places: Float[Tensor, "face_points 3"]
    gradient: Float[Tensor, "face_points 3"]
    settings: SolverSettings
    unit_mm: float

    @classmethod
    def of(
        cls,
        known: BrightnessModel,
        head: Shape,
        code: Float[Tensor, " latent"],
        settings: SolverSettings,
        unit_mm: float,
    ) -> "Faces":
        """A head and its face points."""
        places = known.at(code)
        return cls(known, head, code, places, head.sdf_and_gradient(places)[1], settings, unit_mm)

    def against(
        self,
        view: ViewObservation,
        pinhole: Pinhole,
        index: int,
        blur_px: float,
        count: float,
        layout: Layout,
    ) -> tuple[Float[Tensor, " rows"], Float[Tensor, "rows unknowns"]] | None:
        """Weighted residuals of a photograph with their Jacobian, light and people's differences eliminated.

        Args:
            view: The photograph.
            pinhole: Its camera, canonical unit space.
            index: Its number.
            blur_px: Standard deviation of the blur, pixels of a picture 512 wide.
            count: As how many independent numbers all face points count.
            layout: Of the unknowns.

        Returns:
            None where the photograph does not show the face.
        """
        shown = visible(self.head, self.places, self.gradient, pinhole, view)
        if len(shown) < LEAST_ROWS:
            return None
        known = self.known
        pixels_per_unit = float(pinhole.intrinsics[0, 0] / (pinhole.centre - self.places.mean(0)).norm())
        level = known.level(blur_px * view.scale / pixels_per_unit)
        picture = view.blurred(float(known.blurs[level]) * pixels_per_unit)
        normals = normalize(self.gradient[shown], dim=1)
        rows, contrast = face_brightness(
            self.places[shown], normals, known.basis[shown], known.brightness(level, self.code)[shown],
            pinhole, index, picture, layout,
        )  # fmt: skip
        rows.jacobian[:, : layout.latent] -= known.brightness_by_code(level, shown)
        floor = known.sigma[level, shown].clamp_min(self.settings.colour_sigma)
        # A face point is not exactly where the code says, which matters where the photograph has edges.
        sigma = (
            floor.square() + (contrast * self.settings.face_point_sigma_mm / self.unit_mm).square()
        ).sqrt()
        nuisance = known.nuisance(level, shown, normals)
        weight, coefficients = self._weighed(rows.residual, nuisance, sigma, min(1.0, count / len(shown)))
        if self.settings.shading:
            rows.jacobian[:, : layout.latent] -= self._shading(shown, normals, LIGHT_SIGMA * coefficients[:9])
        return marginalised(rows.residual, rows.jacobian, nuisance, weight)

    def _weighed(
        self,
        residual: Float[Tensor, " rows"],
        nuisance: Float[Tensor, "rows columns"],
        sigma: Float[Tensor, " rows"],
        share: float,
    ) -> tuple[Float[Tensor, " rows"], Float[Tensor, " columns"]]:
        """Weights by how well residuals agree once light is explained, and what explains it."""
        weight = share / sigma**2
        coefficients = explained(residual, nuisance, weight)
        for _ in range(2):
            by_sigma = (residual - nuisance @ coefficients) / sigma
            beyond = max(1.0, typical(by_sigma))
            weight = share * robust(by_sigma / beyond) / (sigma * beyond) ** 2
            coefficients = explained(residual, nuisance, weight)
        return weight, coefficients

    def _shading(
        self, shown: Int[Tensor, " rows"], normals: Float[Tensor, "rows 3"], light: Float[Tensor, " 9"]
    ) -> Float[Tensor, "rows latent"]:
        """Derivative of the light on face points by the code."""
        points, basis = self.places[shown], self.known.basis[shown]
        by_normal = harmonics_gradient(normals, light)
        changes = torch.zeros_like(basis[:, 0])
        for tangent in tangents(normals):
            turn = turning(self.head, points, tangent, basis, TURN_MM / self.unit_mm)
            changes = changes + (by_normal * tangent).sum(1)[:, None] * turn
        return changes


def tangents(
    normals: Float[Tensor, "points 3"],
) -> tuple[Float[Tensor, "points 3"], Float[Tensor, "points 3"]]:
    """Two unit vectors orthogonal to each normal and to each other."""
    least = torch.nn.functional.one_hot(normals.abs().argmin(dim=1), 3).to(normals)
    first = normalize(torch.linalg.cross(normals, least), dim=1)
    return first, torch.linalg.cross(normals, first)


def turning(
    head: Shape,
    points: Float[Tensor, "points 3"],
    tangent: Float[Tensor, "points 3"],
    basis: Float[Tensor, "points 3 latent"],
    step: float,
) -> Float[Tensor, "points latent"]:
    """How fast normals turn along a tangent when the code changes and their points move with it.

    The derivative of t · ∇f is t · ∇(∂f/∂z) + t · ∇∇f · ∂x/∂z; both by central differences along the tangent, and
    |∇f| is taken to be 1.

    Args:
        head: The head.
        points: On its surface, canonical unit space.
        tangent: Unit vectors.
        basis: Derivative of the points by the code.
        step: Half the distance of the differences.
    """
    ahead, behind = points + step * tangent, points - step * tangent
    by_code = head.basis(ahead) - head.basis(behind)
    bending = head.sdf_and_gradient(ahead)[1] - head.sdf_and_gradient(behind)[1]
    return (by_code + torch.einsum("ni,nik->nk", bending, basis)) / (2 * step)
