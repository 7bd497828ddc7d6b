"""Square crops of a photograph, turned and scaled, as networks take them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Crop:
    """A square of a photograph that becomes `size` x `size` pixels.

    Attributes:
        x: Of its centre, pixels of the photograph.
        y: Of its centre, pixels of the photograph.
        side: Pixels of the photograph.
        roll: Angle from the photograph's x axis to the crop's, radians, clockwise as it is seen.
        size: Pixels of the crop.
    """

    x: float
    y: float
    side: float
    roll: float
    size: int

    def to_photograph(self, points: Float[np.ndarray, "*points 2"]) -> Float[np.ndarray, "*points 2"]:
        """Pixels of the photograph from pixels of the crop; corners of pixels have whole numbers in both."""
        scale = self.side / self.size
        return (np.asarray(points) - self.size / 2) @ self._rotation().T * scale + [self.x, self.y]

    def from_photograph(self, points: Float[np.ndarray, "*points 2"]) -> Float[np.ndarray, "*points 2"]:
        """Pixels of the crop from pixels of the photograph."""
        scale = self.size / self.side
        return (np.asarray(points) - [self.x, self.y]) @ self._rotation() * scale + self.size / 2

    def _rotation(self) -> np.ndarray:
        cos, sin = math.cos(self.roll), math.sin(self.roll)
        return np.array([[cos, -sin], [sin, cos]])


class Pyramid:
    """A photograph at 1/1, 1/2, 1/4 … of its size, from which crops of any scale are sampled without aliasing.

    Args:
        image: Any number of channels.
    """

    def __init__(self, image: Float[np.ndarray, "height width channels"]) -> None:
        self._levels = [torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]]
        self.width, self.height = image.shape[1], image.shape[0]

    def crops(self, crops: Sequence[Crop], border: bool) -> Float[Tensor, "crops size size channels"]:
        """Crops of one size, by bilinear interpolation of the next finer level.

        Args:
            crops: What is wanted; all of one size.
            border: Beyond the photograph its border is repeated; otherwise it is black there.
        """
        return torch.cat([self._crop(crop, border) for crop in crops]).permute(0, 2, 3, 1)

    def _crop(self, crop: Crop, border: bool) -> Tensor:
        number = max(0, math.floor(math.log2(max(crop.side / crop.size, 1)) + 1e-6))
        while len(self._levels) <= number:
            finest = self._levels[-1]
            if min(finest.shape[2:]) < 2:
                break
            odd = [0, finest.shape[3] % 2, 0, finest.shape[2] % 2]
            self._levels.append(F.avg_pool2d(F.pad(finest, odd, mode="replicate"), 2))
        number = min(number, len(self._levels) - 1)
        level = self._levels[number]
        middles = np.arange(crop.size) + 0.5
        grid = crop.to_photograph(np.stack(np.meshgrid(middles, middles), axis=-1)) / 2**number
        grid = grid / [level.shape[3] / 2, level.shape[2] / 2] - 1
        where = torch.from_numpy(grid.astype(np.float32))[None]
        mode = "border" if border else "zeros"
        return F.grid_sample(level, where, mode="bilinear", padding_mode=mode, align_corners=False)
