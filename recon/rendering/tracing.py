"""Intersection of rays with the zero level of a signed distance, without gradients.

`TracingSettings` are the settings of pictures, and choose the `Tracer` of training. The ray tracer here is that of IDR
(supplement, section "ray tracing"): each ray is marched from both ends of its segment inside the unit sphere; rays that
do not converge from the near end are searched with uniform samples and refined by the secant method. While training,
rays without a hit keep their point of least distance, at which the mask loss pulls.
"""

import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from recon.rendering.search import DistanceFunction, chunked, crossing, least_distance


@dataclass(frozen=True)
class TracingSettings:
    """Settings of the tracer; the defaults are those of the published code. Lengths are in unit space.

    Attributes:
        radius: of the sphere that holds the object.
        threshold: a signed distance below it counts as converged.
        steps: of sphere tracing.
        back_offs: most reductions of a step that landed inside, by a half of it, a quarter, …
        back_off: the part of the step that the first reduction takes away.
        samples: of the search along rays that did not converge.
        secant_steps: refinements of a bracketed root.
        chunk: most points for one call of the distance function.
        analytic: whether training uses the derivatives that a field has written out by hand, if any, instead of
            autograd's; they are the same but for rounding.
        bf16_backward: whether the backward pass of training rounds the factors of its matrix products to bfloat16, on
            processors made for it. The forward pass stays exact, and with it the place of the surface.
    """

    radius: float = 1.0
    threshold: float = 5e-5
    steps: int = 10
    back_offs: int = 3
    back_off: float = 0.5
    samples: int = 100
    secant_steps: int = 8
    chunk: int = 100_000
    analytic: bool = False
    bf16_backward: bool = False

    @property
    def graphed(self) -> bool:
        """Whether training steps are recorded as CUDA graphs, which takes fixed shapes."""
        return False

    def fixed(self, device: torch.device) -> bool:
        """Whether the shapes of a training step on a device do not depend on hits, so that nothing is read back."""
        return False

    def tracer(self) -> "Tracer":
        """A new tracer for the rays of training."""
        return SphereTracer(self)


@dataclass(frozen=True)
class Trace:
    """Intersections of rays with the surface.

    Attributes:
        depth: depth along each ray in unit space: of the surface where `hit`, else of the point of least distance
            (training) or 0.
        hit: whether the ray meets the surface.
    """

    depth: Float[Tensor, " rays"]
    hit: Bool[Tensor, " rays"]


class Tracer(nn.Module):
    """A tracer of training rays for one field.

    Whatever it caches from step to step is in its buffers, so that a resumed run goes on with it.

    Args:
        settings: of the tracer.
    """

    def __init__(self, settings: TracingSettings) -> None:
        super().__init__()
        self.settings = settings

    @abstractmethod
    def forward(
        self,
        sdf: DistanceFunction,
        origins: Float[Tensor, "rays 3"],
        directions: Float[Tensor, "rays 3"],
        mask: Bool[Tensor, " rays"],
        generator: torch.Generator | None,
        step: int | None,
    ) -> Trace:
        """Trace the rays of a training step, without gradients.

        Args:
            sdf: signed distance at (n, 3) points of unit space, as it is at this step.
            origins: of the rays, in unit space.
            directions: unit vectors.
            mask: whether the photograph's mask has the object on each ray; rays without a hit (or without the mask)
                get the depth of their least distance.
            generator: of the step's random draws; None where shapes are fixed, since nothing is drawn then.
            step: of the training, by which the cache is refreshed; None if `refresh` has been called for the step.
        """

    def refresh(self, sdf: DistanceFunction, step: int) -> None:
        """Refresh the cache as far as the schedule says for a step; in place, so that a recorded step sees it."""


class SphereTracer(Tracer):
    """The tracer of IDR, which evaluates the network at every sample and caches nothing."""

    def forward(
        self,
        sdf: DistanceFunction,
        origins: Tensor,
        directions: Tensor,
        mask: Tensor,
        generator: torch.Generator | None,
        step: int | None,
    ) -> Trace:
        """Trace rays from both ends, search those that did not converge; see `trace`."""
        return trace(sdf, origins, directions, self.settings, mask=mask, generator=generator)


@torch.no_grad()
def trace(
    sdf: DistanceFunction,
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    settings: TracingSettings | None = None,
    *,
    mask: Bool[Tensor, " rays"] | None = None,
    generator: torch.Generator | None = None,
    between: tuple[Float[Tensor, " rays"], Float[Tensor, " rays"]] | None = None,
) -> Trace:
    """Trace rays to the first zero of `sdf` inside the sphere.

    Args:
        sdf: signed distance at (n, 3) points of unit space.
        origins: of the rays, in unit space.
        directions: unit vectors.
        settings: of the tracer.
        mask: while training, whether the photograph's mask has the object on each ray; rays without a hit (or
            without the mask) then get the depth of their least distance.
        generator: for the random depths of the search for the least distance; needed with `mask`.
        between: depths, in unit space, between which each ray meets the surface if it does at all.
    """
    with cached_weights():  # normalised weights are computed once for all the calls below
        return _trace(sdf, origins, directions, settings or TracingSettings(), mask, generator, between)


def intersect_sphere(
    origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"], radius: float
) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"], Bool[Tensor, " rays"]]:
    """Depths at which rays enter and leave the sphere about the origin, clamped to the front of the camera.

    Returns:
        Near and far depths, and whether the ray meets the sphere at all; where it does not, both are the
        depth of closest approach.
    """
    closest = -(origins * directions).sum(1)
    distance2 = (origins * origins).sum(1) - closest**2
    half2 = radius**2 - distance2
    half = half2.clamp_min(0).sqrt()
    near, far = (closest - half).clamp_min(0), (closest + half).clamp_min(0)
    return near, far, (half2 > 0) & (far > near)


_lock = threading.Lock()


@contextmanager
def cached_weights() -> Iterator[None]:
    """A context in which parametrised weights are computed once: `parametrize.cached`, safe for several threads.

    PyTorch's own counts its users without a lock: one lost count would keep the cache for ever, and training would no
    longer change the weights.
    """
    caching = parametrize.cached()
    with _lock:
        caching.__enter__()
    try:
        yield
    finally:
        with _lock:
            caching.__exit__(None, None, None)


def _trace(
    sdf: DistanceFunction,
    origins: Tensor,
    directions: Tensor,
    settings: TracingSettings,
    mask: Tensor | None,
    generator: torch.Generator | None,
    between: tuple[Tensor, Tensor] | None,
) -> Trace:
    """See `trace`."""
    evaluate = chunked(sdf, settings.chunk)
    near, far, meets = intersect_sphere(origins, directions, settings.radius)
    if between is not None:
        near, far = torch.maximum(near, between[0]), torch.minimum(far, between[1])
        meets &= near < far
    both_ends = between is None  # a far depth that is known to be close spares the march from there
    march = _march(evaluate, origins, directions, near, far, meets, settings, both_ends)

    depth, hit = march.near.clone(), march.hit.clone()
    search = march.unfinished.nonzero()[:, 0]
    if len(search):
        wanted = mask[search] if mask is not None else torch.ones_like(search, dtype=torch.bool)
        found, crosses = crossing(
            evaluate,
            origins[search],
            directions[search],
            march.near[search],
            march.far[search],
            wanted,
            settings.samples,
            settings.secant_steps,
        )
        depth[search], hit[search] = found, crosses
    if mask is not None:
        searched = march.unfinished
        lost = ~searched & (~mask | ~hit)
        depth = least_distance(
            evaluate, origins, directions, near, far, meets, depth, hit, lost, settings.samples, generator
        )
    else:
        depth = torch.where(hit, depth, torch.zeros_like(depth))
    return Trace(depth, hit)


@dataclass
class _March:
    """The state of rays after sphere tracing: depths of both ends, hits, and hits that have not converged."""

    near: Tensor
    far: Tensor
    hit: Tensor
    unfinished: Tensor


class _Front:
    """One end of the marched segments: depths, distances, and which rays still move.

    Args:
        sign: +1 for the near end, -1 for the far.
        depth: where to begin on each ray.
        active: the rays to march.
    """

    def __init__(self, sign: float, depth: Tensor, active: Tensor) -> None:
        self.sign = sign
        self.depth = depth.clone()
        self.active = active.clone()
        self.distance = torch.zeros_like(depth)

    def measure(self, evaluate: DistanceFunction, origins: Tensor, directions: Tensor) -> None:
        """Evaluate the distance at the present depths of the rays that still move."""
        at = self.active.nonzero()[:, 0]
        self.distance[at] = evaluate(origins[at] + self.depth[at, None] * directions[at])

    def converge(self, threshold: float) -> None:
        """Stop the rays within the threshold."""
        self.active &= self.distance > threshold

    def step(
        self, evaluate: DistanceFunction, origins: Tensor, directions: Tensor, settings: TracingSettings
    ) -> None:
        """Advance by the distance; where that lands inside, back off by shrinking parts of the step."""
        stride = torch.where(self.active, self.distance, torch.zeros_like(self.distance))
        self.depth += self.sign * stride
        self.measure(evaluate, origins, directions)
        for k in range(settings.back_offs):
            overshot = (self.active & (self.distance < 0)).nonzero()[:, 0]
            if not len(overshot):
                break
            self.depth[overshot] -= self.sign * (1 - settings.back_off) / 2**k * stride[overshot]
            self.distance[overshot] = evaluate(
                origins[overshot] + self.depth[overshot, None] * directions[overshot]
            )


def _march(
    evaluate: DistanceFunction,
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    meets: Tensor,
    settings: TracingSettings,
    both_ends: bool,
) -> _March:
    """Sphere tracing from the near end, or from both at once. Rays whose ends cross miss the surface."""
    start, end = _Front(1.0, near, meets), _Front(-1.0, far, meets & both_ends)
    start.measure(evaluate, origins, directions)
    end.measure(evaluate, origins, directions)
    for iteration in range(settings.steps + 1):
        start.converge(settings.threshold)
        end.converge(settings.threshold)
        if iteration == settings.steps or not bool((start.active | end.active).any()):
            break
        start.step(evaluate, origins, directions, settings)
        end.step(evaluate, origins, directions, settings)
        apart = start.depth < end.depth
        start.active &= apart
        end.active &= apart
    hit = meets & (start.depth < end.depth)
    return _March(start.depth, end.depth, hit, start.active & hit)
