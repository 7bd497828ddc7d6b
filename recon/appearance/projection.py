"""Colours of a surface from the photographs that show it: each point takes those of the photographs that see it best,
and a network's where none does, carried over smoothly at the border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from scipy import sparse
from scipy.ndimage import distance_transform_edt
from scipy.sparse.linalg import cg
from scipy.spatial import cKDTree
from torch import Tensor, nn

from recon.geometry.raster import rasterise
from recon.scene import Camera

FACING = 0.05, 0.4
"""Cosines between normal and camera direction between which a photograph's say rises from none to full: a grazing view
is blurred along the surface, and a small error of the shape shifts its colours far."""
TOWARDS = 10.0
"""Photographs from other directions than the viewer's count less: by the exponential of so many times the cosine's
distance from 1. Highlights stay where the viewer would see them."""
FULL = 0.3
"""Sum of weights from which nothing is left to the network."""
EDGE_MM = 2.0
"""Distance from the edge of what is seen over which a photograph's say rises."""
JUMP_MM = 3.0
"""Difference between a pixel's depth and what its neighbours on both sides would have, from which something hides
something there; on a smooth slope, however steep, it is small."""
BEHIND_MM = 2.5
"""A point so far behind what a photograph shows is hidden there."""
GLANCED = 0.05
"""Weight of a photograph from which the network has learned what is there; where all have less, colours of the
neighbourhood are taken."""
GRID, SCALES = 64, (6.0, 2.5, 1.0)
"""Cells across the unit cube of the lattice that holds what was spread over the surface, and standard deviations, in
cells, of the blurs that fill it between points, from coarse to fine."""
ENOUGH = 0.02
"""Points a cell, after blurring, from which a finer scale is believed."""
NEIGHBOURS, PULL = 8, 2.0
"""Neighbours of a point on the surface, and how strongly a point keeps its own colour against all of them."""
LEAST_POINTS = 200
"""Vertices that two photographs show, from which their brightness is compared."""


@dataclass(frozen=True, eq=False)
class ProjectedPhotograph:
    """A photograph as colours of a surface.

    Attributes:
        image: (3, h, w) sRGB in [0, 1].
        weight: (h, w) how much each pixel is worth: 0 where it does not show the head, or hardly.
        depth: (h, w) of the surface along the optical axis, unit space; infinity beside it.
        camera: Unit space.
        gain: (3,) factors of its colours, by which photographs are balanced.
    """

    image: Float[Tensor, "3 h w"]
    weight: Float[Tensor, "h w"]
    depth: Float[Tensor, "h w"]
    camera: Camera
    gain: Float[Tensor, " 3"]

    @classmethod
    def of_surface(
        cls,
        image: Float[np.ndarray, "h w 3"],
        usable: Bool[np.ndarray, "h w"],
        camera: Camera,
        vertices: Float[np.ndarray, "vertices 3"],
        faces: np.ndarray,
        unit_mm: float,
    ) -> ProjectedPhotograph:
        """A photograph of a surface.

        Args:
            image: sRGB in [0, 1].
            usable: Pixels that show the head: of the mask, and not ignored.
            camera: Unit space.
            vertices: Of the surface, unit space.
            faces: Of the surface.
            unit_mm: Millimetres of the unit.
        """
        pixels, depth = camera.project(vertices)
        inverse = 1 / np.maximum(depth, 1e-6)
        drawn = rasterise(np.column_stack([pixels, -inverse]), faces, camera.height, camera.width)
        covered = drawn.face >= 0
        surface = np.where(covered, -1 / np.where(covered, drawn.depth, -1.0), np.inf)
        edge = _bends(np.where(covered, surface, 0.0)) > JUMP_MM / unit_mm
        pixel_mm = float(np.median(depth)) / camera.intrinsics[0, 0] * unit_mm
        away = distance_transform_edt(np.pad(usable & covered & ~edge, 1))[1:-1, 1:-1] * pixel_mm
        weight = np.clip(away / EDGE_MM, 0, 1).astype(np.float32)
        return cls(
            torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)),
            torch.from_numpy(weight),
            torch.from_numpy(surface.astype(np.float32)),
            camera,
            torch.ones(3),
        )

    @cached_property
    def _planes(self) -> Float[Tensor, "1 4 h w"]:
        """Balanced colours and weight, for sampling."""
        return torch.cat([self.image * self.gain[:, None, None], self.weight[None]])[None]

    @cached_property
    def _far(self) -> Float[Tensor, "1 1 h w"]:
        """Depth without infinity, for sampling."""
        return self.depth.clamp(max=1e3)[None, None]

    def look_up(
        self, points: Float[Tensor, "points 3"], normals: Float[Tensor, "points 3"], behind: float
    ) -> tuple[Float[Tensor, "points 3"], Float[Tensor, " points"], Float[Tensor, "points 3"]]:
        """Colours of surface points, what they are worth, and directions to the camera.

        Args:
            points: Unit space.
            normals: Unit vectors out of the surface.
            behind: A point so far behind the depth that is shown is hidden, unit space.
        """
        pose = torch.tensor(self.camera.camera_from_world[:3]).to(points)
        local = points @ pose[:, :3].T + pose[:, 3]
        depth = local[:, 2].clamp(min=1e-6)
        pixels = (local @ torch.tensor(self.camera.intrinsics[:2]).to(points).T) / depth[:, None]
        towards = -F.normalize(points - torch.tensor(self.camera.centre).to(points), dim=1)
        cosine = (normals * towards).sum(dim=1)
        size = torch.tensor([self.camera.width, self.camera.height]).to(points)
        where = (pixels / size * 2 - 1)[None, None]
        sampled = F.grid_sample(self._planes, where, align_corners=False)[0, :, 0].T
        shown = F.grid_sample(self._far, where, mode="nearest", align_corners=False)[0, 0, 0]
        rise = ((cosine - FACING[0]) / (FACING[1] - FACING[0])).clamp(0, 1)
        weight = sampled[:, 3] * rise.square() * cosine.clamp(min=0)
        inside = ((pixels >= 0) & (pixels <= size)).all(dim=1) & (local[:, 2] > 0)
        # Across a tilted surface depth changes within a pixel.
        slack = behind / cosine.clamp(min=0.2)
        return sampled[:, :3].clamp(0, 1), weight * (inside & (depth < shown + slack)), towards


def _bends(depth: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Largest second difference of depth along rows and columns."""
    bends = np.zeros_like(depth)
    bends[1:-1] = np.abs(depth[2:] - 2 * depth[1:-1] + depth[:-2])
    bends[:, 1:-1] = np.maximum(bends[:, 1:-1], np.abs(depth[:, 2:] - 2 * depth[:, 1:-1] + depth[:, :-2]))
    return bends


def balanced(
    photographs: Sequence[ProjectedPhotograph],
    points: Float[Tensor, "points 3"],
    normals: Float[Tensor, "points 3"],
    unit_mm: float,
) -> list[ProjectedPhotograph]:
    """Photographs with gains by which they agree where two of them show the same points: least squares over the
    logarithms of their ratios, whose mean stays.
    """
    found = [each.look_up(points, normals, BEHIND_MM / unit_mm) for each in photographs]
    count = len(photographs)
    matrix, right = torch.full((count, count), 1.0 / count), torch.zeros(count, 3)
    for a in range(count):
        for b in range(a + 1, count):
            both = (found[a][1] > 0.1) & (found[b][1] > 0.1)
            if int(both.sum()) < LEAST_POINTS:
                continue
            ratio = (
                (found[b][0][both].clamp(min=0.02) / found[a][0][both].clamp(min=0.02))
                .log()
                .median(dim=0)
                .values
            )
            matrix[a, a] += 1
            matrix[b, b] += 1
            matrix[a, b] -= 1
            matrix[b, a] -= 1
            right[a] += ratio
            right[b] -= ratio
    gains = torch.linalg.lstsq(matrix, right).solution
    return [
        replace(each, gain=(gain - gains.mean(dim=0)).exp().clamp(0.5, 2.0))
        for each, gain in zip(photographs, gains, strict=True)
    ]


class ProjectedColour(nn.Module):
    """Colours of surface points by photographs, and by a rendering network where none shows them.

    It takes the place of a rendering network (`recon.rendering.surface`), on whatever device that is; photographs are
    looked up on the CPU. What the network is off by where photographs
    show the surface is carried over to where they do not, so that no border is seen.

    Args:
        network: A rendering network: colours in [-1, 1] of points, gradients, directions and features.
        photographs: Those of the input views.
        unit_mm: Millimetres of the unit.
    """

    def __init__(self, network: Any, photographs: Sequence[ProjectedPhotograph], unit_mm: float) -> None:
        super().__init__()
        self.network = network
        self.photographs = list(photographs)
        self.unit_mm = unit_mm
        self.carried: Float[Tensor, "1 6 grid grid grid"] | None = None

    @property
    def sees_camera(self) -> bool:
        """Whether colours depend on the direction to the camera: as the network's."""
        return bool(getattr(self.network, "sees_camera", True))

    def forward(
        self,
        points: Float[Tensor, "points 3"],
        gradient: Float[Tensor, "points 3"],
        to_camera: Float[Tensor, "points 3"],
        feature: Float[Tensor, "points features"],
    ) -> Float[Tensor, "points 3"]:
        """Colours in [-1, 1]."""
        own: Tensor = self.network(points, gradient, to_camera, feature).cpu()
        here = points.cpu()
        shown, weight = self.shown(here, F.normalize(gradient, dim=1).cpu(), to_camera.cpu())
        if self.carried is not None:
            at = here.flip(1)[None, None, None]  # grid_sample takes the last axis first
            sampled = F.grid_sample(self.carried, at, align_corners=True, padding_mode="border")
            off, around = sampled[0, :, 0, 0].T.split(3, dim=1)
            own = torch.lerp(around, own + off, (weight / GLANCED).clamp(0, 1)[:, None])
        return torch.lerp(own.clamp(-1, 1), shown * 2 - 1, share(weight)[:, None]).to(points)

    def shown(
        self,
        points: Float[Tensor, "points 3"],
        normals: Float[Tensor, "points 3"],
        to_camera: Float[Tensor, "points 3"],
    ) -> tuple[Float[Tensor, "points 3"], Float[Tensor, " points"]]:
        """Colours of points by the photographs, in [0, 1], and the largest weight of any."""
        found = [each.look_up(points, normals, BEHIND_MM / self.unit_mm) for each in self.photographs]
        weights = torch.stack([weight for _, weight, _ in found])
        near = torch.stack([TOWARDS * (towards * to_camera).sum(dim=1) for *_, towards in found])
        shares = weights / weights.amax(dim=0).clamp(min=1e-9) * (near - near.amax(dim=0)).exp()
        colours = torch.stack([colour for colour, *_ in found])
        mean = (colours * shares[..., None]).sum(dim=0) / shares.sum(dim=0).clamp(min=1e-9)[:, None]
        return mean, weights.amax(dim=0)

    def carry_over(
        self,
        points: Float[Tensor, "points 3"],
        own: Float[Tensor, "points 3"],
        shown: Float[Tensor, "points 3"],
        weight: Float[Tensor, " points"],
    ) -> None:
        """Carries colours, and what the network is off by, from where photographs count over to the rest.

        Args:
            points: On the surface, unit space.
            own: The network's colours, in [-1, 1].
            shown: The photographs', in [0, 1].
            weight: The largest weight of any photograph.
        """
        counts = share(weight)
        values = torch.cat([shown * 2 - 1 - own, shown * 2 - 1], dim=1)
        spread = torch.from_numpy(
            spread_over(points.double().numpy(), values.double().numpy(), counts.double().numpy())
        ).to(values)
        cells = ((points + 1) / 2 * (GRID - 1)).round().long().clamp(0, GRID - 1)
        index = (cells[:, 0] * GRID + cells[:, 1]) * GRID + cells[:, 2]
        values = torch.cat([spread, torch.ones_like(spread[:, :1])], dim=1)
        planes = (
            torch.zeros(GRID**3, 7).to(values).index_add(0, index, values).T.reshape(1, 7, GRID, GRID, GRID)
        )
        found = spread.mean(dim=0).reshape(1, 6, 1, 1, 1).expand(-1, -1, GRID, GRID, GRID)
        for sigma in SCALES:
            wide = blurred(planes, sigma)
            mean, count = wide[:, :6] / wide[:, 6:].clamp(min=1e-6), wide[:, 6:] * sigma**2
            found = torch.lerp(found, mean, count / (count + ENOUGH))
        self.carried = found


def spread_over(
    points: Float[np.ndarray, "points 3"],
    values: Float[np.ndarray, "points channels"],
    counts: Float[np.ndarray, " points"],
) -> Float[np.ndarray, "points channels"]:
    """Values of points of a surface, spread along it from where they count to where they do not: a membrane on the
    graph of nearest neighbours, held by the values.

    Args:
        points: On the surface.
        values: Of each.
        counts: How much each value counts, from 0 to 1.
    """
    count = len(points)
    distance, near = cKDTree(points).query(points, k=min(NEIGHBOURS + 1, count))
    rows = np.repeat(np.arange(count), near.shape[1] - 1)
    scale = max(float(np.median(distance[:, 1:])), 1e-12)
    weight = 1 / (distance[:, 1:].ravel() / scale + 0.1)
    graph = sparse.coo_matrix((weight, (rows, near[:, 1:].ravel())), shape=(count, count)).tocsr()
    graph = graph + graph.T
    degree = np.asarray(graph.sum(axis=1)).ravel()
    # A point that nothing holds, on a piece of its own, tends to the mean.
    held = PULL * degree * counts + 1e-6 * degree
    mean = (values * counts[:, None]).sum(axis=0) / max(float(counts.sum()), 1e-9)
    matrix = sparse.diags(degree + held) - graph
    right = (values * (PULL * degree * counts)[:, None]) + 1e-6 * degree[:, None] * mean
    scaling = sparse.diags(1 / (degree + held))
    return np.stack(
        [
            cg(matrix, channel, x0=np.full(count, m), rtol=1e-4, maxiter=400, M=scaling)[0]
            for channel, m in zip(right.T, mean, strict=True)
        ],
        axis=1,
    )


def share(weight: Float[Tensor, " points"]) -> Float[Tensor, " points"]:
    """How much photographs count against all else, by their largest weight."""
    part = (weight / FULL).clamp(0, 1)
    return part * part * (3 - 2 * part)


def blurred(planes: Float[Tensor, "1 channels a b c"], sigma: float) -> Float[Tensor, "1 channels a b c"]:
    """Gaussian blur along all three axes, in cells."""
    reach = int(np.ceil(3 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    channels = planes.shape[1]
    for axis in range(3):
        shape, padding = [1, 1, 1], [0, 0, 0]
        shape[axis], padding[axis] = len(kernel), reach
        weight = kernel.reshape(1, 1, *shape).expand(channels, 1, *shape)
        planes = F.conv3d(planes, weight, padding=padding, groups=channels)
    return planes
