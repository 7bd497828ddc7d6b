"""Training rays traced through a cached SDF grid, and corrected on the true one (the dynamic caching of SIRA++,
section 6.2 of specs/methods.md, on a grid).

Almost all that IDR computes is tracing without gradients. Here a ray is marched through a grid of distances, which
costs no evaluation of the network; only where it ends on the surface, secant steps on the network itself take out
what the grid is wrong by. Rays that miss are searched for their least distance as the reference does it, but on the
grid. Rays of the mask for which the network says that the grid is no good are traced by the reference.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.rendering.cached_grid import LEAST_RATE, STRIDES, CachedSDFGrid, GridMarch, march
from recon.rendering.search import DistanceFunction, chunked
from recon.rendering.tracing import (
    Trace,
    Tracer,
    TracingSettings,
    intersect_sphere,
    remembered_weights,
    trace,
)

CLOSE = 1e-3  # a secant step from nearer than this, in unit space, ends on the surface
MORE_CORRECTIONS = 6  # at most, for rays that are not that close yet


@dataclass(frozen=True)
class CachedTracing(TracingSettings):
    """Settings of training with a cached SDF grid; those of `TracingSettings` hold for pictures.

    Attributes:
        cells: of the grid along the side of the cube about the sphere, a multiple of 4.
        corrections: secant steps on the true distance.
        refresh_interval: for so many steps the whole grid is asked again at each. Afterwards refreshes come after
            ever more steps: after step / refresh_interval of them.
        every: but never after more than so many.
        full_refresh_every: every so many refreshes the whole grid is asked again, otherwise only where the surface
            passes.
        fixed_shapes: evaluate all rays at each correction and leave none to the reference, so that shapes stay the
            same and nothing waits for an answer; least distances are then those of uniform samples. None for all
            devices but CPUs.
        cuda_graphs: record a training step on a CUDA device and replay it from then on, instead of launching its
            kernels one by one; see `recon.systems.graphs`. It needs fixed shapes.

    Raises:
        ValueError: if a number makes no sense.
    """

    cells: int = 96
    corrections: int = 2
    refresh_interval: int = 10
    longest_refresh_interval: int = 20
    full_refresh_every: int = 10
    fixed_shapes: bool | None = None
    cuda_graphs: bool = False
    analytic: bool = True
    bf16_backward: bool = True

    def __post_init__(self) -> None:
        if self.cells < 8 or self.cells % STRIDES[0]:
            raise ValueError(f"renderer.cells={self.cells}: expected a multiple of {STRIDES[0]}, at least 8")
        for name in ("corrections", "refresh_interval", "longest_refresh_interval", "full_refresh_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"renderer.{name}={getattr(self, name)}: expected 1 or more")
        if self.cuda_graphs and self.fixed_shapes is False:
            raise ValueError("renderer.cuda_graphs=true needs renderer.fixed_shapes=null or true, not false")

    @property
    def graphed(self) -> bool:
        """As `cuda_graphs` says."""
        return self.cuda_graphs

    def fixed(self, device: torch.device) -> bool:
        """As `fixed_shapes` says, or by the device."""
        return device.type != "cpu" if self.fixed_shapes is None else self.fixed_shapes

    def tracer(self) -> Tracer:
        """What finds the surface along the rays of training."""
        return CachedTracer(self)

    def refresh_at(self, step: int) -> str | None:
        """What is refreshed before a step: "whole", "surface" or None."""
        if step < self.refresh_interval:
            return "whole"
        beginning = _refreshes(self.refresh_interval, self.longest_refresh_interval)
        if step < beginning[-1]:
            if step not in beginning:
                return None
            count = beginning.index(step)
        else:
            further, rest = divmod(step - beginning[-1], self.longest_refresh_interval)
            if rest:
                return None
            count = len(beginning) - 1 + further
        return "surface" if count % self.full_refresh_every else "whole"


@functools.cache
def _refreshes(refresh_interval: int, longest_refresh_interval: int) -> tuple[int, ...]:
    """The steps with a refresh, up to the first that is followed by the longest interval."""
    steps = [0]
    while steps[-1] // refresh_interval < longest_refresh_interval:
        steps.append(steps[-1] + max(1, steps[-1] // refresh_interval))
    return tuple(steps)


class CachedTracer(Tracer):
    """Marches rays through a grid of distances, which follows the network by a schedule of the step.

    Args:
        settings: of grid and schedule.
    """

    def __init__(self, settings: CachedTracing) -> None:
        super().__init__(settings)
        self.settings: CachedTracing = settings
        self.grid = CachedSDFGrid(settings.cells, settings.radius, settings.chunk)
        self._known = False

    def get_extra_state(self) -> Tensor:
        """Whether the grid holds anything, for a checkpoint."""
        return torch.tensor(self._known)

    def set_extra_state(self, state: Tensor) -> None:
        """Take up a checkpoint's grid."""
        self._known = bool(state)

    @torch.no_grad()
    def forward(
        self,
        sdf: DistanceFunction,
        origins: Tensor,
        directions: Tensor,
        mask: Tensor,
        generator: torch.Generator | None,
        step: int | None,
    ) -> Trace:
        """Trace rays through the grid; see `Tracer`."""
        with remembered_weights():  # weight-normed weights are worked out once
            if step is not None:
                self.refresh(sdf, step)
            near, far, _ = intersect_sphere(origins, directions, self.settings.radius)
            found = march(self.grid, origins, directions, near, far, self.settings.cells)
            return self._corrected(sdf, origins, directions, mask, found, generator)

    def refresh(self, sdf: DistanceFunction, step: int) -> None:
        """Renew the grid as the step wants it; it is filled at the first call, whatever the step."""
        what = self.settings.refresh_at(step) if self._known else "whole"
        with remembered_weights():
            if what == "whole":
                self.grid.refresh(sdf)
            elif what == "surface":
                self.grid.follow(sdf)
        self._known = True

    def _corrected(
        self,
        sdf: DistanceFunction,
        origins: Tensor,
        directions: Tensor,
        mask: Tensor,
        found: GridMarch,
        generator: torch.Generator | None,
    ) -> Trace:
        """The true depths of rays that meet the surface inside the mask."""
        wanted = found.hit & mask
        evaluate, reach = chunked(sdf, self.settings.chunk), 2 * self.grid.cell
        if self.settings.fixed(mask.device):
            secant = Secant(evaluate, origins, directions, found.depth, found.rate, reach)
            for _ in range(self.settings.corrections):
                secant.step()
            return Trace(torch.where(wanted, secant.depth, found.least), found.hit)

        at = wanted.nonzero()[:, 0]
        secant = Secant(evaluate, origins[at], directions[at], found.depth[at], found.rate[at], reach)
        for _ in range(self.settings.corrections):
            secant.step()
        hit, out = found.hit.clone(), found.least.clone()
        away = (~wanted).nonzero()[:, 0]
        # Which point of a ray that misses is taken as its least distance matters to the mask's loss: the reference's
        # search, drawn depths included, is done on the grid.
        out[away] = trace(
            self.grid.at, origins[away], directions[away], self.settings, mask=mask[away], generator=generator
        ).depth
        for _ in range(MORE_CORRECTIONS):
            if not len(far := secant.far()):
                break
            secant.step(far)
        out[at] = secant.depth
        missed = (mask & ~found.hit).nonzero()[:, 0]
        inside = evaluate(origins[missed] + out[missed, None] * directions[missed]) < 0
        wrong = torch.cat([at[secant.far()], missed[inside]])
        if len(wrong):
            again = trace(
                sdf, origins[wrong], directions[wrong], self.settings, mask=mask[wrong], generator=generator
            )
            out[wrong], hit[wrong] = again.depth, again.hit
        return Trace(out, hit)


class Secant:
    """Steps of the secant method along rays, on the network itself; the first with the rate of the grid.

    Args:
        evaluate: Signed distance at points.
        origins: Of the rays.
        directions: Unit vectors.
        depth: Where to begin; then where the last step led.
        rate: How fast the distance falls there.
        reach: Longest step.
    """

    def __init__(
        self,
        evaluate: DistanceFunction,
        origins: Tensor,
        directions: Tensor,
        depth: Tensor,
        rate: Tensor,
        reach: float,
    ) -> None:
        self.evaluate, self.origins, self.directions, self.reach = evaluate, origins, directions, reach
        self.depth, self.rate = depth.clone(), rate.clone()
        self._from, self._distance = depth.clone(), torch.full_like(depth, float("nan"))

    def step(self, rays: Tensor | None = None) -> None:
        """A step of some rays; None for all of them."""
        at = slice(None) if rays is None else rays
        depth = self.depth[at]
        distance = self.evaluate(self.origins[at] + depth[:, None] * self.directions[at])
        fall = (self._distance[at] - distance) / (depth - self._from[at])
        # The fall is not a number at first, and where a ray did not move.
        rate = torch.where(fall > LEAST_RATE, fall, self.rate[at])
        self._from[at], self._distance[at], self.rate[at] = depth, distance, rate
        self.depth[at] = depth + (distance / rate).clamp(-self.reach, self.reach)

    def far(self) -> Tensor:
        """Rays whose last step did not begin close enough to end on the surface."""
        return (self._distance.abs() >= CLOSE).nonzero()[:, 0]
