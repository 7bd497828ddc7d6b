"""Bounds of the depths at which the rays of a picture can meet a surface, from points close to all of it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import max_pool2d

from recon.rendering.cameras import CameraBundle


@dataclass(frozen=True)
class SurfaceBounds:
    """Points close to all of a surface, such as the vertices of its mesh.

    Attributes:
        points: The points, in unit space.
        gap: Largest distance from a point of the surface to the nearest of the points, in unit space. A mesh by
            marching cubes has a vertex within one edge of a cell of each of its points, and is nearer than half an
            edge to the zero level of its field.
    """

    points: Float[Tensor, "points 3"]
    gap: float

    @torch.no_grad()
    def depths(
        self, cameras: CameraBundle, view: int, rows: int, columns: int, step: int
    ) -> tuple[Float[Tensor, "rows columns"], Float[Tensor, "rows columns"]] | None:
        """Depths between which the rays of a picture can meet the surface, in unit space.

        Each point is seen in one pixel. A ray meets the surface only near pixels that see a point, and not
        further than the gap from the nearest and the farthest of these points.

        Args:
            cameras: In unit space.
            view: Index in the bundle.
            rows: Of the picture.
            columns: Of the picture.
            step: The rays go through the centres of blocks of this many pixels squared.

        Returns:
            Near and far depths; near is infinite where a ray cannot meet the surface. None where the surface
            comes too close to the camera to tell.
        """
        away = self.points - cameras.centres[view]
        x, y, z = (away @ cameras.rotations()[view]).unbind(1)
        if not len(z) or float(z.min()) < 4 * self.gap:
            return None
        k = torch.linalg.inv(cameras.camera_from_pixel[view])
        column = ((k[0, 0] * x + k[0, 1] * y) / z + k[0, 2]) / step
        row = (k[1, 1] * y / z + k[1, 2]) / step
        # How far the gap can reach in the picture: sideways, and in depth for what is seen off the axis.
        slant = 1 + float(torch.maximum((x / z).abs().max(), (y / z).abs().max()))
        focal = float(torch.maximum(k[0, 0] + k[0, 1].abs(), k[1, 1])) / step
        reach = int(focal * self.gap * slant / (float(z.min()) - self.gap)) + 2
        size = (rows + 2 * reach, columns + 2 * reach)
        at_row, at_column = row.floor().long() + reach, column.floor().long() + reach
        inside = (at_row >= 0) & (at_row < size[0]) & (at_column >= 0) & (at_column < size[1])
        pixel = (at_row * size[1] + at_column)[inside]
        depth = away.norm(dim=1)[inside]
        near = -_greatest(-depth, pixel, size, reach) - self.gap
        far = _greatest(depth, pixel, size, reach) + self.gap
        return near.clamp_min(0), far


def _greatest(
    values: Float[Tensor, " n"], pixels: Int[Tensor, " n"], size: tuple[int, int], reach: int
) -> Float[Tensor, "rows columns"]:
    """The greatest value about each pixel of a picture whose border of `reach` pixels is cut off; -inf for none."""
    grid = torch.full((size[0] * size[1],), -torch.inf, dtype=values.dtype, device=values.device)
    grid.scatter_reduce_(0, pixels, values, "amax")
    return max_pool2d(grid.reshape(1, 1, *size), 2 * reach + 1, stride=1)[0, 0]
