"""The mesh stage: the surface of a field as a mesh in world millimetres."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Shaped
from scipy.spatial import cKDTree

from recon.geometry.decimation import decimate
from recon.geometry.frames import LANDMARKS_MM, in_face_or_ears, similarity, transform
from recon.meshing import clean, extract, to_world, with_flat_base, without_handles
from recon.rendering import SurfaceBounds
from recon.rendering.surface import Colour
from recon.systems.reconstruction import Reconstruction

BOUNDS_CELLS = 1.5
"""How far from a vertex the surface can be, in cells of the lattice that it was extracted on."""

HANDLE_MM = 20.0
"""Length of a loop around a handle below which it is taken for noise: about 6 mm across."""
LEAST_COARSENING = 0.5
"""Share of the vertices that the rest of the surface would have if all of it were simplified alike, which it keeps at
least, however fine face and ears are.
"""
EVENNESS = 3e-4
"""Cost of the length of edges when the mesh is simplified: vertices carry colours, so flat places keep theirs. An
edge of 3 mm costs as much as 0.05 mm of deviation over 10 mm².
"""


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
    max_vertices: int | None = None,
) -> SurfaceMesh:
    """Extract the surface of a system's field by marching cubes, clean it, and simplify it outside of face and ears.

    Args:
        system: Networks, on `device`.
        world_from_unit: 4x4 similarity, the scene's `scale_mat`.
        resolution: Cells along the side of the cube about the unit sphere.
        device: Where the field is evaluated.
        landmarks: Places of facial landmarks, world mm, where the prior knows them. Without the six of H3DS it is not
            known where face, ears and the lower end are: the base is left as it is, and all is simplified alike.
        max_vertices: Most vertices of the mesh; None for as many as marching cubes gives.

    Raises:
        MeshError: The field has no surface.
    """
    everything = extract(system.sdf.sdf, resolution=resolution, device=device)
    bounds = SurfaceBounds(
        torch.as_tensor(everything.vertices, dtype=torch.float32, device=device),
        BOUNDS_CELLS * 2 / resolution,
    )
    landmarks = landmarks or {}
    mesh = without_handles(to_world(clean(everything), world_from_unit), HANDLE_MM)
    world_from_canonical = canonical_frame(landmarks)
    if world_from_canonical is not None:
        mesh = clean(with_flat_base(mesh, _unit(world_from_canonical[:3, 1]))[0])
    if max_vertices is not None and len(mesh.vertices) > max_vertices:
        mesh = simplified(mesh, max_vertices, world_from_canonical)
    return SurfaceMesh(mesh, bounds, _nearest_vertices(mesh, landmarks))


def canonical_frame(
    landmarks: Mapping[str, Float[np.ndarray, " 3"]],
) -> Float[np.ndarray, "4 4"] | None:
    """The similarity from the canonical frame, mm, to the world in which landmarks are given; None without the six."""
    if not landmarks.keys() >= LANDMARKS_MM.keys():
        return None
    return similarity(
        np.array(list(LANDMARKS_MM.values())), np.stack([landmarks[name] for name in LANDMARKS_MM])
    )


def simplified(
    mesh: trimesh.Trimesh, max_vertices: int, world_from_canonical: Float[np.ndarray, "4 4"] | None
) -> trimesh.Trimesh:
    """Simplify a closed mesh to a number of vertices, face and ears last.

    Args:
        mesh: World mm.
        max_vertices: Vertices that it shall have.
        world_from_canonical: Pose and size of the head; None simplifies all alike.
    """
    if world_from_canonical is not None:
        detailed = in_face_or_ears(transform(np.linalg.inv(world_from_canonical), np.asarray(mesh.vertices)))
        inside, count = int(detailed.sum()), len(detailed)
        outside = max(max_vertices - inside, int(LEAST_COARSENING * max_vertices * (1 - inside / count)))
        mesh = decimate(mesh, inside + outside, fixed=detailed, evenness=EVENNESS)
    if len(mesh.vertices) > max_vertices:
        mesh = decimate(mesh, max_vertices, evenness=EVENNESS)
    return mesh


def _unit(vector: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    return vector / np.linalg.norm(vector)


def _nearest_vertices(
    mesh: trimesh.Trimesh, landmarks: Mapping[str, Float[np.ndarray, " 3"]]
) -> dict[str, int]:
    """Vertices of a mesh nearest to landmarks of the same frame, by name."""
    if not landmarks:
        return {}
    nearest = cKDTree(np.asarray(mesh.vertices)).query(np.stack(list(landmarks.values())))[1]
    return {name: int(vertex) for name, vertex in zip(landmarks, nearest, strict=True)}
