"""mesh.ply and mesh.glb with colours, normals and what diagnostics know of the vertices, and mesh.landmarks.json."""

import json
from typing import Any

import numpy as np
from jaxtyping import Float

from recon.files import replacing
from recon.meshing import save
from recon.rendering import surface_colours
from recon.systems.report.diagnostics import in_unit
from recon.systems.stages import Run


def colour(run: Run) -> dict[str, Any]:
    """Evaluate normals of the field and colours, as the input cameras see them, at the vertices of the mesh."""
    assert run.surface is not None
    system, surface, scale_mat = run.system, run.surface, run.scene.scale_mat
    points = in_unit(np.asarray(surface.mesh.vertices), scale_mat).to(run.device)
    colours, normals = (
        t.cpu().double().numpy()
        for t in surface_colours(
            system.sdf, surface.colour or system.colour, points, system.cameras.centres.detach()
        )
    )
    surface.colours, surface.normals = colours, normals @ _rotation(scale_mat).T
    return {}


def write(run: Run) -> dict[str, Any]:
    """Write the mesh with all that is known of its vertices, and the vertices of its landmarks by name."""
    assert run.surface is not None
    surface = run.surface
    for name in ("mesh.ply", "mesh.glb"):
        save(
            surface.mesh,
            run.folder / name,
            colours=surface.colours,
            normals=surface.normals,
            extra=surface.vertex_data,
        )
    if surface.landmarks:
        with replacing(run.folder / "mesh.landmarks.json") as temporary:
            temporary.write_text(json.dumps(surface.landmarks, indent=1) + "\n")
    return {"mesh_vertices": len(surface.mesh.vertices)}


def _rotation(similarity: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "3 3"]:
    linear = similarity[:3, :3]
    return linear / np.cbrt(np.linalg.det(linear))
