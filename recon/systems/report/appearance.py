"""The colours that a report shows: the rendering network's, or the photographs' where these show the surface."""

import numpy as np
import torch
from jaxtyping import Bool
from scipy.ndimage import label
from torch.nn.functional import normalize

from recon.appearance import ProjectedColour, ProjectedPhotograph, balanced
from recon.fields.field import sdf_and_gradient
from recon.scene import View
from recon.systems.report.diagnostics import in_unit, in_world
from recon.systems.stages import Run
from recon.threads import mapped

NETWORK = "network"
"""Value of `method.colours` with which the rendering network alone gives the colours."""
SAMPLES = 20_000
"""Vertices at which photographs are balanced, and compared with the network."""


def projected(run: Run) -> ProjectedColour:
    """Colours of the surface of a run, by its input photographs as its corrected cameras took them."""
    assert run.surface is not None
    system, scene, mesh = run.system, run.scene, run.surface.mesh
    unit_mm = float(np.cbrt(np.linalg.det(scene.scale_mat[:3, :3])))
    vertices = in_unit(np.asarray(mesh.vertices), scene.scale_mat)
    ids = list(dict.fromkeys(run.views))
    given = [scene.views[index].camera for index in run.views]
    cameras = in_world(system.cameras, given, scene.scale_mat)

    def of_view(index: int) -> ProjectedPhotograph:
        view, camera = scene.views[index], cameras[run.views.index(index)]
        return ProjectedPhotograph.of_surface(
            view.image(),
            coloured(view, scene.body_ignored),
            camera.transformed(scene.unit_from_world),
            vertices.double().numpy(),
            np.asarray(mesh.faces),
            unit_mm,
        )

    photographs = list(mapped(of_view, ids))
    chosen = torch.linspace(0, len(vertices) - 1, min(SAMPLES, len(vertices))).long()
    points = vertices[chosen]
    sample, gradient = sdf_and_gradient(system.sdf, points.to(run.device), create_graph=False)
    with torch.no_grad():
        outwards = normalize(gradient, dim=1)
        own = system.colour(points.to(run.device), gradient, outwards, sample.feature).cpu()
        normals = outwards.cpu()
        colour = ProjectedColour(system.colour, balanced(photographs, points, normals, unit_mm), unit_mm)
        colour.carry_over(points, own, *colour.shown(points, normals, normals))
    return colour


def coloured(view: View, body_ignored: bool) -> Bool[np.ndarray, "h w"]:
    """Pixels of a photograph whose colours are taken: those of the mask that count.

    Args:
        view: The photograph.
        body_ignored: Whether what is ignored at the lower border is the body, of which the shape alone is not believed:
            clothes of about the right colour are better than none.
    """
    ignored = view.ignored()
    if body_ignored and ignored[-1].any():
        pieces, _ = label(ignored)
        ignored &= ~np.isin(pieces, np.unique(pieces[-1][ignored[-1]]))
    return view.mask() & ~ignored
