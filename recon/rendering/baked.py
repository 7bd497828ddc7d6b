"""Training pixels of a geometry that does not change: rays are traced once, and only colours learn."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recon.errors import ReconError
from recon.fields import Field, sdf_and_gradient
from recon.rendering.cameras import CameraBundle
from recon.rendering.pixels import PixelStore, seeded
from recon.rendering.tracing import TracingSettings, trace


@dataclass(frozen=True)
class SurfaceBatch:
    """Surface points of a training step, with what photographs show there.

    Attributes:
        points: Unit space.
        gradient: ∇f there.
        to_camera: Unit directions towards the camera of the photograph.
        colour: Of the photograph, in [-1, 1].
    """

    points: Float[Tensor, "points 3"]
    gradient: Float[Tensor, "points 3"]
    to_camera: Float[Tensor, "points 3"]
    colour: Float[Tensor, "points 3"]

    def __len__(self) -> int:
        """Number of points."""
        return len(self.points)

    def to(self, device: torch.device) -> "SurfaceBatch":
        """The same batch on another device."""
        return SurfaceBatch(*(part.to(device) for part in vars(self).values()))


class SurfaceSampler:
    """Surface points behind the masks' pixels, each draw a function of (seed, step).

    Args:
        store: The pixels.
        cameras: Of their views, unit space.
        field: The geometry; it must not change afterwards.
        settings: Of the tracer.
        count: Points for each step.
        seed: Of the draws.
        most: At most so many pixels of all views are traced, evenly chosen.
        chunk: Rays at a time.

    Raises:
        ReconError: No ray meets the surface.
    """

    def __init__(
        self,
        store: PixelStore,
        cameras: CameraBundle,
        field: Field,
        settings: TracingSettings,
        count: int,
        seed: int,
        most: int = 400_000,
        chunk: int = 32_768,
    ) -> None:
        self.count, self.seed = count, seed
        pools = [store.chosen(view, mask) for view, mask in enumerate(store.masks)]
        every = max(1, -(-sum(map(len, pools)) // most))
        views = torch.cat([torch.full_like(pool[::every], view) for view, pool in enumerate(pools)])
        pixels = store.batch(views, torch.cat([pool[::every] for pool in pools]))
        parts = []
        for at in torch.arange(len(views)).split(chunk):
            with torch.no_grad():
                origins, directions = cameras.rays(views[at], pixels.pixels[at])
            found = trace(field.sdf, origins, directions, settings)
            hit = found.hit
            points = (origins + found.depth[:, None] * directions)[hit]
            gradient = sdf_and_gradient(field, points, create_graph=False)[1]
            parts.append((points, gradient.detach(), -directions[hit], pixels.colour[at][hit]))
        if not sum(len(part[0]) for part in parts):
            raise ReconError("no ray through the masks meets the head: masks or cameras cannot be right")
        self.all = SurfaceBatch(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def __call__(self, step: int) -> SurfaceBatch:
        """The points of a step."""
        generator = seeded(self.seed, 1, step)
        at = torch.randint(len(self.all), (self.count,), generator=generator)
        return SurfaceBatch(*(part[at] for part in vars(self.all).values()))
