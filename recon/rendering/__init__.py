"""Rays of photographs, their intersection with the surface of a field, and images of it."""

from recon.rendering.bounds import SurfaceBounds
from recon.rendering.cached import CachedTracing
from recon.rendering.cameras import CameraBundle
from recon.rendering.pixels import ImageSampler, PixelStore, RayBatch, SceneSampler, seeded, to_device
from recon.rendering.surface import (
    RenderedView,
    eikonal_points,
    intersect,
    render_fixed,
    render_rays,
    render_view,
    shade,
    surface_colours,
)
from recon.rendering.surface_samples import SurfaceBatch, SurfaceSampler
from recon.rendering.tracing import Trace, Tracer, TracingSettings, trace

__all__ = [
    "CachedTracing",
    "CameraBundle",
    "ImageSampler",
    "PixelStore",
    "RayBatch",
    "RenderedView",
    "SceneSampler",
    "SurfaceBatch",
    "SurfaceBounds",
    "SurfaceSampler",
    "Trace",
    "Tracer",
    "TracingSettings",
    "eikonal_points",
    "intersect",
    "render_fixed",
    "render_rays",
    "render_view",
    "seeded",
    "shade",
    "surface_colours",
    "to_device",
    "trace",
]
