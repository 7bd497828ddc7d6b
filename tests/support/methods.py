"""Small systems of every method, field and prior on the closed-form ellipsoid, as train.py would make them."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from recon.priors import DeepSDFPrior, PCAPrior
from recon.priors.residual import ResidualField
from recon.rendering import RayBatch, SurfaceBatch
from recon.systems import run
from recon.systems.reconstruction import Reconstruction
from tests.support import ellipsoid
from tests.support.prior_shape_models import ellipsoid_distance, write_ellipsoids, write_pca
from tests.support.runs import configured, trained

STEPS = 400
TINY = [
    "preset=cpu", "trainer.accelerator=cpu", "data.sampler.rays=96", f"steps={STEPS}", "mesh.resolution=48",
    "field.sdf.feature_size=8", "field.colour.width=16", "field.colour.depth=1",
]  # fmt: skip
CACHED = ["renderer=cached", "renderer.cells=16", "renderer.samples=16"]
MLP = ["field=mlp", "field.sdf.width=48", "field.sdf.depth=3", "field.sdf.skip=[2]"]
HASH_COLOUR = ["field=hash_appearance", *MLP[1:], "+field.feature.grid.backend=torch"]
GRIDS = {
    "dense": ["field=dense", "field.encoding.backend=torch", "field.sdf.finest=16"],
    "hash": ["field=hash", "field.encoding.backend=torch", "field.sdf.finest=16", "field.sdf.log2_size=8"],
}
FIELDS = {"mlp": [*MLP, "field.feature.width=16"], "hash_appearance": HASH_COLOUR, **GRIDS}
START = ["init=instant", "init.regression.steps=5", "init.regression.sample_points=2048"]
METHODS = {
    "idr": ["method=idr"],
    "idr, cameras too": ["method=idr", "method.refine_cameras=true"],
    "idr, from the fit": ["method=idr", *START, "init.pca.path=PCA"],
    "baseh3dnet": ["method=baseh3dnet", "prior.source_subject=SOURCE"],
    "h3dnet": ["method=h3dnet", "prior.path=SHAPES"],
    "mean head": ["method=h3dnet", "prior=mean_head", "prior.path=SHAPES"],
    "instant_h3dnet": ["method=instant_h3dnet", "init.pca.path=PCA", "prior.path=SHAPES"],
    "instant_grid": ["method=instant_grid", "prior.path=PCA"],
    "instant": ["method=instant", "prior.path=PCA", "method.surface_points=128"],
}
EVERY = [
    *((method, field) for method in ("idr", "h3dnet") for field in FIELDS),
    ("idr, cameras too", "mlp"),
    ("idr, from the fit", "mlp"),
    ("idr, from the fit", "dense"),
    ("baseh3dnet", "mlp"),
    ("baseh3dnet", "dense"),
    ("mean head", "mlp"),
    ("mean head", "dense"),
    ("instant_h3dnet", "mlp"),
    ("instant_h3dnet", "hash"),
    ("instant_grid", "dense"),
    ("instant_grid", "hash"),
    ("instant", "hash_appearance"),
    ("instant", "dense"),
]
"""Methods with the fields that they can have."""


@dataclass(frozen=True)
class Case:
    """A system on the CPU, and a batch of it."""

    system: Reconstruction
    sampler: object

    def copy(self, **tracing) -> Reconstruction:
        """The system, to be spoilt, with changed settings of the renderer."""
        system = copy.deepcopy(self.system)
        known = system.tracer.state_dict()
        system.trace_by(replace(system.tracing, **tracing))
        system.tracer.load_state_dict(known)
        return system

    def sampler_on_host(self, step: int) -> RayBatch | SurfaceBatch:
        """The pixels of a step, whatever the default device: pixels are drawn on the host."""
        with torch.device("cpu"):
            return self.sampler(step)

    def batch(self, step: int = 0) -> RayBatch | SurfaceBatch:
        """The pixels of a step."""
        return self.sampler(step)


class Cases:
    """Makes each case once; the fits of priors too."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, {}
        self.fits = {
            (owner, name): remembered(getattr(owner, name))
            for owner, name in ((DeepSDFPrior, "_fit"), (PCAPrior, "fit"))
        }
        self.scene = ellipsoid.write_idr_scene(folder / "ellipsoid", 4)
        self.files = {
            "PCA": write_pca(folder / "linear.safetensors", ellipsoid_distance),
            "SHAPES": write_ellipsoids(folder / "family.safetensors"),
        }

    def __call__(self, method: str, field: str) -> Case:
        """The case of a method with a field; its grid of distances is filled."""
        if (method, field) not in self.made:
            self.made[method, field] = self._make(method, field)
        return self.made[method, field]

    def _make(self, method: str, field: str) -> Case:
        options = [*METHODS[method], *FIELDS[field], *CACHED, *TINY]
        if method == "baseh3dnet":
            self.files["SOURCE"] = self._source_subject(field)
        for name, path in self.files.items():
            options = [option.replace(name, str(path)) for option in options]
        cfg, folder = configured(self.scene, self.folder / f"{method} {field}", *options)
        with pytest.MonkeyPatch.context() as patch:
            for (owner, name), once in self.fits.items():
                patch.setattr(owner, name, once)
            task = run.prepare(cfg, folder)
        system, sampler = task.system.train(), task.data.sampler
        if isinstance(sampler(0), RayBatch):
            system.set_phase(STEPS)
            system.losses(sampler(0), 0)
        return Case(system, sampler)

    def _source_subject(self, field: str) -> Path:
        folder = self.folder / f"source subject {field}"
        if not folder.exists():
            trained(self.scene, folder, "method=idr", *FIELDS[field], *CACHED, *TINY, "steps=2")
        return folder


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    """All systems, made when they are asked for."""
    return Cases(tmp_path_factory.mktemp("cases"))


def remembered(fit):
    """A fit that is done once: least squares take seconds."""
    found = []

    def once(*arguments):
        if not found:
            found.append(fit(*arguments))
        return copy.deepcopy(found[0])

    return once


def quiet_step(system: Reconstruction, at_least: int) -> int:
    """The first step from one on in which no grid is refreshed."""
    return next(step for step in range(at_least, at_least + 50) if not system.tracing.refresh_at(step))


def phases(system: Reconstruction) -> dict[str, int]:
    """A step without a refresh in each phase that a system has; where levels fade, one within the fade too."""
    learns = round(system.frozen * system.steps)
    found = {"frozen": quiet_step(system, 20)} if learns > 60 else {}
    if learns < system.steps:
        found |= {"learns": quiet_step(system, max(learns, 20) + 20), "ends": quiet_step(system, STEPS - 30)}
    return found


def lattice_moved(system: Reconstruction, to: torch.device | torch.dtype) -> None:
    """What a residual remembers of its head, moved along: it is made once at the change of the phase."""
    field = system.sdf
    if isinstance(field, ResidualField) and field._lattice is not None:
        code = field.head.code
        field._lattice = (code, code._version, field._lattice[2].to(to))
