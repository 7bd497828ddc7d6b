"""Where rays meet the zero level of a signed distance: the ray tracer of IDR (supplement, section "ray
tracing"), without gradients.

Each ray is marched from both ends of its stretch inside the unit sphere. Rays that do not converge from the
near end are searched with uniform samples and refined by the secant method. While training, rays that found
nothing keep their point of least distance: the mask loss pulls there.
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

_lock = threading.Lock()


@contextmanager
def remembered_weights() -> Iterator[None]:
    """`torch.nn.utils.parametrize.cached` for several threads at a time, which counts its users without a lock: one
    lost count would keep weights remembered for ever, and training would no longer change them.
    """
    remembering = parametrize.cached()
    with _lock:
        remembering.__enter__()
    try:
        yield
    finally:
        with _lock:
            remembering.__exit__(None, None, None)


@dataclass(frozen=True)
class TracingSettings:
    """Settings of the tracer; the defaults are those of the published code. Lengths are in unit space.

    Attributes:
        radius: of the sphere that holds the object.
        threshold: a signed distance below it counts as converged.
        steps: of sphere tracing.
        back_offs: how often a step that landed inside is taken back, by a half, a quarter, …
        back_off: the part of the step that the first back-off takes back.
        samples: of the search along rays that did not converge.
        secant_steps: refinements of a bracketed root.
        chunk: most points for one call of the distance function.
        analytic: training uses the derivatives that a field has written out by hand, if it has, instead of autograd's;
            the same but for rounding.
        bf16_backward: the backward pass of training may round the factors of its matrix products to bfloat16, on
            processors that are made for it. The forward pass is exact, and with it the place of the surface.
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
        """Whether a training step on a device has shapes that do not depend on what its rays meet, and reads nothing
        back.
        """
        return False

    def tracer(self) -> "Tracer":
        """What finds the surface along the rays of training."""
        return SphereTracer(self)


@dataclass(frozen=True)
class Trace:
    """What the tracer found.

    Attributes:
        depth: along each ray, in unit space: of the surface where `hit`, else of the point nearest to the
            surface (training) or 0.
        hit: whether the ray meets the surface.
    """

    depth: Float[Tensor, " rays"]
    hit: Bool[Tensor, " rays"]


class Tracer(nn.Module):
    """How training finds the surface along its rays: one object for one field. What it remembers from step to step
    are its buffers, so that a resumed run goes on with them.

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
            step: of the training; what is remembered is refreshed by it. None where `refresh` has been told already.
        """

    def refresh(self, sdf: DistanceFunction, step: int) -> None:
        """Renew what is remembered, as a step wants it; in place, so that a recorded step sees it."""


class SphereTracer(Tracer):
    """The tracer of IDR, which asks the network at every sample and remembers nothing."""

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
    with remembered_weights():  # weight-normed weights are worked out once for all the calls below
        return _trace(sdf, origins, directions, settings or TracingSettings(), mask, generator, between)


def _trace(
    sdf: DistanceFunction,
    origins: Tensor,
    directions: Tensor,
    settings: TracingSettings,
    mask: Tensor | None,
    generator: torch.Generator | None,
    between: tuple[Tensor, Tensor] | None,
) -> Trace:
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


@dataclass
class _March:
    near: Tensor
    far: Tensor
    hit: Tensor
    unfinished: Tensor


class _Front:
    """One end of the marched stretch: its depths, distances and which rays still move. `sign` is +1 for the
    near end, -1 for the far.
    """

    def __init__(self, sign: float, depth: Tensor, active: Tensor) -> None:
        self.sign = sign
        self.depth = depth.clone()
        self.active = active.clone()
        self.distance = torch.zeros_like(depth)

    def look(self, evaluate: DistanceFunction, origins: Tensor, directions: Tensor) -> None:
        """Evaluate the distance where the rays that still move now stand."""
        at = self.active.nonzero()[:, 0]
        self.distance[at] = evaluate(origins[at] + self.depth[at, None] * directions[at])

    def converge(self, threshold: float) -> None:
        """Rays within the threshold are done."""
        self.active &= self.distance > threshold

    def step(
        self, evaluate: DistanceFunction, origins: Tensor, directions: Tensor, settings: TracingSettings
    ) -> None:
        """Advance by the distance; where that lands inside, back off by shrinking parts of the step."""
        stride = torch.where(self.active, self.distance, torch.zeros_like(self.distance))
        self.depth += self.sign * stride
        self.look(evaluate, origins, directions)
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
    start.look(evaluate, origins, directions)
    end.look(evaluate, origins, directions)
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
