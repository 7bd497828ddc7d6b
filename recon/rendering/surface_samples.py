"""Surface samples of a geometry that does not change: rays are traced once, and only colours learn from them."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import uniform_filter
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import spsolve
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import normalize

from recon.errors import ReconError
from recon.fields import Field, sdf_and_gradient
from recon.rendering.cameras import CameraBundle
from recon.rendering.pixels import PixelStore, seeded, to_device
from recon.rendering.tracing import TracingSettings, trace
from recon.scene.images import blurred_within

GRAZING = 0.35
"""Cosine between normal and direction to the camera below which a colour is not used as a source."""
UNSEEN = 0.02
"""Distance in unit space from all seen points beyond which a surface point counts as unseen."""

BLUR_PX, WINDOW_PX, FLAT = 1.5, 5, 0.05
"""Settings of the detail at a pixel, which is the deviation of the brightness in a window about it.

It is blurred before, since single hairs and noise are finer than what colours can learn. `FLAT` is added, so that
pixels without detail are drawn as well.
"""

LINKS, SPARE = 8, 1e-3
"""Neighbours of a point whose colour is interpolated, and the weight of the median colour beside theirs."""


@dataclass(frozen=True)
class SurfaceBatch:
    """Surface points of a training step, with the colours of photographs.

    Attributes:
        points: Positions in unit space.
        gradient: Gradient ∇f of the distance at the points.
        to_camera: Unit directions towards the camera of the photograph.
        colour: Colour of the photograph, in [-1, 1].
    """

    points: Float[Tensor, "points 3"]
    gradient: Float[Tensor, "points 3"]
    to_camera: Float[Tensor, "points 3"]
    colour: Float[Tensor, "points 3"]

    def __len__(self) -> int:
        """Number of points."""
        return len(self.points)

    def subset(self, which: Int[Tensor, " chosen"]) -> "SurfaceBatch":
        """Some of the points."""
        return SurfaceBatch(*(part[which] for part in vars(self).values()))

    def to(self, device: torch.device) -> "SurfaceBatch":
        """The same batch on another device."""
        return SurfaceBatch(*(to_device(part, device) for part in vars(self).values()))


class SurfaceSampler:
    """A sampler of the surface points behind the masks' pixels; every batch is a function of (seed, step).

    Eyes, lips and hair have much detail in few pixels, so points are drawn in proportion to the detail of photographs.
    Some of each step's points are seen in no photograph; their colours are interpolated smoothly between those that
    are seen, so that the back of a head is hair and not noise.

    Args:
        store: The pixels.
        cameras: Of their views, unit space.
        field: The geometry; it must not change afterwards.
        settings: Of the tracer.
        count: Points for each step.
        seed: Of the draws.
        most: Largest number of pixels that are traced, evenly chosen of all views.
        unseen: Share of each step's points that are seen in no photograph.

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
        most: int = 150_000,
        unseen: float = 0.35,
    ) -> None:
        self.count, self.seed = count, seed
        pools = [store.select(view, mask) for view, mask in enumerate(store.masks)]
        every = max(1, -(-sum(map(len, pools)) // most))
        views = torch.cat([torch.full_like(pool[::every], view) for view, pool in enumerate(pools)])
        pixels = store.batch(views, torch.cat([pool[::every] for pool in pools]))
        with torch.no_grad():
            origins, directions = cameras.rays(views, pixels.pixels)
        hit, points, gradient = _surface(field, settings, origins, directions)
        if len(points) == 0:
            raise ReconError("no ray through the masks meets the head: masks or cameras cannot be right")
        self.seen = SurfaceBatch(points, gradient, -directions[hit], pixels.colour[hit])
        details = [detail(store.brightness(view), mask).ravel() for view, mask in enumerate(store.masks)]
        weights = (
            np.concatenate([own[pool[::every]] for own, pool in zip(details, pools, strict=True)]) + FLAT
        )
        self._weights = torch.from_numpy(weights)[hit].double().cumsum(0)
        self.interpolated = _interpolated(field, settings, self.seen, seed)
        self.unseen = round(count * unseen) if len(self.interpolated) else 0

    def __call__(self, step: int) -> SurfaceBatch:
        """The points of a step."""
        generator = seeded(self.seed, 1, step)
        share = torch.rand(self.count - self.unseen, generator=generator, dtype=torch.float64)
        seen = torch.searchsorted(self._weights, share * self._weights[-1], right=True)
        parts = [self.seen.subset(seen.clamp_max(len(self.seen) - 1))]
        if self.unseen:
            chosen = torch.randint(len(self.interpolated), (self.unseen,), generator=generator)
            parts.append(self.interpolated.subset(chosen))
        return SurfaceBatch(
            *(torch.cat(part) for part in zip(*(vars(p).values() for p in parts), strict=True))
        )


def detail(brightness: Float[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """The detail of a photograph at each pixel of its mask: standard deviation of the blurred brightness about it."""
    values = blurred_within(brightness, mask, BLUR_PX)
    share = np.maximum(uniform_filter(mask.astype(float), WINDOW_PX), WINDOW_PX**-2)
    mean, square = (
        uniform_filter(np.where(mask, values, 0.0) ** power, WINDOW_PX) / share for power in (1, 2)
    )
    deviation: np.ndarray = np.where(mask, np.sqrt(np.maximum(square - mean**2, 0.0)), 0.0)
    return deviation


def harmonic(
    points: Float[np.ndarray, "points 3"],
    sources: Float[np.ndarray, "sources 3"],
    values: Float[np.ndarray, "sources channels"],
) -> Float[np.ndarray, "points channels"]:
    """Harmonic interpolation on a surface: each point has the mean of its neighbours, weighted by closeness.

    Args:
        points: Where values are wanted.
        sources: Where they are known.
        values: Of the sources.
    """
    every = np.concatenate([points, sources])
    length, other = cKDTree(every).query(every, k=min(LINKS + 1, len(every)))
    closest = np.median(length[:, 1]) + 1e-9
    one = np.repeat(np.arange(len(every)), length.shape[1] - 1)
    weight = 1.0 / (length[:, 1:].ravel() + closest) ** 2
    links = coo_array((weight, (one, other[:, 1:].ravel())), shape=(len(every),) * 2).tocsr()
    links = (links + links.T)[: len(points)]
    # A weak pull to the median, so that components without a source have a value as well.
    degree = links.sum(axis=1) + SPARE
    laplacian = diags_array(degree) - links[:, : len(points)]
    right = links[:, len(points) :] @ values + SPARE * np.median(values, axis=0)
    found: np.ndarray = spsolve(laplacian.tocsc(), right)
    return found.reshape(len(points), -1)


def _surface(
    field: Field,
    settings: TracingSettings,
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    chunk: int = 32_768,
) -> tuple[Int[Tensor, " hits"], Float[Tensor, "hits 3"], Float[Tensor, "hits 3"]]:
    """Indices of the rays that meet the surface, the points where they do, and ∇f there."""
    rays, points, gradients = [], [], []
    for at in torch.arange(len(origins)).split(chunk):
        found = trace(field.sdf, origins[at], directions[at], settings)
        hit = at[found.hit]
        place = origins[hit] + found.depth[found.hit, None] * directions[hit]
        rays.append(hit)
        points.append(place)
        gradients.append(sdf_and_gradient(field, place, create_graph=False)[1].detach())
    return torch.cat(rays), torch.cat(points), torch.cat(gradients)


def _interpolated(
    field: Field, settings: TracingSettings, seen: SurfaceBatch, seed: int, rays: int = 49_152
) -> SurfaceBatch:
    """Surface points far from all seen ones, with colours interpolated between those."""
    generator = seeded(seed, 3)
    start = normalize(torch.randn(rays, 3, generator=generator), dim=1) * settings.radius
    aim = 0.5 * normalize(torch.randn(rays, 3, generator=generator), dim=1)
    _, points, gradient = _surface(field, settings, start, normalize(aim - start, dim=1))
    # Along the outline pixels mix with the background, so colours at grazing angles are no sources.
    facing = (normalize(seen.gradient, dim=1) * seen.to_camera).sum(1)
    sources = (facing > GRAZING).nonzero()[:, 0]
    few = sources[torch.randperm(len(sources), generator=generator)[:4_000]]
    if len(few) < 2:
        return seen.subset(few[:0])
    source_points, colour = seen.points[few].numpy(), seen.colour[few]
    tree = cKDTree(source_points)
    apart = np.median(tree.query(source_points[:1000], k=2)[0][:, 1])
    far = torch.from_numpy(np.flatnonzero(tree.query(points.numpy())[0] > max(UNSEEN, 4 * apart)))
    if len(far) == 0:
        return seen.subset(far)
    between = harmonic(points[far].numpy(), source_points, colour.numpy())
    normal = normalize(gradient[far], dim=1)
    return SurfaceBatch(points[far], gradient[far], normal, torch.from_numpy(between).to(colour))
