"""Rendering through the surface: differentiable rays for training, whole images, and colours of surface points."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from recon.fields import Field, sdf_and_gradient
from recon.rendering.bounds import SurfaceBounds
from recon.rendering.cameras import CameraBundle
from recon.rendering.pixels import to_device
from recon.rendering.tracing import Trace, Tracer, TracingSettings, trace

NEGLIGIBLE = 1e-4  # weight of a camera in a point's colour that changes no 8-bit colour


@runtime_checkable
class Colour(Protocol):
    """The colour in [-1, 1] of surface points from points, normals, directions to the camera and features.

    An attribute `sees_camera = False` states that it does not depend on the direction.
    """

    def __call__(self, points: Tensor, normals: Tensor, to_camera: Tensor, features: Tensor) -> Tensor:
        """Colours (n, 3)."""
        ...


@dataclass(frozen=True)
class RenderedRays:
    """The rendered rays of a training step.

    Attributes:
        sdf: signed distance at each ray's point (the hit, or the point of least distance), with gradients.
        gradient: ∇f at those points and at the extra eikonal points, with gradients.
        hit: whether the ray meets the surface.
        agreed: hit, and in the mask.
        colour: colours in [-1, 1], with gradients: of the agreed rays, or with `fixed` of all rays, of which the
            others' are arbitrary.
        fixed: whether shapes depend on the number of rays alone.
    """

    sdf: Float[Tensor, " rays"]
    gradient: Float[Tensor, "points 3"]
    hit: Bool[Tensor, " rays"]
    agreed: Bool[Tensor, " rays"]
    colour: Float[Tensor, "shaded 3"]
    fixed: bool = False


def render_rays(
    field: Field,
    colour: Colour,
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    mask: Bool[Tensor, " rays"],
    tracer: Tracer,
    generator: torch.Generator,
    step: int = 0,
) -> RenderedRays:
    """Trace rays and shade their hits so that gradients reach field, colour and cameras (IDR, section 3).

    Eikonal points are the traced points and half as many drawn uniformly in the cube [-1, 1]³. Where the tracer wants
    fixed shapes, see `render_fixed`.

    Args:
        field: the geometry.
        colour: the rendering network.
        origins: in unit space; may carry gradients to cameras.
        directions: unit vectors; likewise.
        mask: whether the photograph's mask has the object.
        tracer: finds the surface.
        generator: of the step's random draws.
        step: of the training.
    """
    if tracer.settings.fixed(mask.device):
        tracer.refresh(field.sdf, step)
        uniform = to_device(eikonal_points(len(mask), generator, origins.dtype), mask.device)
        return render_fixed(field, colour, origins, directions, mask, tracer, uniform)
    found = tracer(field.sdf, origins.detach(), directions.detach(), mask, generator, step)
    uniform = to_device(eikonal_points(len(mask), generator, origins.dtype), mask.device)
    sdf, gradient = _on_rays(field, origins, directions, found, uniform, tracer.settings.analytic)
    agreed = found.hit & mask
    on_rays = gradient[: len(mask)].detach()
    surface = intersect(
        origins[agreed], directions[agreed], found.depth[agreed], sdf[agreed], on_rays[agreed]
    )
    sample, normals = sdf_and_gradient(field, surface, analytic=tracer.settings.analytic)
    rgb = colour(surface, normals, -directions[agreed], sample.feature)
    return RenderedRays(sdf, gradient, found.hit, agreed, rgb)


def render_fixed(
    field: Field,
    colour: Colour,
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    mask: Bool[Tensor, " rays"],
    tracer: Tracer,
    uniform: Float[Tensor, "points 3"],
) -> RenderedRays:
    """As `render_rays`, by operations whose shapes depend on the number of rays alone, and without reading back.

    All rays are shaded; the colours of those without a surface are arbitrary and must not count. The tracer's cache
    must have been refreshed, and its settings must want fixed shapes.

    Args:
        field: the geometry.
        colour: the rendering network.
        origins: in unit space; may carry gradients to cameras.
        directions: unit vectors; likewise.
        mask: whether the photograph's mask has the object.
        tracer: finds the surface.
        uniform: the drawn eikonal points, `eikonal_points` of the step, where the rays are.
    """
    analytic = tracer.settings.analytic
    found = tracer(field.sdf, origins.detach(), directions.detach(), mask, None, None)
    sdf, gradient = _on_rays(field, origins, directions, found, uniform, analytic)
    agreed = found.hit & mask
    at = origins + found.depth[:, None] * directions
    surface = intersect(origins, directions, found.depth, sdf, gradient[: len(mask)].detach())
    # A ray without a surface is shaded where it passes; it has no part in any derivative.
    surface = torch.where(agreed[:, None], surface, at.detach())
    sample, normals = sdf_and_gradient(field, surface, analytic=analytic)
    rgb = colour(surface, normals, -directions, sample.feature)
    return RenderedRays(sdf, gradient, found.hit, agreed, rgb, fixed=True)


def eikonal_points(rays: int, generator: torch.Generator, dtype: torch.dtype) -> Float[Tensor, "points 3"]:
    """Points drawn uniformly in the cube [-1, 1]³, half as many as rays, where the generator is."""
    return torch.rand(rays // 2, 3, generator=generator, dtype=dtype, device=generator.device) * 2 - 1


def intersect(
    origins: Float[Tensor, "hits 3"],
    directions: Float[Tensor, "hits 3"],
    depth: Float[Tensor, " hits"],
    sdf: Float[Tensor, " hits"],
    gradient: Float[Tensor, "hits 3"],
    *,
    least_derivative: float = 1e-2,
) -> Float[Tensor, "hits 3"]:
    """The differentiable intersection of rays with the surface (IDR, equation 3).

    It is x(θ, τ) = c + (t₀ − (f(c + t₀v; θ) − f₀) / (∇f₀·v₀)) v, everything with subscript 0 constant. Its value is the
    traced point; its first derivatives with respect to network and camera are those of the true intersection.

    Args:
        origins: camera centres c, with their gradients.
        directions: unit view directions v, with their gradients.
        depth: t₀ of the tracer.
        sdf: f at `origins + depth * directions`, with gradients to network (and camera).
        gradient: ∇f there; used as a constant.
        least_derivative: lower bound of |∇f₀·v₀|, which is near zero for grazing rays and would make derivatives
            unbounded. The published code has no such guard.
    """
    along_ray = (gradient.detach() * directions.detach()).sum(1)
    sign = torch.where(along_ray > 0, 1.0, -1.0).to(along_ray.dtype)
    along_ray = sign * along_ray.abs().clamp_min(least_derivative)
    moved = depth.detach() - (sdf - sdf.detach()) / along_ray
    return origins + moved[:, None] * directions


@dataclass(frozen=True)
class RenderedView:
    """An image of the field.

    Attributes:
        colour: sRGB in [0, 1]; white where nothing is hit.
        normal: unit normals in camera coordinates (x right, y down, z forward); zero where nothing is hit.
        mask: where the surface is hit.
    """

    colour: Float[Tensor, "h w 3"]
    normal: Float[Tensor, "h w 3"]
    mask: Bool[Tensor, "h w"]


def render_view(
    field: Field,
    colour: Colour,
    cameras: CameraBundle,
    view: int,
    width: int,
    height: int,
    *,
    step: int = 1,
    settings: TracingSettings | None = None,
    bounds: SurfaceBounds | None = None,
    chunk: int = 16_384,
) -> RenderedView:
    """Render one view of a camera bundle.

    Args:
        field: the geometry.
        colour: the rendering network.
        cameras: in unit space.
        view: index in the bundle.
        width: of the photograph, in pixels.
        height: of the photograph, in pixels.
        step: render every `step`-th pixel of each row and column, at the centre of the block that it stands
            for.
        settings: of the tracer.
        bounds: depths between which the surface can be, which saves most of the tracing; None for the whole sphere.
        chunk: rays at a time.
    """
    device = cameras.centres.device
    columns = torch.arange(0, width - step + 1, step, device=device) + step / 2
    rows = torch.arange(0, height - step + 1, step, device=device) + step / 2
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    pixels = torch.stack([x, y], dim=-1).reshape(-1, 2)
    rgb = torch.ones(len(pixels), 3, device=device)
    normal = torch.zeros(len(pixels), 3, device=device)
    mask = torch.zeros(len(pixels), dtype=torch.bool, device=device)
    rays = torch.arange(len(pixels), device=device)
    depths = bounds.depths(cameras, view, len(rows), len(columns), step) if bounds else None
    if depths is not None:
        near, far = depths[0].flatten(), depths[1].flatten()
        rays = rays[torch.isfinite(near)]
    for at in rays.split(chunk):
        with torch.no_grad():
            origins, directions = cameras.rays(torch.full_like(at, view), pixels[at])
        between = None if depths is None else (near[at], far[at])
        found = trace(field.sdf, origins, directions, settings, between=between)
        hit = found.hit.nonzero()[:, 0]
        points = origins[hit] + found.depth[hit, None] * directions[hit]
        shaded, normals = shade(field, colour, points, -directions[hit])
        rgb[at[hit]], normal[at[hit]], mask[at[hit]] = shaded, normals, True
    in_camera = normal @ cameras.rotations()[view].detach()
    size = (len(rows), len(columns))
    return RenderedView(rgb.reshape(*size, 3), in_camera.reshape(*size, 3), mask.reshape(*size))


def shade(
    field: Field, colour: Colour, points: Float[Tensor, "points 3"], to_camera: Float[Tensor, "points 3"]
) -> tuple[Float[Tensor, "points 3"], Float[Tensor, "points 3"]]:
    """Colours in [0, 1] and unit normals of surface points seen from given directions, without gradients."""
    sample, gradient = sdf_and_gradient(field, points, create_graph=False)
    with torch.no_grad():
        rgb = colour(points, gradient, to_camera, sample.feature)
    return (rgb + 1) / 2, normalize(gradient, dim=1)


def surface_colours(
    field: Field,
    colour: Colour,
    points: Float[Tensor, "points 3"],
    centres: Float[Tensor, "views 3"],
    chunk: int = 65_536,
) -> tuple[Float[Tensor, "points 3"], Float[Tensor, "points 3"]]:
    """Colours in [0, 1] and unit normals of surface points, averaged over the given cameras.

    Radiance depends on the direction, and the network is trained only for those of its photographs. Each point takes
    the mean of its radiance towards the cameras, weighted by the fourth power of the cosine between normal
    and camera direction. Occlusion is not tested.

    Args:
        field: the geometry.
        colour: the rendering network.
        points: on the surface, in unit space.
        centres: of the input cameras, in unit space.
        chunk: points at a time.
    """
    colours, normals = [], []
    for part in points.split(chunk):
        sample, gradient = sdf_and_gradient(field, part, create_graph=False)
        with torch.no_grad():
            normal = normalize(gradient, dim=1)
            if getattr(colour, "sees_camera", True):
                rgb = _mean_radiance(colour, part, gradient, normal, sample.feature, centres)
            else:
                rgb = colour(part, gradient, normal, sample.feature)
            colours.append((rgb + 1) / 2)
            normals.append(normal)
    return torch.cat(colours), torch.cat(normals)


def _on_rays(
    field: Field, origins: Tensor, directions: Tensor, found: Trace, uniform: Tensor, analytic: bool
) -> tuple[Float[Tensor, " rays"], Float[Tensor, "points 3"]]:
    """Signed distances at the traced points, and ∇f there and at the drawn points."""
    points = origins + found.depth[:, None] * directions
    sample, gradient = sdf_and_gradient(field, torch.cat([points.detach(), uniform]), analytic=analytic)
    on_rays = gradient[: len(points)].detach()
    # The network saw constant points; this adds the first-order dependence on the cameras, whose value is zero.
    sdf = sample.sdf[: len(points)] + (on_rays * (points - points.detach())).sum(1)
    return sdf, gradient


def _mean_radiance(
    colour: Colour, points: Tensor, gradient: Tensor, normal: Tensor, feature: Tensor, centres: Tensor
) -> Float[Tensor, "points 3"]:
    """The mean radiance of points towards cameras, weighted by the fourth power of the cosine."""
    to_camera = normalize(centres - points[:, None], dim=2)
    weights = (normal[:, None] * to_camera).sum(2).clamp_min(0.02) ** 4
    weights = weights / weights.sum(1, keepdim=True)
    total = torch.zeros_like(points)
    for view in range(len(centres)):
        at = (weights[:, view] > NEGLIGIBLE).nonzero()[:, 0]
        rgb = colour(points[at], gradient[at], to_camera[at, view], feature[at])
        total[at] += weights[at, view, None] * rgb
    return total
