"""Photographs as logarithms of luminance, at several blurs, with their slopes."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recon.scene.brightness import blurred_within


@dataclass(frozen=True)
class LogPicture:
    """Logarithm of a photograph's luminance, interpolated by bicubic convolution (Keys 1981, a = −1/2).

    Attributes:
        values: At the pixels' centres.
    """

    values: Float[Tensor, "height width"]

    def sample(
        self, pixels: Float[Tensor, "points 2"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 2"]]:
        """Values at pixels (x, y), pixel centres at + 0.5, with their derivative by them; both go on
        constantly beyond the border.
        """
        height, width = self.values.shape
        last = torch.tensor([width - 1.0, height - 1.0], dtype=pixels.dtype, device=pixels.device)
        local = (pixels - 0.5).clamp_min(0).minimum(last)
        first = local.floor().minimum(last - 1).clamp_min(0)
        weight, slope = _keys(local - first)
        taps = torch.arange(-1, 3, device=pixels.device)
        columns = (first[:, :1].long() + taps).clamp(0, width - 1)
        rows = (first[:, 1:].long() + taps).clamp(0, height - 1)
        patch = self.values[rows[:, :, None], columns[:, None, :]]  # (points, 4 rows, 4 columns)
        across = (patch * weight[:, None, :, 0]).sum(2)
        value = (across * weight[:, :, 1]).sum(1)
        by_x = ((patch * slope[:, None, :, 0]).sum(2) * weight[:, :, 1]).sum(1)
        by_y = (across * slope[:, :, 1]).sum(1)
        return value, torch.stack([by_x, by_y], dim=1)


def blurred(
    picture: Float[np.ndarray, "height width"], mask: Bool[np.ndarray, "height width"], sigma_px: float
) -> LogPicture:
    """A photograph's logarithm of luminance, blurred within its mask."""
    return LogPicture(torch.from_numpy(blurred_within(picture, mask, sigma_px)))


def _keys(
    t: Float[Tensor, "points 2"],
) -> tuple[Float[Tensor, "points 4 2"], Float[Tensor, "points 4 2"]]:
    """Weights of the four neighbours and their derivatives, for each of x and y."""
    t2, t3 = t * t, t * t * t
    weight = torch.stack(
        [-t3 + 2 * t2 - t, 3 * t3 - 5 * t2 + 2, -3 * t3 + 4 * t2 + t, t3 - t2], dim=1
    ) / 2  # fmt: skip
    slope = torch.stack(
        [-3 * t2 + 4 * t - 1, 9 * t2 - 10 * t, -9 * t2 + 8 * t + 1, 3 * t2 - 2 * t], dim=1
    ) / 2  # fmt: skip
    return weight, slope
