"""Training rays traced through a cached SDF grid and corrected on the network (dynamic caching of SIRA++, on a grid).

Almost all computation of IDR is tracing without gradients. Here a ray is marched through a grid of distances, which
costs no evaluation of the network; only at its hit, secant steps on the network itself remove the error of the grid.
Rays that miss are searched for their least distance as in IDR, but on the grid. Rays of the mask for which the network
contradicts the grid are traced as in IDR.
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
    cached_weights,
    intersect_sphere,
    trace,
)

CLOSE = 1e-3  # largest distance, in unit space, from which a secant step ends on the surface
MORE_CORRECTIONS = 6  # most further secant steps for rays that are not that close yet


@dataclass(frozen=True)
class CachedTracing(TracingSettings):
    """Settings of training with a cached SDF grid; those of `TracingSettings` hold for pictures.

    Attributes:
        cells: cells of the grid along the side of the cube about the sphere, a multiple of 4.
        corrections: secant steps on the network.
        refresh_interval: number of first steps each of which refreshes the whole grid. Afterwards the interval between
            refreshes grows in proportion: it is step / refresh_interval.
        longest_refresh_interval: upper bound of the interval between refreshes, in steps.
        full_refresh_every: number of refreshes of which one evaluates the whole grid, and the others only the cells
            that the surface crosses.
        fixed_shapes: whether to evaluate all rays at each correction and trace none as in IDR, so that shapes stay the
            same and nothing is read back; least distances are then those of uniform samples. None for all devices but
            CPUs.
        cuda_graphs: whether to record a training step on a CUDA device and replay it from then on, instead of launching
            its kernels one by one; see `recon.systems.graphs`. It needs fixed shapes.

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
        """The value of `cuda_graphs`."""
        return self.cuda_graphs

    def fixed(self, device: torch.device) -> bool:
        """The value of `fixed_shapes`; by the device where that is None."""
        return device.type != "cpu" if self.fixed_shapes is None else self.fixed_shapes

    def tracer(self) -> Tracer:
        """A new tracer for the rays of training."""
        return CachedTracer(self)

    def refresh_at(self, step: int) -> str | None:
        """The part of the grid to refresh before a step: "whole", "surface" or None."""
        if step < self.refresh_interval:
            return "whole"
        first_steps = _first_refreshes(self.refresh_interval, self.longest_refresh_interval)
        if step < first_steps[-1]:
            if step not in first_steps:
                return None
            count = first_steps.index(step)
        else:
            further, rest = divmod(step - first_steps[-1], self.longest_refresh_interval)
            if rest:
                return None
            count = len(first_steps) - 1 + further
        return "surface" if count % self.full_refresh_every else "whole"


@functools.cache
def _first_refreshes(refresh_interval: int, longest_refresh_interval: int) -> tuple[int, ...]:
    """The steps with a refresh, up to the first one that the longest interval follows."""
    steps = [0]
    while steps[-1] // refresh_interval < longest_refresh_interval:
        steps.append(steps[-1] + max(1, steps[-1] // refresh_interval))
    return tuple(steps)


class CachedTracer(Tracer):
    """A tracer that marches rays through a cached SDF grid, refreshed by a schedule of the step.

    Args:
        settings: of the grid and its schedule.
    """

    def __init__(self, settings: CachedTracing) -> None:
        super().__init__(settings)
        self.settings: CachedTracing = settings
        self.grid = CachedSDFGrid(settings.cells, settings.radius, settings.chunk)
        self._filled = False

    def get_extra_state(self) -> Tensor:
        """Whether the grid has been filled, for a checkpoint."""
        return torch.tensor(self._filled)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore from a checkpoint whether the grid has been filled."""
        self._filled = bool(state)

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
        with cached_weights():  # normalised weights are computed once
            if step is not None:
                self.refresh(sdf, step)
            near, far, _ = intersect_sphere(origins, directions, self.settings.radius)
            found = march(self.grid, origins, directions, near, far, self.settings.cells)
            return self._corrected(sdf, origins, directions, mask, found, generator)

    def refresh(self, sdf: DistanceFunction, step: int) -> None:
        """Refresh the part of the grid that the schedule names for the step; all of it at the first call."""
        part = self.settings.refresh_at(step) if self._filled else "whole"
        with cached_weights():
            if part == "whole":
                self.grid.refresh(sdf)
            elif part == "surface":
                self.grid.refresh_surface(sdf)
        self._filled = True

    def _corrected(
        self,
        sdf: DistanceFunction,
        origins: Tensor,
        directions: Tensor,
        mask: Tensor,
        found: GridMarch,
        generator: torch.Generator | None,
    ) -> Trace:
        """The march with depths corrected on the network, for rays that meet the surface inside the mask."""
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
        # The mask loss depends on which point of a ray that misses counts as its least distance: so the search is that
        # of IDR, random depths included, on the grid.
        out[away] = trace(
            self.grid.interpolate,
            origins[away],
            directions[away],
            self.settings,
            mask=mask[away],
            generator=generator,
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
    """The secant method along rays, on the network; its first step takes the derivative from the grid.

    Args:
        evaluate: Signed distance at points.
        origins: Origins of the rays.
        directions: Unit vectors.
        depth: Depths where to begin; the attribute has those after the last step.
        rate: Decrease of the distance per unit of depth there.
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
        """Do a step for some rays, given by index; for all with None."""
        at = slice(None) if rays is None else rays
        depth = self.depth[at]
        distance = self.evaluate(self.origins[at] + depth[:, None] * self.directions[at])
        secant = (self._distance[at] - distance) / (depth - self._from[at])
        # Not a number at first, and where a ray did not move.
        rate = torch.where(secant > LEAST_RATE, secant, self.rate[at])
        self._from[at], self._distance[at], self.rate[at] = depth, distance, rate
        self.depth[at] = depth + (distance / rate).clamp(-self.reach, self.reach)

    def far(self) -> Tensor:
        """Indices of the rays whose last step began too far away to end on the surface."""
        return (self._distance.abs() >= CLOSE).nonzero()[:, 0]
