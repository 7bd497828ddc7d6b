"""The mesh stage: the surface of a field as a mesh in world millimetres."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Shaped
from scipy.spatial import cKDTree

from recon.meshing import clean, extract, to_world
from recon.rendering import SurfaceBounds
from recon.rendering.surface import Colour
from recon.systems.reconstruction import Reconstruction

BOUNDS_CELLS = 1.5
"""How far from a vertex the surface can be, in cells of the lattice that it was extracted on."""


@dataclass(eq=False)
class SurfaceMesh:
    """The surface of a run, and what the report adds to its vertices.

    Attributes:
        mesh: Cleaned, world mm.
        bounds: Where the surface is in unit space, pieces included that the mesh leaves out.
        landmarks: Vertices nearest to the landmarks that the prior knows, by name.
        normals: Unit normals of the field at the vertices, world; empty until they are evaluated.
        colours: sRGB in [0, 1] of the vertices, as the input cameras see them; empty until they are evaluated.
        colour: What gives the colours that are shown; None for the rendering network of the run.
        vertex_data: Further numbers of the vertices by name, which PLY and GLB files take up.
    """

    mesh: trimesh.Trimesh
    bounds: SurfaceBounds
    landmarks: Mapping[str, int]
    normals: Float[np.ndarray, "vertices 3"] = field(default_factory=lambda: np.zeros((0, 3)))
    colours: Float[np.ndarray, "vertices 3"] = field(default_factory=lambda: np.zeros((0, 3)))
    colour: Colour | None = None
    vertex_data: dict[str, Shaped[np.ndarray, " vertices"]] = field(default_factory=dict)


def extract_surface(
    system: Reconstruction,
    world_from_unit: Float[np.ndarray, "4 4"],
    resolution: int,
    device: torch.device,
    landmarks: Mapping[str, Float[np.ndarray, " 3"]] | None = None,
) -> SurfaceMesh:
    """Extract the surface of a system's field by marching cubes and clean it.

    Args:
        system: Networks, on `device`.
        world_from_unit: 4x4 similarity, the scene's `scale_mat`.
        resolution: Cells along the side of the cube about the unit sphere.
        device: Where the field is evaluated.
        landmarks: Places of facial landmarks, world mm, where the prior knows them.

    Raises:
        MeshError: The field has no surface.
    """
    everything = extract(system.sdf.sdf, resolution=resolution, device=device)
    bounds = SurfaceBounds(
        torch.as_tensor(everything.vertices, dtype=torch.float32, device=device),
        BOUNDS_CELLS * 2 / resolution,
    )
    mesh = to_world(clean(everything), world_from_unit)
    return SurfaceMesh(mesh, bounds, _nearest_vertices(mesh, landmarks or {}))


def _nearest_vertices(
    mesh: trimesh.Trimesh, landmarks: Mapping[str, Float[np.ndarray, " 3"]]
) -> dict[str, int]:
    """Vertices of a mesh nearest to landmarks of the same frame, by name."""
    if not landmarks:
        return {}
    nearest = cKDTree(np.asarray(mesh.vertices)).query(np.stack(list(landmarks.values())))[1]
    return {name: int(vertex) for name, vertex in zip(landmarks, nearest, strict=True)}
