"""Pictures of a shape model of heads: unseen heads, interpolations, random samples, the first components."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recon.geometry.frames import BOX_HIGH_MM, BOX_LOW_MM, CanonicalFrame
from recon.priors import ShapeNetwork, fit_code
from recon.priors.data.dataset import HeadData
from recon.systems.pretraining.validation import heads_of
from recon.systems.report.pictures import write_png

log = logging.getLogger(__name__)

Image = Float[np.ndarray, "h w 3"]

TRACING_STEPS = 80
STEP = 0.6
"""Share of the distance that a step goes: shape models blend heads, and are steeper than a distance in places."""
HIT = 1e-3
"""A ray this near to the surface, canonical unit space, has met it: 0.3 mm."""
COLOUR = np.array([0.80, 0.74, 0.68])


class ShapeCamera:
    """An orthographic camera that looks at the canonical head from some side.

    Args:
        canonical: The frame.
        azimuth_deg: 0 is the front, 90 the subject's left.
        height: Of the picture in pixels.
    """

    def __init__(self, canonical: CanonicalFrame, azimuth_deg: float, height: int) -> None:
        low, high = np.array(BOX_LOW_MM), np.array(BOX_HIGH_MM)
        turn = np.deg2rad(azimuth_deg)
        self.towards = np.array([np.sin(turn), 0.0, np.cos(turn)])
        self.right, self.up = np.array([np.cos(turn), 0.0, -np.sin(turn)]), np.array([0.0, 1.0, 0.0])
        middle = ((low + high) / 2 - canonical.centre_mm) / canonical.radius_mm
        self.middle = middle * [0.0, 1.0, 0.0]
        self.half = 1.05 * (high - low)[1] / 2 / canonical.radius_mm
        self.height, self.width = height, round(0.95 * height)
        self.pixel = 2 * self.half / height

    def rays(self) -> Float[np.ndarray, "pixels 3"]:
        """Where the rays of the pixels begin, row by row; all go along −towards."""
        x = (np.arange(self.width) + 0.5 - self.width / 2) * self.pixel
        y = (self.height / 2 - np.arange(self.height) - 0.5) * self.pixel
        grid = x[None, :, None] * self.right + y[:, None, None] * self.up
        return (grid + self.middle + self.towards).reshape(-1, 3)

    def picture(self, normals: Float[np.ndarray, "pixels 3"], seen: np.ndarray) -> Image:
        """Lit normals on white."""
        light = self.towards + 0.5 * self.up - 0.4 * self.right
        level = 0.35 + 0.65 * np.clip(normals @ (light / np.linalg.norm(light)), 0, 1)
        shaded = np.where(seen[:, None], level[:, None] * COLOUR, 1.0)
        return shaded.reshape(self.height, self.width, 3)


def render_shape(network: ShapeNetwork, code: Float[Tensor, " latent"], camera: ShapeCamera) -> Image:
    """A head by sphere tracing."""
    points = torch.from_numpy(camera.rays().astype(np.float32)).to(code.device)
    direction = -torch.from_numpy(camera.towards.astype(np.float32)).to(code.device)
    active = torch.arange(len(points), device=code.device)
    seen = torch.zeros(len(points), dtype=torch.bool, device=code.device)
    travelled = torch.zeros(len(points), device=code.device)
    head = network.shape_of(code)
    for _ in range(TRACING_STEPS):
        distance = torch.cat([head.sdf(part) for part in points[active].split(16_384)])
        met = distance.abs() < HIT
        seen[active[met]] = True
        # A step too far is taken back by the negative distance there.
        going = ~met & (travelled[active] < 2.0)
        active, step = active[going], STEP * distance[going]
        if not len(active):
            break
        points[active] += step[:, None] * direction
        travelled[active] += step
    normals = torch.zeros_like(points)
    if seen.any():
        normals[seen] = torch.nn.functional.normalize(head.sdf_and_gradient(points[seen])[1], dim=1)
    return camera.picture(normals.cpu().double().numpy(), seen.cpu().numpy())


def splat_points(
    points: Float[np.ndarray, "points 3"], normals: Float[np.ndarray, "points 3"], camera: ShapeCamera
) -> Image:
    """Points of a surface as squares of two pixels, the nearest in front."""
    offset = points - camera.middle
    column = np.floor(offset @ camera.right / camera.pixel + camera.width / 2).astype(int)
    row = np.floor(camera.height / 2 - offset @ camera.up / camera.pixel).astype(int)
    order = np.argsort(offset @ camera.towards)
    facing = order[(normals[order] @ camera.towards) > 0]
    shown = np.zeros((camera.height, camera.width, 3))
    seen = np.zeros((camera.height, camera.width), bool)
    for down in (0, 1):
        for along in (0, 1):
            at_row, at_column = row[facing] + down, column[facing] + along
            inside = (at_row >= 0) & (at_row < camera.height) & (at_column >= 0) & (at_column < camera.width)
            shown[at_row[inside], at_column[inside]] = normals[facing[inside]]
            seen[at_row[inside], at_column[inside]] = True
    return camera.picture(shown.reshape(-1, 3), seen.ravel())


def write_pictures(
    folder: Path,
    network: ShapeNetwork,
    canonical: CanonicalFrame,
    codes: Float[Tensor, "heads latent"],
    unseen: HeadData,
    *,
    height: int,
    fitted: int,
    seed: int,
) -> None:
    """Writes reconstructions.png, interpolation.png, samples.png and components.png.

    Args:
        folder: Where to.
        network: The shape model, its codes standard normal.
        canonical: Its frame.
        codes: Of training heads, for the interpolation.
        unseen: Heads to reconstruct.
        height: Of a head, pixels.
        fitted: Surface points that a code is fitted to.
        seed: Of the samples.
    """
    device = next(network.parameters()).device
    front, side, oblique = (ShapeCamera(canonical, a, height) for a in (0.0, 90.0, 40.0))
    write_png(folder / "reconstructions.png", _reconstructions(network, unseen, (front, side), fitted))

    first, last = codes[0].to(device), codes[-1].to(device)
    between = [torch.lerp(first, last, share) for share in np.linspace(0, 1, 7).tolist()]
    write_png(folder / "interpolation.png", _rows(network, between, (front, oblique)))

    generator = torch.Generator().manual_seed(seed)
    drawn = list(torch.randn(8, network.latent_size, generator=generator).to(device))
    write_png(folder / "samples.png", _rows(network, drawn, (front, oblique)))

    axes = torch.eye(network.latent_size, device=device)[:4]
    moved = [[level * axis for level in (-2.0, -1.0, 0.0, 1.0, 2.0)] for axis in axes]
    sheet = [np.concatenate([_rows(network, row, (front,)) for row in moved])]
    sheet.append(np.concatenate([_rows(network, row, (side,)) for row in moved]))
    write_png(folder / "components.png", np.concatenate(sheet, axis=1))
    log.info("pictures: %s", folder)


def _rows(network: ShapeNetwork, codes: Sequence[Tensor], cameras: Sequence[ShapeCamera]) -> Image:
    """A row for each camera, a column for each code."""
    return np.concatenate(
        [np.concatenate([render_shape(network, z, camera) for z in codes], axis=1) for camera in cameras]
    )


def _reconstructions(
    network: ShapeNetwork, unseen: HeadData, cameras: Sequence[ShapeCamera], fitted: int
) -> Image:
    """A column for each unseen head: truth and reconstruction from each camera."""
    device = next(network.parameters()).device
    columns = []
    for _, shard, row in heads_of(unseen, min(6, len(unseen.names))):
        surface, normals = shard.surface[row], shard.normals[row]
        code = fit_code(network, torch.from_numpy(surface[: min(fitted, len(surface))]).to(device))
        pictures = [
            picture
            for camera in cameras
            for picture in (splat_points(surface, normals, camera), render_shape(network, code, camera))
        ]
        columns.append(np.concatenate(pictures))
    return np.concatenate(columns, axis=1)
