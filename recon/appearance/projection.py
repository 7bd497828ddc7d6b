"""Colours of a surface from the photographs that show it: each point takes those of the photographs that see it best,
and a network's where none does, carried over smoothly at the border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt, maximum_filter, minimum_filter
from torch import Tensor, nn

from recon.geometry.raster import rasterise
from recon.scene import Camera

FACING = 0.05, 0.4
"""Cosines between normal and camera direction between which a photograph's say rises from none to full: a grazing view
is blurred along the surface, and a small error of the shape shifts its colours far."""
TOWARDS = 10.0
"""Photographs from other directions than that of the viewer count less: by the exponential of so many times the cosine's
distance from 1. Highlights stay where the viewer would see them."""
SHARE_POWER = 1.0
"""Shares of photographs are these powers of their weights: the best one prevails, and what it shows stays sharp."""
FULL = 0.3
"""Sum of weights from which nothing is left to the network."""
EDGE_MM = 2.0
"""Distance from the edge of what is seen over which a photograph's say rises."""
JUMP_MM = 4.0
"""Step of depth between neighbouring pixels that hides something."""
BEHIND_MM = 2.5
"""A point so far behind what a photograph shows is hidden there."""
GRID, CARRIED_CELLS = 64, (2.0, 6.0)
"""Cells across the unit cube of the lattice that carries differences over, and how far, in cells: near the border and
beyond."""
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
        near = minimum_filter(surface, 3)
        far = maximum_filter(np.where(covered, surface, 1e6), 3)
        edge = covered & (far - near > JUMP_MM / unit_mm)
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

    def look_up(
        self, points: Float[Tensor, "points 3"], normals: Float[Tensor, "points 3"], behind: float
    ) -> tuple[Float[Tensor, "points 3"], Float[Tensor, " points"], Float[Tensor, "points 3"]]:
        """Colours of surface points, what they are worth, and directions to the camera.

        Args:
            points: Unit space.
            normals: Unit vectors out of the surface.
            behind: A point so far behind the depth that is shown is hidden, unit space.
        """
        pose = torch.from_numpy(self.camera.camera_from_world[:3]).to(points)
        local = points @ pose[:, :3].T + pose[:, 3]
        depth = local[:, 2].clamp(min=1e-6)
        pixels = (local @ torch.from_numpy(self.camera.intrinsics[:2]).to(points).T) / depth[:, None]
        towards = -F.normalize(points - torch.from_numpy(self.camera.centre).to(points), dim=1)
        cosine = (normals * towards).sum(dim=1)
        size = torch.tensor([self.camera.width, self.camera.height]).to(points)
        where = (pixels / size * 2 - 1)[None, None]
        planes = torch.cat([self.image * self.gain[:, None, None], self.weight[None]])
        sampled = F.grid_sample(planes[None], where, align_corners=False)[0, :, 0].T
        shown = F.grid_sample(
            self.depth.clamp(max=1e3)[None, None], where, mode="nearest", align_corners=False
        )[0, 0, 0]
        rise = ((cosine - FACING[0]) / (FACING[1] - FACING[0])).clamp(0, 1)
        weight = sampled[:, 3] * rise.square() * cosine.clamp(min=0)
        inside = ((pixels >= 0) & (pixels <= size)).all(dim=1) & (local[:, 2] > 0)
        # Across a tilted surface depth changes within a pixel.
        slack = behind / cosine.clamp(min=0.2)
        return sampled[:, :3].clamp(0, 1), weight * (inside & (depth < shown + slack)), towards


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
            ratio = (found[b][0][both].clamp(min=0.02) / found[a][0][both].clamp(min=0.02)).log().median(dim=0).values
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

    It takes the place of a rendering network (`recon.rendering.surface`). What the network is off by where photographs
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
        self.carried: Float[Tensor, "1 3 grid grid grid"] | None = None

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
        own: Tensor = self.network(points, gradient, to_camera, feature)
        shown, share = self.shown(points, F.normalize(gradient, dim=1), to_camera)
        if self.carried is not None:
            at = points.flip(1)[None, None, None]  # grid_sample takes the last axis first
            own = own + F.grid_sample(self.carried, at, align_corners=True, padding_mode="border")[0, :, 0, 0].T
        return torch.lerp(own.clamp(-1, 1), shown * 2 - 1, share[:, None])

    def shown(
        self,
        points: Float[Tensor, "points 3"],
        normals: Float[Tensor, "points 3"],
        to_camera: Float[Tensor, "points 3"],
    ) -> tuple[Float[Tensor, "points 3"], Float[Tensor, " points"]]:
        """Colours of points by the photographs, in [0, 1], and how much they count against the network's."""
        found = [each.look_up(points, normals, BEHIND_MM / self.unit_mm) for each in self.photographs]
        weights = torch.stack([weight for _, weight, _ in found])
        near = torch.stack([TOWARDS * (towards * to_camera).sum(dim=1) for *_, towards in found])
        shares = (weights / weights.amax(dim=0).clamp(min=1e-9)) ** SHARE_POWER * (near - near.amax(dim=0)).exp()
        colours = torch.stack([colour for colour, *_ in found])
        mean = (colours * shares[..., None]).sum(dim=0) / shares.sum(dim=0).clamp(min=1e-9)[:, None]
        total = (weights.amax(dim=0) / FULL).clamp(0, 1)
        return mean, total * total * (3 - 2 * total)

    def carry_over(
        self,
        points: Float[Tensor, "points 3"],
        own: Float[Tensor, "points 3"],
        shown: Float[Tensor, "points 3"],
        share: Float[Tensor, " points"],
    ) -> None:
        """Carries what the network is off by, where photographs count, over to the rest.

        Args:
            points: On the surface, unit space.
            own: The network's colours, in [-1, 1].
            shown: The photographs', in [0, 1].
            share: How much the photographs count.
        """
        cells = ((points + 1) / 2 * (GRID - 1)).round().long().clamp(0, GRID - 1)
        index = (cells[:, 0] * GRID + cells[:, 1]) * GRID + cells[:, 2]
        values = torch.cat([(shown * 2 - 1 - own) * share[:, None], share[:, None]], dim=1)
        planes = torch.zeros(GRID**3, 4).index_add(0, index, values).T.reshape(1, 4, GRID, GRID, GRID)
        near, wide = (blurred(planes, cells_wide) for cells_wide in CARRIED_CELLS)
        wide_mean = wide[:, :3] / (wide[:, 3:] + 1e-3)
        # Far from all that is seen, the mean of all of it.
        overall = planes[:, :3].sum(dim=(2, 3, 4), keepdim=True) / planes[:, 3:].sum().clamp(min=1e-6)
        trust = wide[:, 3:] / (wide[:, 3:] + 1e-2)
        base = torch.lerp(overall.expand_as(wide_mean), wide_mean, trust)
        self.carried = torch.lerp(base, near[:, :3] / (near[:, 3:] + 1e-3), near[:, 3:] / (near[:, 3:] + 5e-2))


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
