"""Nothing of a run makes tensors where its tensors are not.

There is no second device to compute on, so the default device is made one on which nothing can be computed: a tensor
that is made without saying where would meet those of the CPU, and PyTorch refuses to mix them.
"""

import numpy as np
import pytest
import torch

from recon.meshing import extract
from recon.meshing.extraction import sdf_normals
from recon.rendering import RayBatch, SurfaceBounds, render_view, surface_colours, trace
from recon.systems import trial
from recon.systems.report import diagnostics as diagnostics

SOME = [
    ("idr", "mlp"),
    ("idr", "hash"),
    ("h3dnet", "mlp"),
    ("h3dnet", "dense"),
    ("instant_grid", "dense"),
    ("instant", "hash_appearance"),
]
CPU = torch.device("cpu")


@pytest.fixture(params=SOME, ids=" ".join)
def case(request, cases):
    return cases(*request.param)


def test_the_default_device_is_noticed():
    with torch.device("meta"), pytest.raises((RuntimeError, NotImplementedError)):
        _ = (torch.zeros(3) + torch.ones(3, device=CPU)).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("fixed", [False, True])
def test_steps_of_training(case, fixed):
    system, batch = case.copy(fixed_shapes=fixed), case.batch()
    for step in (0, 23, 24, 250, 399):  # with refreshes and without, in both phases
        with torch.device("meta"):
            terms = system.terms(batch, step)
            system.backward(terms.total)
        assert torch.isfinite(terms.total)


def test_what_comes_after_training(case):
    system = case.copy()
    system.set_phase(399)
    cameras = system.cameras
    with torch.device("meta"):
        mesh = extract(system.sdf.sdf, resolution=32, device=CPU)
        points = torch.as_tensor(mesh.vertices, dtype=torch.float32, device=CPU)
        colours, normals = surface_colours(system.sdf, system.colour, points, cameras.centres.detach())
        for bounds in (None, SurfaceBounds(points, 1.5 * 2 / 32)):
            view = render_view(
                system.sdf,
                system.colour,
                cameras,
                0,
                160,
                120,
                step=8,
                settings=system.tracing,
                bounds=bounds,
            )
            assert view.mask.any()
        sdf_normals(system.sdf.sdf, np.asarray(mesh.vertices), device=CPU)
        diagnostics.deviation_mm(lambda part: part.norm(dim=1), np.asarray(mesh.vertices), np.eye(4), CPU)
    assert torch.isfinite(colours).all() and torch.isfinite(normals).all()


def test_the_reference_tracer(case):
    system, batch = case.copy(), case.batch()
    if not isinstance(batch, RayBatch):
        return
    origins, directions = (t.detach() for t in system.cameras.rays(batch.views, batch.pixels))
    with torch.device("meta"):
        found = trace(
            system.sdf.sdf,
            origins,
            directions,
            system.tracing,
            mask=batch.mask,
            generator=torch.Generator(CPU),
        )
    assert found.hit.any()


def test_a_trial(case):
    if isinstance(case.batch(), RayBatch):
        system = case.copy()
        with torch.device("meta"):
            score = trial._score(system, case.sampler_on_host, 2)
        assert score.total < float("inf")
