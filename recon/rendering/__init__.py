"""Rays from photographs, tracing them to a surface, and images of a field."""

from recon.rendering.bounds import SurfaceBounds as SurfaceBounds
from recon.rendering.cached import CachedTracing as CachedTracing
from recon.rendering.cameras import CameraBundle as CameraBundle
from recon.rendering.pixels import ImageSampler as ImageSampler
from recon.rendering.pixels import PixelStore as PixelStore
from recon.rendering.pixels import RayBatch as RayBatch
from recon.rendering.pixels import SceneSampler as SceneSampler
from recon.rendering.pixels import seeded as seeded
from recon.rendering.pixels import sent as sent
from recon.rendering.surface import RenderedView as RenderedView
from recon.rendering.surface import eikonal_points as eikonal_points
from recon.rendering.surface import intersect as intersect
from recon.rendering.surface import render_fixed as render_fixed
from recon.rendering.surface import render_rays as render_rays
from recon.rendering.surface import render_view as render_view
from recon.rendering.surface import shade as shade
from recon.rendering.surface import surface_colours as surface_colours
from recon.rendering.surface_samples import SurfaceBatch as SurfaceBatch
from recon.rendering.surface_samples import SurfaceSampler as SurfaceSampler
from recon.rendering.tracing import Trace as Trace
from recon.rendering.tracing import Tracer as Tracer
from recon.rendering.tracing import TracingSettings as TracingSettings
from recon.rendering.tracing import trace as trace
