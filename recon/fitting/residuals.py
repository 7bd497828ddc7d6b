"""Residuals of photographs against a posed head, each with its Jacobian.

The unknowns are small changes, in canonical unit space:

- δz of the code;
- a similarity of everything but the head, x ↦ x + ω × x + t + s x, which moves cameras and their rays;
- for each camera a turn ω about its centre and a shift τ of it, so that points p of its rays move by
  τ + ω × (p − centre).

A surface point on a ray moves along the ray by δt = −δf / (∇f · d) when the signed distance at it changes by δf
(the implicit differentiation of IDR, section 3.1); every residual below follows from this.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recon.fitting.observations import LogPicture, Pinhole
from recon.fitting.shape_model import Shape
from recon.fitting.tracing import Hits, nearest_pass


@dataclass(frozen=True)
class Layout:
    """Where each unknown stands in the vector of all.

    Attributes:
        latent: Components of the code that are free.
        cameras: Number of cameras.
    """

    latent: int
    cameras: int

    @property
    def size(self) -> int:
        """Length of the vector."""
        return self.latent + 7 + 6 * self.cameras

    @property
    def similarity(self) -> slice:
        """Rotation, translation, logarithm of the scale."""
        return slice(self.latent, self.latent + 7)

    def camera(self, index: int) -> slice:
        """Turn and shift of a camera."""
        start = self.latent + 7 + 6 * index
        return slice(start, start + 6)


@dataclass(frozen=True)
class Rows:
    """Some residuals.

    Attributes:
        residual: Their values.
        jacobian: Their derivatives by the unknowns.
        points: Where each touches the head, canonical unit space.
        normals: Unit normals there.
    """

    residual: Float[Tensor, " rows"]
    jacobian: Float[Tensor, "rows unknowns"]
    points: Float[Tensor, "rows 3"]
    normals: Float[Tensor, "rows 3"]


@dataclass(frozen=True)
class MarkedLandmarks:
    """Landmarks that are marked in one photograph.

    Attributes:
        places: Those of the mean head, canonical unit space.
        basis: How they move with the code.
        pixels: Where the photograph has them.
    """

    places: Float[Tensor, "face_points 3"]
    basis: Float[Tensor, "face_points 3 latent"]
    pixels: Float[Tensor, "face_points 2"]

    def at(self, code: Float[Tensor, " latent"]) -> Float[Tensor, "face_points 3"]:
        """Where they are on the head of a code, canonical unit space."""
        return self.places + self.basis @ code


def silhouette(
    head: Shape,
    camera: Pinhole,
    index: int,
    pixels: Float[Tensor, "rays 2"],
    layout: Layout,
) -> Rows:
    """Signed distance, canonical unit space, where the rays through a mask's outline pass nearest to the head: 0 if
    the outlines agree. At the nearest point the gradient along the ray is 0, so only the change of f at it counts.
    """
    directions = camera.directions(pixels)
    points = nearest_pass(head, camera.centre.expand_as(directions), directions)
    sdf, gradient = head.sdf_and_gradient(points)
    jacobian = torch.zeros(len(pixels), layout.size, dtype=points.dtype, device=points.device)
    jacobian[:, : layout.latent] = head.basis(points)[:, : layout.latent]
    jacobian[:, layout.similarity] = similarity_jacobian(points, gradient, (gradient * points).sum(1) - sdf)
    jacobian[:, layout.camera(index)] = _turn_and_shift(points - camera.centre, gradient)
    return Rows(sdf, jacobian, points, torch.nn.functional.normalize(gradient, dim=1))


def photometric(
    head: Shape,
    hits: Hits,
    values: Float[Tensor, " hits"],
    cameras: tuple[Pinhole, Pinhole],
    indices: tuple[int, int],
    picture: LogPicture,
    layout: Layout,
) -> Rows:
    """How much brighter, as a logarithm, a second photograph is than the first where both show the same point.

    Args:
        head: The head.
        hits: Where rays of the first camera meet it.
        values: The first photograph's logarithm of luminance at these rays.
        cameras: First and second.
        indices: Their numbers.
        picture: The second photograph.
        layout: Of the unknowns.
    """
    first, second = cameras
    points, gradient = hits.points, hits.gradient
    pixels, _ = second.project(points)
    seen, by_pixel = picture.sample(pixels)
    by_point = torch.einsum("ni,nij->nj", by_pixel, second.pixel_gradient(points))
    ray = torch.nn.functional.normalize(points - first.centre, dim=1)
    along = -1.0 / (gradient * ray).sum(1).clamp_max(-0.05)  # δt / δf
    by_field = along * (by_point * ray).sum(1)  # by the signed distance at the point

    jacobian = torch.zeros(len(points), layout.size, dtype=points.dtype, device=points.device)
    jacobian[:, : layout.latent] = by_field[:, None] * head.basis(points)[:, : layout.latent]
    jacobian[:, layout.similarity] = by_field[:, None] * similarity_jacobian(
        points, gradient, (gradient * points).sum(1)
    )
    carried = by_point + by_field[:, None] * gradient  # by a shift that the first camera carries along
    jacobian[:, layout.camera(indices[0])] += _turn_and_shift(points - first.centre, carried)
    jacobian[:, layout.camera(indices[1])] -= _turn_and_shift(points - second.centre, by_point)
    return Rows(seen - values, jacobian, points, torch.nn.functional.normalize(gradient, dim=1))


def landmarks(
    places: Float[Tensor, "face_points 3"],
    basis: Float[Tensor, "face_points 3 latent"],
    camera: Pinhole,
    index: int,
    pixels: Float[Tensor, "face_points 2"],
    layout: Layout,
) -> Rows:
    """Distances in pixels, x of all face points and then y, between the head's landmarks and where a photograph has
    them.

    Args:
        places: The landmarks of the head, canonical unit space.
        basis: Their derivative by the code.
        camera: Of the photograph.
        index: Its number.
        pixels: Where the photograph has them.
        layout: Of the unknowns.
    """
    shown, _ = camera.project(places)
    by_point = camera.pixel_gradient(places).transpose(0, 1).reshape(-1, 3)
    both = places.repeat(2, 1)
    jacobian = carried(both, by_point, basis.repeat(2, 1, 1), camera, index, layout)
    return Rows((shown - pixels).T.flatten(), jacobian, both, torch.zeros_like(both))


def face_brightness(
    points: Float[Tensor, "face_points 3"],
    normals: Float[Tensor, "face_points 3"],
    basis: Float[Tensor, "face_points 3 latent"],
    predicted: Float[Tensor, " face_points"],
    camera: Pinhole,
    index: int,
    picture: LogPicture,
    layout: Layout,
) -> tuple[Rows, Float[Tensor, " face_points"]]:
    """How much brighter, as a logarithm, a photograph shows points of a face than they are expected to be.

    Args:
        points: Of the head, canonical unit space.
        normals: Unit normals there.
        basis: Derivative of the points by the code.
        predicted: Their brightness, as the brightness model has it.
        camera: Of the photograph.
        index: Its number.
        picture: The photograph's logarithm of luminance.
        layout: Of the unknowns.

    Returns:
        The residuals, and for each how fast the photograph changes with the place of the point, per canonical unit.
    """
    pixels, _ = camera.project(points)
    seen, by_pixel = picture.sample(pixels)
    by_point = torch.einsum("ni,nij->nj", by_pixel, camera.pixel_gradient(points))
    rows = Rows(seen - predicted, carried(points, by_point, basis, camera, index, layout), points, normals)
    return rows, by_point.norm(dim=1)


def carried(
    points: Float[Tensor, "rows 3"],
    by_point: Float[Tensor, "rows 3"],
    basis: Float[Tensor, "rows 3 latent"],
    camera: Pinhole,
    index: int,
    layout: Layout,
) -> Float[Tensor, "rows unknowns"]:
    """Derivative by the unknowns of what a camera shows of points that the head carries along.

    Args:
        points: Of the head, canonical unit space.
        by_point: Derivative of each row by its point.
        basis: Derivative of the points by the code.
        camera: The camera.
        index: Its number.
        layout: Of the unknowns.
    """
    jacobian = torch.zeros(len(points), layout.size, dtype=points.dtype, device=points.device)
    jacobian[:, : layout.latent] = torch.einsum("ni,nik->nk", by_point, basis[..., : layout.latent])
    jacobian[:, layout.similarity] = -similarity_jacobian(points, by_point, (by_point * points).sum(1))
    jacobian[:, layout.camera(index)] = -_turn_and_shift(points - camera.centre, by_point)
    return jacobian


def similarity_jacobian(
    points: Float[Tensor, "rows 3"], gradient: Float[Tensor, "rows 3"], stretch: Float[Tensor, " rows"]
) -> Float[Tensor, "rows 7"]:
    """Of gradient · (ω × x + t) + s stretch, the derivative by ω, t and s."""
    return torch.cat([torch.linalg.cross(points, gradient), gradient, stretch[:, None]], dim=1)


def _turn_and_shift(
    arm: Float[Tensor, "rows 3"], gradient: Float[Tensor, "rows 3"]
) -> Float[Tensor, "rows 6"]:
    """Of gradient · (ω × arm + τ), the derivative by ω and τ."""
    return torch.cat([torch.linalg.cross(arm, gradient), gradient], dim=1)
