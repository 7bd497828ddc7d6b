"""init=instant and refine=true through the configuration: what composes, what is refused, what a resumed run keeps."""

import copy
import os
import signal

import pytest
import torch
from omegaconf import OmegaConf

from recon import scene as scenes
from recon.errors import ConfigError, OutOfDistributionError
from recon.priors import GridShape, PCAPrior
from recon.systems import config, run, stages
from recon.systems.resolvers import run_folder
from tests.support import ellipsoid
from tests.support.prior_shape_models import ellipsoid_distance, write_ellipsoids, write_pca
from tests.support.runs import SMALL_H3DNET as SMALL
from tests.support.runs import composed, configured, same, trained

OPTIONS = [
    *SMALL[1:],
    "field.sdf.width=64",
    "field.sdf.depth=3",
    "field.sdf.skip=[]",
    "init.regression.steps=40",
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    scene = ellipsoid.write_idr_scene(folder / "ellipsoid", 4)
    linear = write_pca(folder / "lin.safetensors", ellipsoid_distance)
    return scene, linear, write_ellipsoids(folder / "net.safetensors")


@pytest.fixture(scope="module")
def head(files):
    """The head that the linear prior really finds in the scene."""
    scene = scenes.open(files[0])
    return PCAPrior(str(files[1])).fit(stages.observe(scene, range(len(scene.views))))


@pytest.fixture
def fitted(head, monkeypatch):
    """Every fit of a test is that one: least squares take seconds."""
    monkeypatch.setattr(PCAPrior, "fit", lambda self, observations: copy.deepcopy(head))


def options_of(files, method):
    _, linear, network = files
    own = [f"prior.path={network}"] if method == "h3dnet" else []
    return [*OPTIONS, f"method={method}", "init=instant", f"init.pca.path={linear}", *own]


def settled(*overrides):
    return config.settle(composed(*overrides), list(overrides))


def test_a_method_keeps_its_own_settings_beside_the_fit():
    for method, prior in (("h3dnet", "DeepSDFPrior"), ("idr", "SpherePrior")):
        plain, fitted = settled(f"method={method}"), settled(f"method={method}", "init=instant")
        assert not plain.init and fitted.init.pca._target_.endswith("PCAPrior")
        assert fitted.prior._target_ == f"recon.priors.{prior}"
        assert (fitted.method, fitted.field, fitted.prior) == (plain.method, plain.field, plain.prior)


def test_refine_makes_h3dnet_of_instant_that_starts_from_its_fit():
    cfg = settled(
        "method=instant", "refine=true", "prior.path=/mine", "prior.solver.cameras=false", "steps=7"
    )
    same_by_name = settled(
        "method=instant_h3dnet", "init.pca.path=/mine", "init.pca.solver.cameras=false", "steps=7"
    )
    h3dnet = settled("method=h3dnet")
    assert cfg.init.pca.path == "/mine" and not cfg.init.pca.solver.cameras and cfg.steps == 7
    assert cfg.method.name == "instant+h3dnet" and cfg.prior == h3dnet.prior and cfg.field == h3dnet.field
    assert cfg.refine and not same_by_name.refine
    cfg.refine = False
    assert cfg == same_by_name


def test_refine_says_where_there_is_nothing_to_refine():
    with pytest.raises(ConfigError, match="method=idr has no refinement"):
        settled("method=idr", "refine=true")


def test_the_folder_of_a_refined_run_says_so():
    cfg = composed("method=instant", "refine=true")
    assert run_folder("runs", _root_=cfg).endswith("demo-instant-refined")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "name", "offset"), [("h3dnet", "lin+net", 0.0), ("idr", "lin+sphere", 0.3)]
)
def test_training_starts_at_the_fitted_head(files, fitted, tmp_path, method, name, offset):
    cfg, folder = configured(
        files[0], tmp_path, *options_of(files, method), "steps=4", "init.schedule_offset=0.3"
    )
    task = run.prepare(cfg, folder)
    assert task.start_name == cfg.start == name and task.cfg.method.name == method
    assert task.system.schedule_offset == offset and task.start.life_size is not None
    rates = [group["lr"] for group in task.system.configure_optimizers()["optimizer"].param_groups]
    geometry = next(iter(task.system.sdf.parameter_groups()["geometry"]))
    learns = [task.system.set_phase(step) or geometry.requires_grad for step in range(4)]
    if method == "h3dnet":  # phases and rates are its own
        assert rates[0] == task.cfg.method.objective.geometry_learning_rate
        assert learns == [False, False, True, True]
    else:
        assert rates[0] == pytest.approx(0.04 * task.cfg.method.objective.learning_rate)
        assert learns == [False, True, True, True]
    assert not any(isinstance(part, GridShape) for part in task.system.modules())
    direction = torch.nn.functional.normalize(torch.randn(500, 3), dim=1)
    surface = direction * torch.tensor(ellipsoid.SEMI_AXES_MM / ellipsoid.RADIUS_MM).float()
    with torch.no_grad():
        error_mm = task.system.sdf.sdf(surface).abs().mean() * ellipsoid.RADIUS_MM
    assert error_mm < (2.0 if method == "h3dnet" else 6.0)  # the network has 40 steps to learn it


@pytest.mark.slow
def test_a_resumed_run_keeps_its_start_and_ends_as_an_uninterrupted_one(files, fitted, tmp_path, monkeypatch):
    options = [*options_of(files, "h3dnet"), "steps=4"]
    whole, _ = trained(files[0], tmp_path / "whole", *options)
    cfg, folder = configured(files[0], tmp_path / "parts", *options)
    task = run.prepare(cfg, folder)
    run.record(cfg, options, folder)
    losses = task.system.losses

    def interrupted(batch, step):
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return losses(batch, step)

    monkeypatch.setattr(task.system, "losses", interrupted)
    assert not run.train(task)
    again = config.settle(composed(f"resume={folder}"), [f"resume={folder}"])
    assert again.init == cfg.init and again.start == "lin+net"
    task = run.prepare(again, folder)
    assert run.train(task)
    assert same(dict(whole.system.state_dict()), dict(task.system.state_dict()))


@pytest.mark.parametrize("override", ["refine=true", "method=instant", "init=instant", "init=none"])
def test_a_resumed_run_does_not_change_what_it_is(override, tmp_path):
    OmegaConf.save(settled("method=h3dnet", "init=instant"), tmp_path / "config.yaml")
    overrides = [f"resume={tmp_path}", override]
    with pytest.raises(ConfigError, match="a resumed run keeps its"):
        config.settle(composed(*overrides), overrides)


def test_without_refinement_a_resumed_run_may_be_told_so(tmp_path):
    OmegaConf.save(settled("method=idr"), tmp_path / "config.yaml")
    overrides = [f"resume={tmp_path}", "refine=false"]
    assert config.settle(composed(*overrides), overrides).method.name == "idr"


def test_a_head_outside_the_linear_family_is_reconstructed_without_its_fit(
    files, tmp_path, monkeypatch, caplog
):
    def outside(self, observations):
        raise OutOfDistributionError("no head looks like the masks")

    monkeypatch.setattr(PCAPrior, "fit", outside)
    options = [*options_of(files, "h3dnet"), "steps=2"]
    cfg, folder = configured(files[0], tmp_path, *options, "fallback=idr")
    task = run.prepare(cfg, folder)
    assert task.start_name == "sphere" and not task.cfg.init and "without the prior" in caplog.text
    cfg, folder = configured(files[0], tmp_path, *options)
    with pytest.raises(OutOfDistributionError, match="init=none"):
        run.prepare(cfg, folder)


def test_other_methods_are_refused(files, tmp_path):
    options = ["method=instant", "init=instant", "trainer.accelerator=cpu", f"prior.path={files[1]}"]
    cfg, folder = configured(files[0], tmp_path, *options)
    with pytest.raises(ConfigError, match="PCAPrior"):
        run.prepare(cfg, folder)


def test_parts_of_an_object_are_trusted_no_more_than_the_whole():
    cfg = OmegaConf.to_container(settled("init=instant").init)
    cfg["pca"]["_target_"] = "os.system"
    with pytest.raises(ConfigError, match="refusing"):
        config.build(OmegaConf.create(cfg), prior=None)
