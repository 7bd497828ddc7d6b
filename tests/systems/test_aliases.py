"""Old commands and old run folders go on under the present names, with one warning."""

import logging

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from recon.systems import config
from recon.systems.aliases import CHOICES, OPTIONS, TARGETS, present_arguments, present_config

config.register_resolvers()


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("prior=linear", "prior=pca"),
        ("prior=sphere,linear", "prior=sphere,pca"),
        ("prior.donor=runs/a", "prior.source_subject=runs/a"),
        ("method.outside=null", "fallback=ask"),
        ("method.fallback=idr", "fallback=idr"),
        ("+prior.outside_mm=3", "+prior.out_of_distribution_mm=3"),
        ("init.linear.path=a.safetensors", "init.pca.path=a.safetensors"),
        ("init.linear.solver.likeness=false", "init.pca.solver.brightness=false"),
        ("init.linear.solver.mark_sigma_mm=1", "init.pca.solver.face_point_sigma_mm=1"),
        ("prior.residual=false", "prior.sdf_offset=false"),
        ("prior.residual=auto", "prior.sdf_offset=auto"),
        ("prior.learned=field", "prior.residual=field"),
        ("prior.residual_settings.length_mm=9", "prior.sdf_offset_settings.length_mm=9"),
        ("renderer.every=5", "renderer.longest_refresh_interval=5"),
        ("init.regression.lesson_points=64", "init.regression.sample_points=64"),
    ],
)
def test_old_overrides_are_read_with_one_warning(before, now, caplog):
    with caplog.at_level(logging.WARNING):
        assert present_arguments(["scene=demo", before]) == ["scene=demo", now]
    (record,) = caplog.records
    assert before in record.getMessage() and now in record.getMessage()


@pytest.mark.parametrize(
    ("command", "before", "now"),
    [
        ("evaluate", "hidden=false", "include_occluded=false"),
        ("pretrain", "linear.latent_size=40", "pca.latent_size=40"),
        ("pretrain", "linear.likeness_components=6", "pca.brightness_components=6"),
        ("pretrain", "kind=linear", "pretraining@training=pca"),
    ],
)
def test_old_options_of_other_commands_are_read(command, before, now):
    assert present_arguments([before], command) == [now]
    assert present_arguments([now], command) == [now]


@pytest.mark.parametrize(
    "override",
    [
        "scene=prior.donor",
        "views=[0,18]",
        "-m",
        "prior=deepsdf",
        "prior.residual=field",
        "prior.residual=none",
        "method.objective.learning_rate=1e-3",
        "hydra.run.dir=runs/linear",
        "scene=donor=1",
    ],
)
def test_present_overrides_stay_as_they_are(override, caplog):
    assert present_arguments([override]) == [override]
    assert not caplog.records


def test_a_stored_configuration_of_before_is_read(caplog):
    stored = OmegaConf.create(
        {
            "prior": {
                "_target_": "recon.priors.LinearPrior",
                "outside_mm": 4.8,
                "solver": {"likeness": True, "shading": False},
                "residual": "auto",
                "learned": "none",
                "residual_settings": {"amplitude_mm": 1.5},
            },
            "method": {"name": "instant", "outside": "idr"},
            "start": "linear-synth-v1",
            "views": [3, 4],
        }
    )
    found = present_config(stored, "runs/a/config.yaml")
    assert OmegaConf.to_container(found) == {
        "prior": {
            "_target_": "recon.priors.PCAPrior",
            "out_of_distribution_mm": 4.8,
            "solver": {"brightness": True, "shading": False},
            "sdf_offset": "auto",
            "residual": "none",
            "sdf_offset_settings": {"amplitude_mm": 1.5},
        },
        "method": {"name": "instant"},
        "fallback": "idr",
        "start": "pca-synth-v1",
        "views": [3, 4],
    }
    assert len(caplog.records) == 1 and "runs/a/config.yaml" in caplog.text
    assert present_config(found, "again") is found


def test_present_names_are_options():
    """Every present name of the tables is one that some configuration has."""
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        choices = [
            ["method=instant"],
            ["method=h3dnet", "renderer=cached", "init=instant"],
            ["method=idr", "init=instant"],
            ["method=baseh3dnet"],
        ]
        configs = [compose("train", overrides=choice) for choice in choices]
    inner = tuple(  # fields of SolverSettings, given by +
        f"{place}.solver.{field}"
        for place in ("prior", "init.pca")
        for field in ("brightness_", "face_point")
    )
    for name in OPTIONS.values():
        if not name.startswith(inner):
            assert any(OmegaConf.select(cfg, name, default="missing") != "missing" for cfg in configs), name
    for (option, _), value in CHOICES.items():
        if option == "prior":
            assert (config.CONF / "prior" / f"{value}.yaml").is_file()
    for target in TARGETS.values():
        config.build(OmegaConf.create({"_target_": target, "path": "nowhere.safetensors"}))
