"""The pretrained epoch: what a source subject hands over is what its run had, to the last bit."""

import json
import logging

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml

from recon import fields
from recon.errors import PriorError
from recon.priors import Networks, SceneObservations, Start
from recon.priors.pretrained_epoch import SOURCE_SUBJECTS, PretrainedEpochPrior
from recon.priors.source_subjects import (
    SourceSubject,
    load_source_subject,
    save_source_subject,
    source_subject_of_run,
)
from recon.rendering import CameraBundle, PixelStore, SceneSampler, TracingSettings
from recon.scene import open as open_scene
from recon.systems.checkpoint import AtomicCheckpointIO, load_checkpoint
from recon.systems.data import RayData
from recon.systems.objective import Objective, stepped
from recon.systems.reconstruction import Reconstruction
from tests.support import ellipsoid

SDF = {"width": 48, "depth": 3, "skip": [2], "octaves": 3, "feature_size": 8, "radius": 0.6, "beta": 100.0}
COLOUR = {"width": 24, "depth": 2, "feature_size": 8, "view_octaves": 2, "mode": "idr"}
STEPS, TRAINED = 20, 5


def networks(sdf=None, colour=None):
    return Networks(
        lambda: fields.SDFNetwork(**(SDF | (sdf or {}))),
        torch.nn.Identity,
        lambda: fields.RenderingNetwork(**(COLOUR | (colour or {}))),
    )


def observations(radius_mm=ellipsoid.RADIUS_MM):
    return SceneObservations([], [], np.diag([radius_mm] * 3 + [1.0]))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder as train.py leaves it when it is stopped after a quarter, and the system that was trained."""
    folder = tmp_path_factory.mktemp("runs") / "anna"
    scene = open_scene(ellipsoid.write_idr_scene(folder / "scene", 3))
    views = [scene.views[i] for i in range(3)]
    torch.manual_seed(0)
    system = Reconstruction(
        Start(networks().sdf(), networks().colour()),
        CameraBundle([view.camera for view in views], scene.scale_mat, refine=True),
        TracingSettings(samples=16),
        Objective(learning_rate=1e-3),
        STEPS,
        seed=0,
    )
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=TRAINED, logger=False, enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False, plugins=[AtomicCheckpointIO()], default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(system, datamodule=RayData(SceneSampler(PixelStore(views), 64, seed=0)))
    trainer.save_checkpoint(folder / "checkpoints" / "last.ckpt")
    config = {
        "scene": str(folder / "scene"),
        "views": 3,
        "seed": 0,
        "steps": None,
        "method": {"name": "idr", "steps": STEPS - 6, "steps_per_view": 2},
        "field": {
            "sdf": {"_target_": "recon.fields.SDFNetwork", **SDF},
            "colour": {"_target_": "recon.fields.RenderingNetwork", **COLOUR},
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder, system, trainer.optimizers[0]


@pytest.fixture
def source_file(run, tmp_path):
    path = tmp_path / "anna.safetensors"
    save_source_subject(path, source_subject_of_run(run[0]))
    return path


def only(starts):
    (start,) = starts.values()
    return start


@pytest.mark.parametrize("from_file", [True, False])
def test_a_source_subject_loads_back_to_the_same_networks_bit_for_bit(run, source_file, from_file):
    folder, system, _ = run
    source_subject = source_file if from_file else folder
    starts = PretrainedEpochPrior(source_subject=str(source_subject)).starts(networks(), observations())
    assert list(starts) == ["pretrained_epoch:anna"]
    start = only(starts)
    points, normals, directions = torch.rand(3, 100, 3) * 2 - 1
    with torch.no_grad():
        theirs, ours = system.sdf(points), start.field(points)
        assert torch.equal(theirs.sdf, ours.sdf) and torch.equal(theirs.feature, ours.feature)
        assert torch.equal(
            system.colour(points, normals, directions, theirs.feature),
            start.colour(points, normals, directions, ours.feature),
        )
        untrained = fields.SDFNetwork(**SDF)(points).sdf
    assert not torch.allclose(ours.sdf, untrained, atol=1e-3)


@pytest.mark.parametrize("from_file", [True, False])
def test_adam_goes_on_where_the_source_subject_was(run, source_file, from_file):
    folder, system, optimizer = run
    start = only(
        PretrainedEpochPrior(source_subject=source_file if from_file else folder).starts(
            networks(), observations()
        )
    )
    names = {name for name, _ in system.named_parameters() if not name.startswith("cameras.")}
    assert set(start.optimizer_state) == names
    for name, parameter in system.named_parameters():
        if name in names:
            state = optimizer.state[parameter]
            assert start.optimizer_state[name]["step"] == TRAINED
            for moment in ("exp_avg", "exp_avg_sq"):
                assert torch.equal(start.optimizer_state[name][moment], state[moment]), (name, moment)
    going_on = Reconstruction(start, system.cameras, system.tracing, system.objective, STEPS, seed=0)
    continued = going_on.configure_optimizers()["optimizer"]
    for (name, theirs), ours in zip(system.named_parameters(), going_on.parameters(), strict=True):
        if name in names:
            assert torch.equal(continued.state[ours]["exp_avg"], optimizer.state[theirs]["exp_avg"])


def test_weights_alone_start_adam_afresh(source_file):
    start = only(
        PretrainedEpochPrior(source_subject=source_file, load="weights", schedule_offset=0.0).starts(
            networks(), observations()
        )
    )
    assert start.optimizer_state is None and start.schedule_offset == 0


@pytest.mark.parametrize(
    ("epoch", "alpha", "rate"),
    [
        (0, 200, 1e-4),
        (249, 200, 1e-4),
        (250, 400, 1e-4),
        (500, 800, 5e-5),
        (750, 1600, 5e-5),
        (1000, 1600, 2.5e-5),
        (1999, 1600, 2.5e-5),
    ],
)
def test_default_offset_is_the_resumed_run_of_the_published_code(source_file, epoch, alpha, rate):
    """By methods.md 4.2: epochs counted from 500 on, α milestones 250 ... 1250, rate milestones 1000, 1500."""
    start = only(PretrainedEpochPrior(source_subject=source_file).starts(networks(), observations()))
    idr = Objective()
    progress = start.schedule_offset + epoch / 2000
    assert idr.alpha * stepped(progress, idr.alpha_milestones, idr.alpha_factor) == alpha
    factor = stepped(progress, idr.learning_rate_milestones, idr.learning_rate_factor)
    assert idr.learning_rate * factor == pytest.approx(rate)


def test_the_file_says_where_the_source_subject_comes_from(run, source_file):
    about = load_source_subject(source_file).about
    assert (about["method"], about["views"], about["steps"], about["progress"]) == ("idr", 3, TRAINED, 0.25)
    assert about["scene"] == str(run[0] / "scene")
    assert load_source_subject(source_file).fields["sdf"]["width"] == 48


def test_a_source_subject_of_a_source_subject_has_passed_more(run, tmp_path):
    folder = tmp_path / "second"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").write_bytes((run[0] / "checkpoints" / "last.ckpt").read_bytes())
    config = yaml.safe_load((run[0] / "config.yaml").read_text()) | {"prior": {"schedule_offset": 0.25}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "metrics.json").write_text(json.dumps({"scene": "bert", "views": [0, 18, 65]}))
    about = source_subject_of_run(folder).about
    assert (about["scene"], about["views"], about["progress"]) == ("bert", [0, 18, 65], 0.5)


@pytest.mark.parametrize(
    ("ours", "message"),
    [
        ({"sdf": {"width": 32}}, r"sdf network has layers 21→48 .* makes 21→32 .* field.sdf.width=48"),
        ({"colour": {"width": 32}}, r"colour network .* field.colour.width=24"),
        ({"sdf": {"depth": 5}}, r"field.sdf.depth=3 .*field.sdf.skip=\[2\] "),
        ({"sdf": {"beta": 10.0}}, r"other settings.*field.sdf.beta=100"),
    ],
)
def test_networks_that_do_not_fit_are_refused_with_the_remedy(source_file, ours, message):
    with pytest.raises(PriorError, match=message):
        PretrainedEpochPrior(source_subject=source_file).starts(networks(**ours), observations())


def test_moments_that_are_missing_are_named(run, tmp_path):
    source_subject = source_subject_of_run(run[0])
    save_source_subject(
        tmp_path / "bare.safetensors", SourceSubject("bare", source_subject.fields, source_subject.weights)
    )
    prior = PretrainedEpochPrior(source_subject=tmp_path / "bare.safetensors")
    with pytest.raises(PriorError, match=r"bare .*prior\.load=weights"):
        prior.starts(networks(), observations())


def test_auto_takes_all_source_subjects_that_fit(run, tmp_path, caplog):
    source_subject = source_subject_of_run(run[0])
    for name in ("bert", "anna"):
        save_source_subject(tmp_path / f"{name}.safetensors", source_subject)
    wide = {"sdf": source_subject.fields["sdf"] | {"width": 64}, "colour": source_subject.fields["colour"]}
    torch.manual_seed(0)
    weights = {f"sdf.{k}": v for k, v in fields.SDFNetwork(**(SDF | {"width": 64})).state_dict().items()}
    weights |= {k: v for k, v in source_subject.weights.items() if k.startswith("colour.")}
    save_source_subject(tmp_path / "wide.safetensors", SourceSubject("wide", wide, weights))
    prior = PretrainedEpochPrior("auto", tmp_path, load="weights")
    assert list(prior.starts(networks(), observations())) == [
        "pretrained_epoch:anna",
        "pretrained_epoch:bert",
    ]
    assert "left out" in caplog.text and "source subject wide" in caplog.text
    assert list(prior.starts(networks({"width": 64}), observations())) == ["pretrained_epoch:wide"]
    with pytest.raises(PriorError, match="sdf network"):
        prior.starts(networks({"width": 100}), observations())
    named = PretrainedEpochPrior(["bert"], tmp_path).starts(networks(), observations())
    assert list(named) == ["pretrained_epoch:bert"]


def test_bad_source_subjects_are_refused(run, tmp_path, source_file):
    def refused(match, source_subject, **options):
        with pytest.raises(PriorError, match=match):
            PretrainedEpochPrior(source_subject, tmp_path / "source_subjects", **options).starts(
                networks(), observations()
            )

    refused("no \\*.safetensors", "auto")
    refused("no_such_subject: expected a file", "no_such_subject")
    refused("two source subjects are called anna", [str(source_file), str(run[0])])
    refused("config.yaml: a source subject is the folder of a run", str(tmp_path))
    (tmp_path / "broken.safetensors").write_bytes(source_file.read_bytes()[:1000])
    refused("broken.safetensors cannot be read", tmp_path / "broken.safetensors")
    source_subject = source_subject_of_run(run[0])
    evil = {part: {"_target_": "os.system", "command": "true"} for part in ("sdf", "colour")}
    save_source_subject(tmp_path / "evil.safetensors", SourceSubject("evil", evil, source_subject.weights))
    refused("os.system, expected one of recon.fields", tmp_path / "evil.safetensors")
    poisoned = {name: value * float("nan") for name, value in source_subject.weights.items()}
    save_source_subject(tmp_path / "nan.safetensors", SourceSubject("nan", source_subject.fields, poisoned))
    refused("not finite", tmp_path / "nan.safetensors")


def test_a_run_of_another_kind_of_field_is_no_source_subject(run, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    checkpoint = load_checkpoint(run[0] / "checkpoints" / "last.ckpt")
    checkpoint["state_dict"] = {
        name.replace("sdf.", "sdf.prior."): value for name, value in checkpoint["state_dict"].items()
    }
    torch.save(checkpoint, tmp_path / "checkpoints" / "last.ckpt")
    (tmp_path / "config.yaml").write_text((run[0] / "config.yaml").read_text())
    with pytest.raises(PriorError, match="trained by method=idr or baseh3dnet"):
        source_subject_of_run(tmp_path)


@pytest.mark.parametrize(("option", "value"), [("load", "optimizer"), ("schedule_offset", 1.0)])
def test_bad_options_are_refused(option, value):
    with pytest.raises(ValueError, match=option):
        PretrainedEpochPrior("auto", **{option: value})


def test_another_normalisation_is_warned_of(run, tmp_path, caplog):
    source_subject = source_subject_of_run(run[0])
    about = {"world_from_unit": np.diag([160.0, 160, 160, 1]).tolist()}
    save_source_subject(
        tmp_path / "anna.safetensors",
        SourceSubject("anna", source_subject.fields, source_subject.weights, None, about),
    )
    prior = PretrainedEpochPrior(tmp_path / "anna.safetensors", load="weights")
    with caplog.at_level(logging.WARNING):
        prior.starts(networks(), observations(165.0))
        assert not caplog.text
        prior.starts(networks(), observations(320.0))
    assert "160 mm" in caplog.text and "320 mm" in caplog.text


def test_source_subjects_lie_at_the_top_of_the_project():
    assert (
        SOURCE_SUBJECTS.parts[-2:] == ("priors", "source_subjects")
        and (SOURCE_SUBJECTS.parents[1] / "train.py").is_file()
    )
