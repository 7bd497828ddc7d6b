"""Scenes made of a sphere, with closed-form silhouettes, in the layouts that the readers know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from recon.scene import Camera
from recon.scene.h3ds import write_scene

RADIUS_MM = 100.0
SCALE_MAT = np.array([[130.0, 0, 0, 10], [0, 130, 0, -20], [0, 0, 130, 500], [0, 0, 0, 1]])
CENTRE = SCALE_MAT[:3, 3]
SIZE = 96
LANDMARKS = {"right_eye": 1, "left_eye": 2, "nose_tip": 0, "nose_base": 3, "right_lips": 4, "left_lips": 5}


def orbit_camera(
    azimuth_deg: float, elevation_deg: float = 0.0, distance: float = 700.0, size: int = SIZE
) -> Camera:
    """A camera around CENTRE that looks at it; world y points down as in H3DS, azimuth 0 is at -z."""
    a, e = np.deg2rad([azimuth_deg, elevation_deg])
    centre = CENTRE + distance * np.array([np.sin(a) * np.cos(e), -np.sin(e), -np.cos(a) * np.cos(e)])
    z = (CENTRE - centre) / distance
    x = np.cross(np.array([0.0, 1.0, 0.0]), z)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    pose[:3, 3] = centre
    focal = 2.0 * size
    return Camera(
        np.array([[focal, 0.0, size / 2 + 1], [0, focal, size / 2 - 2], [0, 0, 1]]), pose, size, size
    )


def sphere_mask(camera: Camera, radius: float = RADIUS_MM, centre: np.ndarray = CENTRE) -> np.ndarray:
    """Silhouette of a sphere: pixel centres whose ray passes the centre nearer than the radius."""
    v, u = np.mgrid[: camera.height, : camera.width] + 0.5
    origins, directions = camera.rays(np.stack([u.ravel(), v.ravel()], axis=1))
    offset = centre - origins
    distance = np.linalg.norm(np.cross(offset, directions), axis=1)
    return (distance < radius).reshape(camera.height, camera.width)


def sphere_mesh() -> trimesh.Trimesh:
    """The sphere; its first vertices are moved to the front (-z), where the landmarks make a face."""
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=RADIUS_MM)
    vertices = np.asarray(mesh.vertices) + CENTRE
    vertices[0] = CENTRE + np.array([0, 0, -RADIUS_MM])
    face = [[-30.0, -20, -94], [30, -20, -94], [0, 20, -98], [-20, 30, -93], [20, 30, -93]]
    vertices[1:6] = CENTRE + np.array(face)
    return trimesh.Trimesh(vertices, np.asarray(mesh.faces), process=False)


def make_h3ds(
    root: Path, name: str = "ball", azimuths: tuple[float, ...] = (0, 40, -40, 90, -90), **options
) -> Path:
    """Write a sphere in the H3DS layout."""
    cameras = [orbit_camera(azimuth, 5.0 * (number % 2)) for number, azimuth in enumerate(azimuths)]
    masks = [sphere_mask(camera) for camera in cameras]
    images = [np.where(mask[..., None], 0.8, 0.1) * np.ones(3) for mask in masks]
    settings = {
        "scale_mat": SCALE_MAT,
        "mesh": sphere_mesh(),
        "landmarks": LANDMARKS,
        "regions": {"face": np.arange(10), "face_sphere": np.arange(20), "nose": np.array([0, 3])},
        "default_views": {3: (0, 1, 2)},
        "tags": ("round",),
    } | options
    return write_scene(root, name, images=images, masks=masks, cameras=cameras, **settings)


def make_idr(folder: Path, image_names: list[str], mask_names: list[str]) -> list[Camera]:
    """Write a sphere in the IDR layout, files named as asked; returns its cameras."""
    (folder / "image").mkdir(parents=True)
    (folder / "mask").mkdir()
    cameras = [orbit_camera(30.0 * number) for number in range(len(image_names))]
    arrays = {}
    for number, camera in enumerate(cameras):
        mask = sphere_mask(camera)
        picture = (mask[..., None] * np.array([200, 150, 100])).astype(np.uint8)
        Image.fromarray(picture).save(folder / "image" / image_names[number])
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "mask" / mask_names[number])
        arrays[f"world_mat_{number}"] = np.vstack([camera.projection_for(0.0), [0, 0, 0, 1]])
        arrays[f"scale_mat_{number}"] = SCALE_MAT
    np.savez(folder / "cameras.npz", **arrays)
    return cameras
