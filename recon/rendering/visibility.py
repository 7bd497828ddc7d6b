"""The visibility of a mesh from a camera: its silhouette, and which of its vertices are seen."""

from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Bool, Float

from recon.geometry.raster import rasterise
from recon.scene import Camera

GRAZING_DEG = 80.0
"""Largest angle between normal and view at which a surface counts as seen: at this one a pixel is six times as long on
the surface as it is wide, and shows the outline.
"""
_TOLERANCE_PX = (
    2.0  # of depth, in widths of a pixel on the surface: above rounding, below the depth of a nose or ear
)
_NEAREST = 1e-6


@dataclass(frozen=True, eq=False)
class Visibility:
    """The visibility of a mesh from a camera.

    Attributes:
        silhouette: Pixels whose centre the mesh covers.
        seen: Vertices that are in the picture, face the camera and are not occluded.
    """

    silhouette: Bool[np.ndarray, "h w"]
    seen: Bool[np.ndarray, " vertices"]


def mesh_visibility(
    mesh: trimesh.Trimesh,
    normals: Float[np.ndarray, "vertices 3"],
    camera: Camera,
    *,
    grazing_deg: float = GRAZING_DEG,
) -> Visibility:
    """The visibility of a mesh, by comparing its vertices with a depth buffer of the camera's size.

    The inverse depth of a plane is linear on the image. So each vertex predicts, by its tangent plane, the depth of the
    surface at the centre of its pixel; it is occluded where the buffer holds something nearer.

    Args:
        mesh: Closed surface in the camera's world; triangles that reach behind the camera are left out.
        normals: Unit vectors out of the mesh, one per vertex.
        camera: Its size is that of the silhouette. Make it smaller with `Camera.resized` for speed.
        grazing_deg: Largest angle between normal and camera direction.
    """
    pose = camera.camera_from_world
    local = np.asarray(mesh.vertices, float) @ pose[:3, :3].T + pose[:3, 3]
    depth = local[:, 2]
    before = depth > _NEAREST * max(float(np.abs(depth).max()), 1.0)
    inverse = 1 / np.where(before, depth, np.inf)
    pixels = (local @ camera.intrinsics[:2].T) * inverse[:, None]
    turned = normals @ pose[:3, :3].T
    towards = -np.einsum("vk,vk->v", turned, local)  # of the tangent plane from the camera
    faces = np.asarray(mesh.faces)
    if not before.all():
        faces = faces[before[faces].all(axis=1)]
    # The nearest piece of a closed surface faces the camera: the other half need not be drawn.
    front = towards > 0
    a, b, c = faces.T
    faces = faces[front[a] | front[b] | front[c]]
    drawn = rasterise(np.column_stack([pixels, -inverse]), faces, camera.height, camera.width)

    size = np.array([camera.width, camera.height])
    distance = np.maximum(np.linalg.norm(local, axis=1), 1e-300)
    faced = before & (towards > np.cos(np.radians(grazing_deg)) * distance)
    candidate = np.flatnonzero(faced & (pixels >= 0).all(axis=1) & (pixels < size).all(axis=1))
    column, row = pixels[candidate].astype(np.int64).T
    centres = np.column_stack([column + 0.5, row + 0.5, np.ones(len(candidate))])
    rays = np.linalg.solve(camera.intrinsics, centres.T).T
    expected = -np.einsum("vk,vk->v", turned[candidate], rays) / towards[candidate]
    nearness = -drawn.depth[row, column]
    # A relative change of the inverse depth by one over the focal length is one pixel's width of depth.
    tolerance = _TOLERANCE_PX / camera.intrinsics[0, 0] * inverse[candidate]
    seen = np.zeros(len(depth), bool)
    seen[candidate[nearness <= expected + tolerance]] = True
    return Visibility(drawn.face >= 0, seen)
