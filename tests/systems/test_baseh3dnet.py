"""method=baseh3dnet from the command line's side: its options, and a run that hands over to the next."""

import pytest
import torch
from omegaconf import OmegaConf

from recon.commands import export_source_subject
from recon.errors import ReconError
from recon.priors.source_subjects import load_source_subject, save_source_subject, source_subject_of_run
from recon.systems import config, run
from recon.systems.checkpoint import load_checkpoint
from recon.systems.help import options as help_options
from tests.support import ellipsoid
from tests.support.options import leaves
from tests.support.runs import TINY, composed, configured, trained


@pytest.fixture(scope="module")
def donor_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source_subject")
    scene = ellipsoid.write_idr_scene(folder / "scene", 4)
    trained(scene, folder / "run", *TINY, "method=idr")
    return folder / "run"


def resolved(*overrides):
    cfg = composed(*overrides)
    OmegaConf.resolve(cfg)
    return cfg


def test_the_method_is_idr_with_another_prior():
    ours, idr = resolved("method=baseh3dnet"), resolved("method=idr")
    assert ours.prior._target_.endswith("PretrainedEpochPrior") and ours.method.name == "baseh3dnet"
    own = ("name", "steps", "steps_per_view")
    assert {**ours.method, **{key: idr.method[key] for key in own}} == {**idr.method}
    assert (ours.prior.source_subject, ours.prior.load, ours.prior.schedule_offset) == (
        "auto",
        "weights+optimizer",
        0.25,
    )


@pytest.mark.parametrize(
    "order", [["prior=sphere", "method=baseh3dnet"], ["method=baseh3dnet", "prior=sphere"]]
)
def test_a_prior_on_the_command_line_wins(order):
    cfg = composed(*order)
    assert cfg.prior._target_.endswith("SpherePrior") and cfg.method.name == "baseh3dnet"


@pytest.mark.slow
def test_of_several_donors_the_chosen_one_is_kept_for_a_resumed_run(donor_run, tmp_path):
    scene = ellipsoid.write_idr_scene(tmp_path / "scene", 4)
    source_subjects = tmp_path / "source_subjects"
    source_subjects.mkdir()
    for name in "ab":
        save_source_subject(source_subjects / f"{name}.safetensors", source_subject_of_run(donor_run))
    options = [*TINY, "method=baseh3dnet", f"prior.source_subjects_folder={source_subjects}", "steps=2"]
    cfg, folder = configured(scene, tmp_path / "run", *options)
    task = run.prepare(cfg, folder)
    assert task.start_name in ("pretrained_epoch:a", "pretrained_epoch:b") and cfg.start == task.start_name
    other = {"pretrained_epoch:a": "pretrained_epoch:b", "pretrained_epoch:b": "pretrained_epoch:a"}[
        task.start_name
    ]
    cfg, folder = configured(scene, tmp_path / "run", *options, f"start='{other}'")
    assert run.prepare(cfg, folder).start_name == other
    cfg, folder = configured(scene, tmp_path / "run", *options, "start=c")
    with pytest.raises(ReconError, match="offers pretrained_epoch:a, pretrained_epoch:b"):
        run.prepare(cfg, folder)


def test_the_recipe_as_written_is_three_options():
    cfg = resolved(
        "method=baseh3dnet",
        "prior.load=weights",
        "prior.schedule_offset=0.0",
        "method.objective.learning_rate_milestones=[]",
    )
    prior = config.build(cfg.prior)
    assert (prior.load, prior.schedule_offset) == ("weights", 0)
    assert cfg.method.objective.learning_rate_milestones == []


@pytest.mark.parametrize("name", ["prior/pretrained_epoch", "method/baseh3dnet", "export_source_subject"])
def test_every_option_is_explained(name):
    path = config.CONF / f"{name}.yaml"
    comments = {option: comment for option, _, comment in help_options(path)}
    for option in leaves(path, ""):
        assert comments.get(option), f"{option} of {path} has no comment"


def test_a_run_becomes_a_donor_and_the_next_run_starts_from_it(donor_run, tmp_path, capsys):
    out = tmp_path / "anna.safetensors"
    export_source_subject.run(
        composed(f"run={donor_run}", f"out={out}", "licence=free", name="export_source_subject")
    )
    printed = capsys.readouterr().out
    assert f"prior.source_subject={out}" in printed and "with Adam's moments" in printed
    about = load_source_subject(out).about
    assert (about["steps"], about["progress"], about["views"], about["licence"]) == (
        8,
        1.0,
        [0, 1, 2, 3],
        "free",
    )
    unit = torch.tensor(about["world_from_unit"])
    assert unit[0, 0] == ellipsoid.RADIUS_MM and unit[:3, 3].tolist() == ellipsoid.CENTRE_MM.tolist()

    scene = donor_run.parent / "scene"
    cfg, folder = configured(
        scene, tmp_path / "run", *TINY, "method=baseh3dnet", f"prior.source_subject={out}"
    )
    task = run.prepare(cfg, folder)
    saved = load_checkpoint(donor_run / "checkpoints" / "last.ckpt")
    state = task.system.state_dict()
    assert task.start_name == "pretrained_epoch:anna" and task.system.schedule_offset == 0.25
    assert all(torch.equal(value, state[name]) for name, value in saved["state_dict"].items())
    assert run.train(task)
    after = load_checkpoint(folder / "checkpoints" / "last.ckpt")["optimizer_states"][0]["state"]
    assert {float(each["step"]) for each in after.values()} == {16.0}  # the source subject's eight and ours


def test_bad_exports_are_refused(donor_run, tmp_path):
    for overrides, message in (
        ((f"run={tmp_path}/none", f"out={tmp_path}/a.safetensors"), "config.yaml"),
        ((f"run={donor_run}", f"out={tmp_path}/a.pt"), ".safetensors"),
    ):
        with pytest.raises(ReconError, match=message):
            export_source_subject.run(composed(*overrides, name="export_source_subject"))
    assert not list(tmp_path.iterdir())
