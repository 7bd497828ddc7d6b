import pytest
from omegaconf import OmegaConf

from recon.errors import ConfigError, SceneError
from recon.systems import config
from tests.support.runs import composed

config.register_resolvers()
GROUPS = {
    group.name: sorted(path.stem for path in group.glob("*.yaml"))
    for group in config.CONF.iterdir()
    if group.is_dir()
}


@pytest.mark.slow
@pytest.mark.parametrize("choice", [f"{group}={name}" for group, names in GROUPS.items() for name in names])
def test_every_choice_of_every_group_composes(choice):
    group, _, name = choice.partition("=")
    if group == "pretraining":
        assert composed(f"pretraining@training={name}", name="pretrain").training.name == name
    elif group == "prior_size":
        assert composed(f"prior_size@size={name}", name="pretrain").size.name == name
    else:
        assert composed(choice)[group] is not None


@pytest.mark.parametrize(
    ("preset", "width", "rays", "steps", "per_view"),
    [("cpu", 128, 1024, 900, 200), ("gpu", 512, 4096, 3000, 1000), ("paper", 512, 2048, 0, 2000)],
)
def test_presets(preset, width, rays, steps, per_view):
    cfg = composed("method=idr", f"preset={preset}")
    OmegaConf.resolve(cfg)
    assert (cfg.field.sdf.width, cfg.data.sampler.rays) == (width, rays)
    assert (cfg.method.steps, cfg.method.steps_per_view) == (steps, per_view)


def test_an_override_beats_the_preset():
    cfg = composed("preset=paper", "field.sdf.width=33", "field.sdf.skip=[1]")
    OmegaConf.resolve(cfg)
    assert (cfg.field.sdf.width, cfg.field.sdf.depth, list(cfg.field.sdf.skip)) == (33, 8, [1])


def test_auto_preset_follows_the_device():
    assert config.preset_of(composed("trainer.accelerator=cpu")) == "cpu"
    with pytest.raises(ConfigError, match="laptop"):
        config.preset_of(composed("preset=laptop"))
    with pytest.raises(ConfigError, match="tpu"):
        config.device_of(composed("trainer.accelerator=tpu"))


def test_paper_preset_is_the_paper():
    cfg = composed("method=idr", "preset=paper")
    OmegaConf.resolve(cfg)
    sdf, objective, tracer = cfg.field.sdf, cfg.method.objective, cfg.renderer
    assert (sdf.depth, sdf.width, sdf.octaves, sdf.feature_size, sdf.beta, sdf.radius, list(sdf.skip)) == (
        8,
        512,
        6,
        256,
        100,
        0.6,
        [4],
    )
    assert (objective.mask_weight, objective.eikonal_weight, objective.alpha, objective.learning_rate) == (
        100,
        0.1,
        50,
        1e-4,
    )
    assert (tracer.steps, tracer.threshold, tracer.back_offs, tracer.samples, tracer.secant_steps) == (
        10,
        5e-5,
        3,
        100,
        8,
    )
    assert cfg.data.sampler._target_ == "recon.rendering.ImageSampler"
    assert (cfg.method.steps, cfg.method.steps_per_view) == (0, 2000)


def test_an_unknown_key_is_refused():
    with pytest.raises(Exception, match="wdith"):
        composed("field.sdf.wdith=3")


def test_a_tag_of_a_sweep_becomes_its_scenes():
    plain = ["scene=demo", "views=3"]
    assert config.expand_tags(plain) == plain
    expanded = config.expand_tags(["-m", "scene=h3ds/h3d-net", "views=3,4"])
    scenes = expanded[1].removeprefix("scene=").split(",")
    assert len(scenes) == 10 and scenes[0] == "1b2a8613401e42a8" and expanded[2] == "views=3,4"
    with pytest.raises(ConfigError, match="add -m"):
        config.expand_tags(["scene=h3ds/h3d-net"])
    with pytest.raises(SceneError, match="h3d-nett"):
        config.expand_tags(["-m", "scene=h3ds/h3d-nett"])


@pytest.mark.parametrize(
    "option",
    [
        "views=[a,b]", "views=[null,9]", "views=[0x0a,9]", "views=[[0,5]]", "views=[1.7,9]", "views=[true,9]",
        "views=true", "views=0", "seed=abc", "seed=null", "steps=-5", "steps=1.5", "mesh.resolution=abc",
        "mesh.resolution=0", "mesh.resolution=-5", "mesh.max_vertices=0", "mesh.max_vertices=many",
        "render.step=0", "render.heldout=-1", "evaluate=maybe",
        "data.sampler.rays=0", "data.pixel_centre=50", "data.pixel_centre=abc", "trainer.threads=-3", "preset=GPU",
    ],
)  # fmt: skip
def test_values_that_make_no_sense_are_refused_by_name_before_any_work(option):
    with pytest.raises(ConfigError, match=option.partition("=")[0].replace(".", r"\.")):
        config.settle(composed(option), [option])


def test_sensible_values_pass():
    given = [
        "views=[9,14]",
        "seed=7",
        "steps=0",
        "render.heldout=null",
        "data.pixel_centre=0.5",
        "focal_mm=50",
    ]
    cfg = config.settle(composed(*given), given)
    assert list(cfg.views) == [9, 14] and cfg.data.pixel_centre == 0.5


def test_a_run_keeps_its_scene_wherever_it_is_resumed(tmp_path, monkeypatch):
    (tmp_path / "scenes/x").mkdir(parents=True)
    (tmp_path / "masks").mkdir()
    monkeypatch.chdir(tmp_path)
    cfg = config.settle(
        composed("scene=scenes/x", "masks=masks", "+scenes.anna=scenes/x", "data.h3ds_root=scenes"), []
    )
    assert cfg.scene == cfg.scenes.anna == str(tmp_path / "scenes/x")
    assert (cfg.masks, cfg.data.h3ds_root) == (str(tmp_path / "masks"), str(tmp_path / "scenes"))
    run = tmp_path / "run"
    run.mkdir()
    OmegaConf.save(cfg, run / "config.yaml")
    monkeypatch.chdir("/")
    assert config.settle(composed(f"resume={run}"), []).scene == str(tmp_path / "scenes/x")
    for name in ("demo", "1b2a8613401e42a8"):  # names under scenes and ids stay names
        assert config.settle(composed(f"scene={name}"), []).scene == name
    (tmp_path / "auto").mkdir()
    monkeypatch.chdir(tmp_path)
    assert config.settle(composed("scene=demo"), []).masks is None
    assert config.settle(composed("scene=demo", "masks=auto"), []).masks == "auto"
