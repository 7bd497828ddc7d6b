"""Training rays traced through a remembered distance, and corrected on the true one (the dynamic caching of SIRA++,
section 6.2 of specs/methods.md, on a grid).

Almost all that IDR computes is tracing without gradients. Here a ray is marched through a grid of distances, which
costs no evaluation of the network; only where it ends on the surface, secant steps on the network itself take out
what the grid is wrong by. Rays that miss are searched for their least distance as the reference does it, but on the
grid. Rays of the mask for which the network says that the grid is no good are traced by the reference.
"""

import functools
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recon.rendering.distance_grid import STRIDES, DistanceGrid
from recon.rendering.search import DistanceFunction, chunked
from recon.rendering.tracing import Trace, Tracer, TracingSettings, intersect_sphere, trace
from recon.rendering.weights import remembered_weights

LEAST_RATE = 0.1  # the signed distance falls at least this fast along a ray that a secant step trusts
CLOSE = 1e-3  # a secant step from nearer than this, in unit space, ends on the surface
MORE_CORRECTIONS = 6  # at most, for rays that are not that close yet
SUBDIVISIONS = 8  # samples of the second, finer look about a crossing or a least distance


@dataclass(frozen=True)
class CachedTracing(TracingSettings):
    """Settings of training with a remembered distance; those of `TracingSettings` hold for pictures.

    Attributes:
        cells: of the grid along the side of the cube about the sphere, a multiple of 4.
        corrections: secant steps on the true distance.
        pace: for so many steps the whole grid is asked again at each. Afterwards renewals come after ever more steps:
            after step / pace of them.
        every: but never after more than so many.
        whole_every: every so many renewals the whole grid is asked again, otherwise only where the surface passes.
        fixed_shapes: evaluate all rays at each correction and leave none to the reference, so that shapes stay the
            same and nothing waits for an answer; least distances are then those of uniform samples. None for all
            devices but CPUs.

    Raises:
        ValueError: if a number makes no sense.
    """

    cells: int = 96
    corrections: int = 2
    pace: int = 10
    every: int = 20
    whole_every: int = 10
    fixed_shapes: bool | None = None
    analytic: bool = True
    coarse_backward: bool = True

    def __post_init__(self) -> None:
        if self.cells < 8 or self.cells % STRIDES[0]:
            raise ValueError(f"renderer.cells={self.cells}: expected a multiple of {STRIDES[0]}, at least 8")
        for name in ("corrections", "pace", "every", "whole_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"renderer.{name}={getattr(self, name)}: expected 1 or more")

    def tracer(self) -> Tracer:
        """What finds the surface along the rays of training."""
        return CachedTracer(self)

    def renewal(self, step: int) -> str | None:
        """What is renewed before a step: "whole", "surface" or None."""
        if step < self.pace:
            return "whole"
        beginning = _renewals(self.pace, self.every)
        if step < beginning[-1]:
            if step not in beginning:
                return None
            count = beginning.index(step)
        else:
            further, rest = divmod(step - beginning[-1], self.every)
            if rest:
                return None
            count = len(beginning) - 1 + further
        return "surface" if count % self.whole_every else "whole"


@functools.cache
def _renewals(pace: int, every: int) -> tuple[int, ...]:
    """The steps with a renewal, up to the first that is followed by the longest interval."""
    steps = [0]
    while steps[-1] // pace < every:
        steps.append(steps[-1] + max(1, steps[-1] // pace))
    return tuple(steps)


class CachedTracer(Tracer):
    """Marches rays through a grid of distances, which follows the network by a schedule of the step.

    Args:
        settings: of grid and schedule.
    """

    def __init__(self, settings: CachedTracing) -> None:
        super().__init__(settings)
        self.settings: CachedTracing = settings
        self.grid = DistanceGrid(settings.cells, settings.radius, settings.chunk)
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
        generator: torch.Generator,
        step: int,
    ) -> Trace:
        """Trace rays through the grid; see `Tracer`. The grid is filled at the first call, whatever the step."""
        with remembered_weights():  # weight-normed weights are worked out once
            self._renew(sdf, step)
            near, far, _ = intersect_sphere(origins, directions, self.settings.radius)
            found = march(self.grid, origins, directions, near, far, self.settings.cells)
            return self._corrected(sdf, origins, directions, mask, found, generator)

    def _renew(self, sdf: DistanceFunction, step: int) -> None:
        what = self.settings.renewal(step) if self._known else "whole"
        if what == "whole":
            self.grid.renew(sdf)
        elif what == "surface":
            self.grid.follow(sdf)
        self._known = True

    def _corrected(
        self,
        sdf: DistanceFunction,
        origins: Tensor,
        directions: Tensor,
        mask: Tensor,
        found: "Passage",
        generator: torch.Generator,
    ) -> Trace:
        """The true depths of rays that meet the surface inside the mask."""
        wanted = found.hit & mask
        fixed = self.settings.fixed_shapes
        if fixed is None:
            fixed = mask.device.type != "cpu"
        at = torch.arange(len(mask), device=mask.device) if fixed else wanted.nonzero()[:, 0]
        evaluate = chunked(sdf, self.settings.chunk)
        secant = Secant(
            evaluate, origins[at], directions[at], found.depth[at], found.rate[at], 2 * self.grid.cell
        )
        for _ in range(self.settings.corrections):
            secant.step()
        hit, out = found.hit.clone(), found.least.clone()
        if fixed:
            out[at] = torch.where(wanted[at], secant.depth, out[at])
            return Trace(out, hit)

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
        self._from, self._distance = depth, torch.full_like(depth, float("nan"))

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


@dataclass(frozen=True)
class Passage:
    """What rays pass in a grid.

    Attributes:
        hit: whether they meet the surface.
        depth: where first; of the least distance for the others.
        rate: how fast the distance falls there along the ray, at least `LEAST_RATE`.
        least: depth of the least distance.
    """

    hit: Bool[Tensor, " rays"]
    depth: Float[Tensor, " rays"]
    rate: Float[Tensor, " rays"]
    least: Float[Tensor, " rays"]


def march(
    grid: DistanceGrid,
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    near: Float[Tensor, " rays"],
    far: Float[Tensor, " rays"],
    samples: int,
) -> Passage:
    """First crossings and least distances along rays, by uniform samples and a finer look about the chosen one.

    All shapes depend on the numbers of rays and samples alone, and nothing is read back.

    Args:
        grid: the distances.
        origins: of the rays, in unit space.
        directions: unit vectors.
        near: depths where to begin.
        far: depths where to end.
        samples: on each ray.
    """
    along = torch.linspace(0, 1, samples, dtype=near.dtype, device=near.device)
    depths = near[:, None] + along * (far - near)[:, None]
    distances = grid.at(origins[:, None] + depths[..., None] * directions[:, None])
    inside = distances < 0
    hit = inside.any(1)
    first = inside.to(torch.uint8).argmax(1)  # the first of equal maxima
    deepest = distances.argmin(1)
    step = (far - near) / (samples - 1)

    # The neighbours of the sample: before a crossing there is one outside, about a least distance two above.
    centre = torch.where(hit, first, deepest)
    fine = torch.linspace(-1, 1, 2 * SUBDIVISIONS + 1, dtype=near.dtype, device=near.device)
    middle = near + centre * step
    finer = (middle[:, None] + fine * step[:, None]).maximum(near[:, None]).minimum(far[:, None])
    values = grid.at(origins[:, None] + finer[..., None] * directions[:, None])
    within = values < 0
    crossed = within.any(1)
    high = within.to(torch.uint8).argmax(1)
    low = (high - 1).clamp_min(0)
    t_low, t_high = _pick(finer, low), _pick(finer, high)
    f_low, f_high = _pick(values, low), _pick(values, high)
    span = (t_high - t_low).clamp_min(torch.finfo(near.dtype).eps)
    rate = ((f_low - f_high) / span).clamp_min(LEAST_RATE)
    root = t_high + (f_high / rate).maximum(t_low - t_high)
    least = torch.where(hit, _pick(depths, deepest), _pick(finer, values.argmin(1)))
    return Passage(crossed, torch.where(crossed, root, least), rate, least)


def _pick(values: Float[Tensor, "rays samples"], index: Tensor) -> Float[Tensor, " rays"]:
    """One value of each ray."""
    return values.gather(1, index[:, None])[:, 0]
