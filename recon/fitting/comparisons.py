"""Outlines and co-visible pixels of photographs against a head with a small SDF offset, with derivatives by the
signed distance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from recon.fitting.covisibility import LEAST_ROWS, covisible_hits, neighbours
from recon.fitting.least_squares import geman_mcclure_weight, mad_sigma
from recon.fitting.observations import LogPicture, Pinhole, SolverSettings, ViewObservation
from recon.fitting.residuals import Layout, photometric, silhouette
from recon.fitting.shading import harmonics
from recon.fitting.shape_model import OffsetShape, Shape
from recon.fitting.tracing import CLOSE, closest_approach, newton_along_rays, trace

NEWTON = 2
FURTHEST = 0.015
"""Number of Newton steps along a ray to a surface that moved a little, and the longest step, canonical unit: 5 mm."""


@dataclass(frozen=True)
class CovisiblePixels:
    """Pixels of one photograph that are compared, with its mask's outline or with a second photograph.

    Attributes:
        first: Number of the photograph.
        second: Number of the second photograph; None for the outline.
        pixels: Pixels, or points of the outline.
        points: Intersections of their rays with the head, or points of closest approach, canonical unit space.
        share: Weight of each pixel, before robust weights.
    """

    first: int
    second: int | None
    pixels: Float[Tensor, "rows 2"]
    points: Float[Tensor, "rows 3"]
    share: Float[Tensor, " rows"]


@dataclass(frozen=True)
class Comparison:
    """Residuals of a set of co-visible pixels against a head.

    Attributes:
        residual: Values of the residuals: canonical unit, or logarithm of luminance.
        by_field: Derivatives of the residuals by the signed distance at `points`.
        points: Surface point that each residual depends on, canonical unit space.
        shade: Columns of shading by which the residuals may differ; no columns for outlines.
        share: Weight of each residual, before robust weights.
        floor: Smallest standard deviation of the residuals.
    """

    residual: Float[Tensor, " rows"]
    by_field: Float[Tensor, " rows"]
    points: Float[Tensor, "rows 3"]
    shade: Float[Tensor, "rows shades"]
    share: Float[Tensor, " rows"]
    floor: float


@dataclass(frozen=True)
class Photographs:
    """The photographs that heads are compared with.

    Attributes:
        views: The photographs.
        pinholes: Cameras of the photographs, canonical unit space.
        unit_mm: Radius of the canonical ball.
        settings: Settings of the solver.
    """

    views: Sequence[ViewObservation]
    pinholes: Sequence[Pinhole]
    unit_mm: float
    settings: SolverSettings

    def covisible_pixels(self, head: Shape, lowest: float) -> list[CovisiblePixels]:
        """Finds what can be compared of a head: outlines, and pixels that neighbouring photographs both show.

        Args:
            head: The head.
            lowest: Points with a smaller y, canonical unit space, are left out.
        """
        found = [self._outline(head, i, lowest) for i in range(len(self.views)) if len(self.views[i].outline)]
        if not self.settings.photometric:
            return found
        for i, others in neighbours(self.pinholes, self.settings.pair_angle_deg).items():
            pixels, pinhole = self.views[i].pixels, self.pinholes[i]
            traced = trace(head, pinhole.centre.expand(len(pixels), 3), pinhole.directions(pixels))
            above = traced.points[:, 1] > lowest
            hits = traced.select(above)
            count = min(1.0, self.settings.pixel_count / max(len(hits.rays), 1)) / len(others)
            for j in others:
                kept, facing = covisible_hits(head, hits, pinhole, self.pinholes[j], self.views[j])
                if len(kept) >= LEAST_ROWS:
                    found.append(
                        CovisiblePixels(i, j, pixels[hits.rays[kept]], hits.points[kept], facing * count)
                    )
        return found

    def compared(
        self, head: OffsetShape, covisible_pixels: Sequence[CovisiblePixels], blur_px: float
    ) -> list[Comparison]:
        """Residuals of every set of co-visible pixels against a head with a small offset from the one they were found
        with.

        Args:
            head: The head.
            covisible_pixels: Pixels to compare.
            blur_px: Standard deviation of the photographs' blur, pixels of a picture 512 wide.
        """
        pictures = [view.blurred(blur_px * view.scale) for view in self.views]
        return [
            self._compared_outline(head, covisible)
            if covisible.second is None
            else self._compared_pair(head, covisible, (covisible.first, covisible.second), pictures)
            for covisible in covisible_pixels
        ]

    def _outline(self, head: Shape, i: int, lowest: float) -> CovisiblePixels:
        pixels, pinhole = self.views[i].outline, self.pinholes[i]
        directions = pinhole.directions(pixels)
        points = closest_approach(head, pinhole.centre.expand_as(directions), directions)
        above = points[:, 1] > lowest
        share = torch.full((len(pixels),), min(1.0, self.settings.outline_count / len(pixels)))
        return CovisiblePixels(i, None, pixels[above], points[above], share[above])

    def _compared_outline(self, head: OffsetShape, covisible: CovisiblePixels) -> Comparison:
        layout = Layout(1, len(self.views))
        rows = silhouette(head, self.pinholes[covisible.first], covisible.first, covisible.pixels, layout)
        none = torch.zeros(len(covisible.pixels), 0)
        floor = self.settings.outline_sigma_mm / self.unit_mm
        return Comparison(rows.residual, rows.jacobian[:, 0], rows.points, none, covisible.share, floor)

    def _compared_pair(
        self,
        head: OffsetShape,
        covisible: CovisiblePixels,
        pair: tuple[int, int],
        pictures: Sequence[LogPicture],
    ) -> Comparison:
        first, second = (self.pinholes[k] for k in pair)
        ray = normalize(covisible.points - first.centre, dim=1)
        hits = newton_along_rays(head, covisible.points, ray, NEWTON, FURTHEST)
        values, _ = pictures[pair[0]].sample(covisible.pixels)
        layout = Layout(1, len(self.views))
        rows = photometric(head, hits, values, (first, second), pair, pictures[pair[1]], layout)
        shade = harmonics(rows.normals)[:, : 9 if self.settings.shading else 1]
        share = covisible.share * (hits.sdf.abs() < CLOSE)
        return Comparison(
            rows.residual, rows.jacobian[:, 0], rows.points, shade, share, self.settings.colour_sigma
        )


def without_shading(rows: Comparison, fitted: Tensor) -> Float[Tensor, " rows"]:
    """Removes from residuals what shading explains.

    Args:
        rows: The residuals.
        fitted: Whether a residual is used to find the shading.
    """
    if rows.shade.shape[1] == 0 or not fitted.any():
        return rows.residual
    identity = torch.eye(rows.shade.shape[1])
    gain = rows.residual[fitted].median()
    left = rows.residual - gain
    for _ in range(3):
        level = max(rows.floor / 2, mad_sigma(left[fitted]))
        weight = rows.share * geman_mcclure_weight(left / level) * fitted
        part = rows.shade * weight[:, None]
        matrix = part.T @ rows.shade + 1e-3 * weight.sum() * identity + 1e-12 * identity
        found = torch.linalg.solve(matrix, part.T @ (rows.residual - gain))
        left = rows.residual - gain - rows.shade @ found
    return left
