"""Training that is stopped again and again, in each phase and at the border of phases, ends with the same bits."""

import signal

import pytest

from recon.priors import DeepSDFPrior
from recon.systems import callbacks
from recon.systems.checkpoint import load_checkpoint
from tests.support import ellipsoid
from tests.support.methods import remembered
from tests.support.prior_shape_models import write_ellipsoids
from tests.support.runs import SMALL, resumed, same, trained

SHORT = ["steps=8", "trainer.checkpoint_every=3", "data.sampler.rays=64", "mesh.resolution=32"]
GRIDS = [
    "trainer.accelerator=cpu", "renderer.samples=16", "field.sdf.feature_size=8", "field.colour.width=16",
    "field.colour.depth=1",
]  # fmt: skip
STOPS = (1, 4, 6)
FIELDS = {
    "mlp": [],
    "hash": ["field.sdf.log2_size=10", "field.sdf.finest=32", "field.feature.grid.log2_size=10"],
    "dense": ["field.sdf.finest=16", "field.feature.grid.log2_size=10"],
    "hash_appearance": ["field.feature.grid.log2_size=10"],
}
METHODS = {
    "idr": [],
    "h3dnet": ["method.objective.frozen=0.5"],
}  # the shape of the prior learns from step 4 on


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory):
    return ellipsoid.write_idr_scene(tmp_path_factory.mktemp("scenes") / "ellipsoid", 5)


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    """A shape prior of ellipsoids, which is fitted once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeepSDFPrior, "_fit", remembered(DeepSDFPrior._fit))
        yield write_ellipsoids(tmp_path_factory.mktemp("priors") / "family.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("renderer", ["sphere_tracing", "cached"])
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_training_stopped_three_times_ends_with_the_same_bits(
    scene_folder, prior, tmp_path, monkeypatch, method, field, renderer
):
    options = [
        f"method={method}", f"field={field}", f"renderer={renderer}", *METHODS[method], *FIELDS[field],
        *(SMALL[1:] if field == "mlp" else GRIDS), *SHORT, *([f"prior.path={prior}"] if method == "h3dnet" else []),
    ]  # fmt: skip
    _, finished = trained(scene_folder, tmp_path / "whole", *options)
    assert finished
    stops = list(STOPS)
    go_on = callbacks.LastCheckpoint.on_train_batch_end

    def stopping(self, trainer, *rest):
        if trainer.global_step == stops[0]:
            self.stopped_by = signal.SIGTERM
        go_on(self, trainer, *rest)

    monkeypatch.setattr(callbacks.LastCheckpoint, "on_train_batch_end", stopping)
    path = tmp_path / "parts/checkpoints/last.ckpt"
    assert not trained(scene_folder, tmp_path / "parts", *options)[1]
    for step in STOPS:
        assert load_checkpoint(path)["global_step"] == step
        stops[:] = [*stops[1:], 99]
        assert resumed(tmp_path / "parts")[1] == (step == STOPS[-1])
    whole, parts = load_checkpoint(tmp_path / "whole/checkpoints/last.ckpt"), load_checkpoint(path)
    for name in ("global_step", "state_dict", "optimizer_states", "lr_schedulers"):
        assert same(whole[name], parts[name]), name
