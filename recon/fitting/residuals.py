"""Residuals of photographs against a posed head, each with its Jacobian.

The unknowns are small changes, in canonical unit space:

- δz of the code;
- a similarity of everything but the head, x ↦ x + ω × x + t + s x, which moves cameras and their rays;
- for each camera a turn ω about its centre and a shift τ of it, so that points p of its rays move by
  τ + ω × (p − centre);
- for groups of cameras a logarithm of their focal length, where it is not known: a longer one narrows the rays, and
  takes the camera so much further back along its axis that the head's middle keeps its size (dolly zoom).

A surface point on a ray moves along the ray by δt = −δf / (∇f · d) when the signed distance at it changes by δf
(the implicit differentiation of IDR, section 3.1); every residual below follows from this.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor

from recon.fitting.observations import LogPicture, Pinhole
from recon.fitting.shape_model import Shape
from recon.fitting.tracing import Hits, closest_approach


@dataclass(frozen=True)
class Layout:
    """Positions of the unknowns in the vector of all of them.

    Attributes:
        latent: Number of free components of the code.
        cameras: Number of cameras.
        focal_groups: For each camera the number of its group, whose focal length is an unknown, or None where that is
            known; empty where all are.
    """

    latent: int
    cameras: int
    focal_groups: tuple[int | None, ...] = ()

    @property
    def size(self) -> int:
        """Length of the vector of unknowns."""
        return self.latent + 7 + 6 * self.cameras + self.groups

    @property
    def groups(self) -> int:
        """Number of focal lengths that are unknown."""
        return 1 + max((group for group in self.focal_groups if group is not None), default=-1)

    @property
    def focals(self) -> slice:
        """Positions of the logarithms of all unknown focal lengths."""
        return slice(self.size - self.groups, self.size)

    def focal(self, index: int) -> int | None:
        """Position of the logarithm of the focal length of a camera; None where it is known."""
        group = self.focal_groups[index] if self.focal_groups else None
        return None if group is None else self.focals.start + group

    @property
    def similarity(self) -> slice:
        """Positions of rotation, translation and logarithm of the scale."""
        return slice(self.latent, self.latent + 7)

    def camera(self, index: int) -> slice:
        """Positions of the turn and shift of a camera."""
        start = self.latent + 7 + 6 * index
        return slice(start, start + 6)


@dataclass(frozen=True)
class Rows:
    """Residuals with their Jacobian.

    Attributes:
        residual: Values of the residuals.
        jacobian: Derivatives of the residuals by the unknowns.
        points: Surface point that each residual depends on, canonical unit space.
        normals: Unit normals at these points.
    """

    residual: Float[Tensor, " rows"]
    jacobian: Float[Tensor, "rows unknowns"]
    points: Float[Tensor, "rows 3"]
    normals: Float[Tensor, "rows 3"]


@dataclass(frozen=True)
class MarkedLandmarks:
    """Landmarks that are marked in one photograph.

    Attributes:
        places: Positions of the landmarks of the mean head, canonical unit space.
        basis: Derivative of the positions by the code.
        pixels: Pixels (x, y) of the landmarks in the photograph.
    """

    places: Float[Tensor, "landmarks 3"]
    basis: Float[Tensor, "landmarks 3 latent"]
    pixels: Float[Tensor, "landmarks 2"]

    def positions(self, code: Float[Tensor, " latent"]) -> Float[Tensor, "landmarks 3"]:
        """Positions of the landmarks on the head of a code, canonical unit space."""
        return self.places + self.basis @ code


def silhouette(
    head: Shape,
    camera: Pinhole,
    index: int,
    pixels: Float[Tensor, "rays 2"],
    layout: Layout,
) -> Rows:
    """Silhouette residuals: the signed distance, canonical unit, at the closest approach of rays through the outline of
    a mask, which is 0 if the outlines agree. There the derivative along the ray is 0, so only the change of f at
    the point counts.
    """
    directions = camera.directions(pixels)
    points = closest_approach(head, camera.centre.expand_as(directions), directions)
    sdf, gradient = head.sdf_and_gradient(points)
    jacobian = torch.zeros(len(pixels), layout.size, dtype=points.dtype, device=points.device)
    jacobian[:, : layout.latent] = head.basis(points)[:, : layout.latent]
    jacobian[:, layout.similarity] = similarity_jacobian(points, gradient, (gradient * points).sum(1) - sdf)
    _add_camera(jacobian, camera, index, points, gradient, layout)
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
    """Photometric residuals: logarithms of how much brighter a second photograph is at the points that a first shows.

    Args:
        head: The head.
        hits: Intersections of rays of the first camera with the head.
        values: Logarithm of luminance of the first photograph at these rays.
        cameras: First and second camera.
        indices: Numbers of the two cameras.
        picture: The second photograph.
        layout: Positions of the unknowns.
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
    # A shift of the first camera moves the point too, and along the ray.
    by_shift = by_point + by_field[:, None] * gradient
    _add_camera(jacobian, first, indices[0], points, by_shift, layout)
    _add_camera(jacobian, second, indices[1], points, -by_point, layout)
    return Rows(seen - values, jacobian, points, torch.nn.functional.normalize(gradient, dim=1))


def landmarks(
    places: Float[Tensor, "landmarks 3"],
    basis: Float[Tensor, "landmarks 3 latent"],
    camera: Pinhole,
    index: int,
    pixels: Float[Tensor, "landmarks 2"],
    layout: Layout,
) -> Rows:
    """Landmark residuals: pixels, x of all landmarks and then y, from the marked positions to those of the head.

    Args:
        places: Positions of the landmarks of the head, canonical unit space.
        basis: Derivative of the positions by the code.
        camera: Camera of the photograph.
        index: Number of the camera.
        pixels: Marked positions in the photograph.
        layout: Positions of the unknowns.
    """
    shown, _ = camera.project(places)
    by_point = camera.pixel_gradient(places).transpose(0, 1).reshape(-1, 3)
    both = places.repeat(2, 1)
    jacobian = point_jacobian(both, by_point, basis.repeat(2, 1, 1), camera, index, layout)
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
    """Brightness residuals: the logarithm of how much brighter a photograph shows face points than predicted.

    Args:
        points: Face points of the head, canonical unit space.
        normals: Unit normals at the points.
        basis: Derivative of the points by the code.
        predicted: Brightness that the brightness model expects of the points.
        camera: Camera of the photograph.
        index: Number of the camera.
        picture: Logarithm of luminance of the photograph.
        layout: Positions of the unknowns.

    Returns:
        The residuals, and the length of the derivative of each by the position of its point, per canonical unit.
    """
    pixels, _ = camera.project(points)
    seen, by_pixel = picture.sample(pixels)
    by_point = torch.einsum("ni,nij->nj", by_pixel, camera.pixel_gradient(points))
    rows = Rows(
        seen - predicted, point_jacobian(points, by_point, basis, camera, index, layout), points, normals
    )
    return rows, by_point.norm(dim=1)


def point_jacobian(
    points: Float[Tensor, "rows 3"],
    by_point: Float[Tensor, "rows 3"],
    basis: Float[Tensor, "rows 3 latent"],
    camera: Pinhole,
    index: int,
    layout: Layout,
) -> Float[Tensor, "rows unknowns"]:
    """Jacobian of rows that depend on the image of points which move with the head.

    Args:
        points: Points of the head, canonical unit space.
        by_point: Derivative of each row by its point.
        basis: Derivative of the points by the code.
        camera: Camera that shows the points.
        index: Number of the camera.
        layout: Positions of the unknowns.
    """
    jacobian = torch.zeros(len(points), layout.size, dtype=points.dtype, device=points.device)
    jacobian[:, : layout.latent] = torch.einsum("ni,nik->nk", by_point, basis[..., : layout.latent])
    jacobian[:, layout.similarity] = -similarity_jacobian(points, by_point, (by_point * points).sum(1))
    _add_camera(jacobian, camera, index, points, -by_point, layout)
    return jacobian


def similarity_jacobian(
    points: Float[Tensor, "rows 3"], gradient: Float[Tensor, "rows 3"], stretch: Float[Tensor, " rows"]
) -> Float[Tensor, "rows 7"]:
    """The derivative of gradient · (ω × x + t) + s stretch by ω, t and s."""
    return torch.cat([torch.linalg.cross(points, gradient), gradient, stretch[:, None]], dim=1)


def small_similarity(step: Float[np.ndarray, " 7"]) -> Float[np.ndarray, "4 4"]:
    """The similarity of a rotation vector, a translation and a logarithm of scale, in this order."""
    change = np.eye(4)
    change[:3, :3] = np.exp(step[6]) * Rotation.from_rotvec(step[:3]).as_matrix()
    change[:3, 3] = step[3:6]
    return change


def _add_camera(
    jacobian: Float[Tensor, "rows unknowns"],
    camera: Pinhole,
    index: int,
    points: Float[Tensor, "rows 3"],
    gradient: Float[Tensor, "rows 3"],
    layout: Layout,
) -> None:
    """Adds the derivative of gradient · p, for points p of rays of a camera, by the unknowns of that camera."""
    arm = points - camera.centre
    jacobian[:, layout.camera(index)] += torch.cat([torch.linalg.cross(arm, gradient), gradient], dim=1)
    focal = layout.focal(index)
    if focal is not None:
        # Points of rays move towards the axis by their distance from it, and back by the depth of the head's middle.
        axis = camera.rotation[:, 2]
        back = arm @ axis + camera.centre @ axis
        jacobian[:, focal] += (gradient * (back[:, None] * axis - arm)).sum(1)
