"""Settings of the solver, and photographs with their cameras prepared for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import binary_erosion
from torch import Tensor

from recon.fitting.contours import outline_points
from recon.scene import Camera
from recon.scene.images import blurred_within, log_luminance


@dataclass(frozen=True)
class LogPicture:
    """Logarithm of a photograph's luminance, interpolated by bicubic convolution (Keys 1981, a = −1/2).

    Attributes:
        values: Logarithm of luminance at the centres of the pixels.
    """

    values: Float[Tensor, "height width"]

    def sample(
        self, pixels: Float[Tensor, "points 2"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 2"]]:
        """Values at pixels (x, y), pixel centres at + 0.5, with their derivative by the pixels; beyond the border both
        are constant.
        """
        height, width = self.values.shape
        last = torch.tensor([width - 1.0, height - 1.0], dtype=pixels.dtype, device=pixels.device)
        local = (pixels - 0.5).clamp_min(0).minimum(last)
        first = local.floor().minimum(last - 1).clamp_min(0)
        weight, gradient = _keys(local - first)
        taps = torch.arange(-1, 3, device=pixels.device)
        columns = (first[:, :1].long() + taps).clamp(0, width - 1)
        rows = (first[:, 1:].long() + taps).clamp(0, height - 1)
        patch = self.values[rows[:, :, None], columns[:, None, :]]  # (points, 4 rows, 4 columns)
        across = (patch * weight[:, None, :, 0]).sum(2)
        value = (across * weight[:, :, 1]).sum(1)
        by_x = ((patch * gradient[:, None, :, 0]).sum(2) * weight[:, :, 1]).sum(1)
        by_y = (across * gradient[:, :, 1]).sum(1)
        return value, torch.stack([by_x, by_y], dim=1)


def blurred(
    picture: Float[np.ndarray, "height width"], mask: Bool[np.ndarray, "height width"], sigma_px: float
) -> LogPicture:
    """Blurs a photograph's logarithm of luminance within its mask."""
    return LogPicture(torch.from_numpy(blurred_within(picture, mask, sigma_px)))


def _keys(
    t: Float[Tensor, "points 2"],
) -> tuple[Float[Tensor, "points 4 2"], Float[Tensor, "points 4 2"]]:
    """Weights of the four neighbours and their derivatives, for each of x and y."""
    t2, t3 = t * t, t * t * t
    weight = torch.stack(
        [-t3 + 2 * t2 - t, 3 * t3 - 5 * t2 + 2, -3 * t3 + 4 * t2 + t, t3 - t2], dim=1
    ) / 2  # fmt: skip
    gradient = torch.stack(
        [-3 * t2 + 4 * t - 1, 9 * t2 - 10 * t, -9 * t2 + 8 * t + 1, 3 * t2 - 2 * t], dim=1
    ) / 2  # fmt: skip
    return weight, gradient


@dataclass(frozen=True)
class Pinhole:
    """A pinhole camera of canonical unit space; OpenCV axes, pixel centres at + 0.5.

    Attributes:
        intrinsics: 3x3, pixels.
        rotation: 3x3, canonical_from_camera.
        centre: Centre of projection, canonical unit space.
    """

    intrinsics: Float[Tensor, "3 3"]
    rotation: Float[Tensor, "3 3"]
    centre: Float[Tensor, " 3"]

    @classmethod
    def from_camera(
        cls,
        camera: Camera,
        canonical_from_world: Float[np.ndarray, "4 4"],
        dtype: torch.dtype = torch.float32,
    ) -> "Pinhole":
        """Brings a camera of the world to canonical unit space."""
        moved = camera.transformed(canonical_from_world)
        intrinsics, pose = torch.tensor(moved.intrinsics), torch.tensor(moved.world_from_camera)
        return cls(intrinsics.to(dtype), pose[:3, :3].to(dtype), pose[:3, 3].to(dtype))

    def directions(self, pixels: Float[Tensor, "rays 2"]) -> Float[Tensor, "rays 3"]:
        """Unit directions of the rays through pixels."""
        offset = pixels - self.intrinsics[:2, 2]
        y = offset[:, 1] / self.intrinsics[1, 1]
        x = (offset[:, 0] - self.intrinsics[0, 1] * y) / self.intrinsics[0, 0]
        local = torch.stack([x, y, torch.ones_like(x)], dim=1)
        return torch.nn.functional.normalize(local @ self.rotation.T, dim=1)

    def project(
        self, points: Float[Tensor, "points 3"]
    ) -> tuple[Float[Tensor, "points 2"], Float[Tensor, " points"]]:
        """Pixels and depths of points."""
        local = (points - self.centre) @ self.rotation
        pixels = local @ self.intrinsics.T
        return pixels[:, :2] / local[:, 2:], local[:, 2]

    def pixel_gradient(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 2 3"]:
        """Derivative of the pixels of points by the points."""
        local = (points - self.centre) @ self.rotation
        pixels = local @ self.intrinsics.T
        x, depth = pixels[:, :2] / local[:, 2:], local[:, 2]
        by_local = (self.intrinsics[None, :2] - x[:, :, None] * self.intrinsics[None, 2:]) / depth[
            :, None, None
        ]
        return by_local @ self.rotation.T


@dataclass(frozen=True)
class SolverSettings:
    """Settings of the solver; lengths in pixels are for pictures 512 pixels wide and scale with the picture.

    Attributes:
        photometric: Whether photographs are compared with each other.
        brightness: Whether photographs are compared with the brightness model, where the shape model has one.
        shading: Whether light may differ between photographs.
        cameras: Whether cameras are corrected.
        weights: Whether robust weights go by the scatter of the residuals themselves, so that outliers do not count.
        silhouette_steps: Number of steps with silhouettes alone.
        brightness_blurs_px: Standard deviations of the blur of the photographs, one for each step in which they are
            compared with the brightness model and not yet with each other.
        blurs_px: Standard deviations of the blur of the photographs, one for each step with them.
        fine_steps: Number of the last steps with photographs at full resolution, where the shape model has a coarse
            level.
        outline_points: Number of points of the outline of each mask.
        pixels: Number of pixels of each photograph.
        eroded_px: Width of the margin of masks whose pixels are not compared.
        pair_angle_deg: Largest angle between the directions of two photographs that are compared.
        outline_sigma_mm: Standard deviation of an outline.
        colour_sigma: Standard deviation of the logarithm of luminance.
        face_point_sigma_mm: Standard deviation of the position of a face point, given the code.
        landmark_sigma_px: Standard deviation of landmarks that are marked in photographs.
        camera_turn_sigma_deg: Uncertainty of the orientations of given cameras, the scale of a Student's t.
        camera_shift_sigma_mm: Uncertainty of their positions, likewise.
        focal_groups: For each camera the number, from 0, of its focal length where that is an unknown, which several
            may share, or None where it is known; empty where all are known.
        focal_sigma: Standard deviation of the logarithm of unknown focal lengths about the given ones.
        outline_count: Number of independent residuals that the outline of one photograph counts for.
        pixel_count: Number of independent residuals that the pixels of one photograph count for.
        brightness_count: Number of independent residuals that the face points of one photograph count for, where
            there are at most three photographs.
    """

    photometric: bool = True
    brightness: bool = True
    shading: bool = True
    cameras: bool = True
    weights: bool = True
    silhouette_steps: int = 4
    brightness_blurs_px: Sequence[float] = (10.0, 10.0, 10.0, 7.0, 7.0)
    blurs_px: Sequence[float] = (4.0, 4.0, 3.0, 3.0, 2.0, 2.0, 1.4, 1.0, 0.7, 0.7)
    fine_steps: int = 6
    outline_points: int = 300
    pixels: int = 3000
    eroded_px: float = 4.0
    pair_angle_deg: float = 62.0
    outline_sigma_mm: float = 0.5
    colour_sigma: float = 0.05
    face_point_sigma_mm: float = 0.74
    landmark_sigma_px: float = 5.0
    camera_turn_sigma_deg: float = 0.1
    camera_shift_sigma_mm: float = 0.5
    focal_groups: tuple[int | None, ...] = ()
    focal_sigma: float = 0.2
    outline_count: float = 60.0
    pixel_count: float = 600.0
    brightness_count: float = 80.0


@dataclass(frozen=True)
class ViewObservation:
    """A photograph with its camera and mask, prepared for the solver.

    Attributes:
        camera: Camera as given, world mm.
        outline: Pixels along the outline of the mask.
        pixels: Pixels that are compared with other photographs.
        inside: Whether other photographs may be compared with a pixel.
        picture: Logarithm of luminance.
        mask: Foreground without ignored pixels.
        scale: Longer side of the picture in units of 512 pixels.
    """

    camera: Camera
    outline: Float[Tensor, "points 2"]
    pixels: Float[Tensor, "pixels 2"]
    inside: Bool[Tensor, "height width"]
    picture: Float[np.ndarray, "height width"]
    mask: Bool[np.ndarray, "height width"]
    scale: float
    _blurred: dict[int, LogPicture] = field(default_factory=dict, repr=False)

    def blurred(self, sigma_px: float) -> LogPicture:
        """The logarithm of luminance blurred within the mask; the blur is rounded to 2 %, and each is made once."""
        step = round(25 * np.log(sigma_px))
        if step not in self._blurred:
            self._blurred[step] = blurred(self.picture, self.mask, float(np.exp(step / 25)))
        return self._blurred[step]

    @classmethod
    def from_photograph(
        cls,
        camera: Camera,
        mask: Bool[np.ndarray, "height width"],
        image: Float[np.ndarray, "height width 3"],
        ignored: Bool[np.ndarray, "height width"],
        settings: SolverSettings,
    ) -> "ViewObservation":
        """Prepares outline, pixels to compare and logarithm of luminance of a photograph."""
        scale = max(mask.shape) / 512
        inside = binary_erosion(mask & ~ignored, iterations=max(1, round(settings.eroded_px * scale)))
        rows, columns = np.nonzero(inside)
        step = max(1, round(np.sqrt(len(rows) / settings.pixels)))
        chosen = (rows % step == step // 2) & (columns % step == step // 2)
        pixels = np.column_stack([columns[chosen], rows[chosen]]) + 0.5
        return cls(
            camera,
            torch.from_numpy(outline_points(mask, settings.outline_points, 4.0, ignored)).float(),
            torch.from_numpy(pixels).float(),
            torch.from_numpy(inside),
            log_luminance(image),
            mask & ~ignored,
            scale,
        )


def observe_views(
    cameras: Sequence[Camera],
    masks: Sequence[Bool[np.ndarray, "_ _"]],
    images: Sequence[Float[np.ndarray, "_ _ 3"]],
    ignored: Sequence[Bool[np.ndarray, "_ _"]] | None,
    settings: SolverSettings,
) -> list[ViewObservation]:
    """Prepares photographs; `ignored` is None or empty where every pixel is valid."""
    nothing = ignored or [np.zeros_like(mask) for mask in masks]
    return [
        ViewObservation.from_photograph(camera, mask, image, unknown, settings)
        for camera, mask, image, unknown in zip(cameras, masks, images, nothing, strict=True)
    ]
