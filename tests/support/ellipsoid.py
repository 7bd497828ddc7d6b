"""An ellipsoid with a colour pattern, photographed by a closed-form ray tracer that shares no code with the package."""

from pathlib import Path

import numpy as np
from PIL import Image

SEMI_AXES_MM = np.array([85.0, 110.0, 95.0])
CENTRE_MM = np.array([30.0, -20.0, 640.0])
RADIUS_MM = 160.0  # of the unit sphere
WIDTH = HEIGHT = 128
FOCAL = 150.0


def poses(count: int, distance_mm: float = 520.0) -> list[np.ndarray]:
    """world_from_camera of cameras spread around the ellipsoid, looking at its centre, at alternating heights."""
    result = []
    for i in range(count):
        angle, height = 2 * np.pi * i / count, 0.35 * (-1) ** i
        offset = np.array([np.sin(angle) * np.cos(height), np.sin(height), -np.cos(angle) * np.cos(height)])
        forward = -offset
        right = np.cross([0.0, 1.0, 0.0], forward)
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, down, forward], axis=1)
        pose[:3, 3] = CENTRE_MM + distance_mm * offset
        result.append(pose)
    return result


def intrinsics() -> np.ndarray:
    """Pixel centres at +0.5: the principal point is the middle of the image."""
    return np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1.0]])


def colour_at(points_mm: np.ndarray) -> np.ndarray:
    """Smooth stripes and blotches, sRGB in [0, 1], the same from every direction."""
    x, y, z = ((points_mm - CENTRE_MM) / 40.0).T
    return 0.5 + 0.4 * np.stack([np.sin(2 * x + y), np.sin(2 * y - z + 1), np.cos(2 * z + x * y / 2)], axis=1)


def photograph(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image (h, w, 3) uint8 and mask (h, w) uint8 of a camera, by the quadratic of ray and ellipsoid."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    rays = (
        np.stack([(x - WIDTH / 2) / FOCAL, (y - HEIGHT / 2) / FOCAL, np.ones_like(x)], -1).reshape(-1, 3)
        @ pose[:3, :3].T
    )
    origin = (pose[:3, 3] - CENTRE_MM) / SEMI_AXES_MM
    scaled = rays / SEMI_AXES_MM
    a, b, c = (scaled**2).sum(1), scaled @ origin, origin @ origin - 1
    inside = b * b - a * c
    hit = inside > 0
    depth = np.where(hit, (-b - np.sqrt(np.where(hit, inside, 0))) / a, 0)
    points = pose[:3, 3] + depth[:, None] * rays
    image = np.where(hit[:, None], colour_at(points), 1.0).reshape(HEIGHT, WIDTH, 3)
    return (image * 255).round().astype(np.uint8), (hit.reshape(HEIGHT, WIDTH) * 255).astype(np.uint8)


def write_idr_scene(folder: Path, views: int) -> Path:
    """The scene in the IDR layout, whose files put the centre of the first pixel at (0, 0)."""
    for name in ("image", "mask"):
        (folder / name).mkdir(parents=True)
    file_intrinsics = intrinsics()
    file_intrinsics[:2, 2] -= 0.5
    scale = np.diag([RADIUS_MM] * 3 + [1.0])
    scale[:3, 3] = CENTRE_MM
    matrices = {}
    for i, pose in enumerate(poses(views)):
        image, mask = photograph(pose)
        Image.fromarray(image).save(folder / "image" / f"{i:03d}.png")
        Image.fromarray(mask).save(folder / "mask" / f"{i:03d}.png")
        projection = np.eye(4)
        projection[:3] = file_intrinsics @ np.linalg.inv(pose)[:3]
        matrices[f"world_mat_{i}"], matrices[f"scale_mat_{i}"] = projection, scale
    np.savez(folder / "cameras.npz", **matrices)
    return folder


def distance_mm(points_mm: np.ndarray) -> np.ndarray:
    """Distance of points near the ellipsoid from its surface, to first order: |g| / ‖∇g‖ for g = ‖p/axes‖ − 1."""
    scaled = (points_mm - CENTRE_MM) / SEMI_AXES_MM
    length = np.linalg.norm(scaled, axis=1)
    gradient = np.linalg.norm(scaled / SEMI_AXES_MM, axis=1) / length
    return np.abs(length - 1) / gradient
