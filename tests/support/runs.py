"""Small runs for tests: configurations, training and resuming as train.py does them."""

from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from recon.systems import config, run, stages
from recon.systems.report.reporter import Reporter

config.register_resolvers()
ROOT = Path(__file__).parents[2]
SMALL = [
    "method=idr",
    "trainer.accelerator=cpu", "field.sdf.width=64", "field.sdf.depth=4", "field.sdf.skip=[2]",
    "field.sdf.feature_size=32", "field.colour.width=64", "field.colour.depth=2", "data.sampler.rays=512",
    "renderer.samples=32", "mesh.resolution=128", "render.step=4",
]  # fmt: skip
TINY = [
    *SMALL,
    "data.sampler.rays=64",
    "steps=8",
    "trainer.checkpoint_every=3",
    "trainer.log_every=2",
    "mesh.resolution=48",
]
SMALL_H3DNET = [
    "method=h3dnet", "trainer.accelerator=cpu", "field.feature.width=32", "field.feature.depth=2",
    "field.sdf.feature_size=16", "field.colour.width=32", "field.colour.depth=2", "data.sampler.rays=256",
    "renderer.samples=32", "mesh.resolution=96", "render.step=8", "render.heldout=0",
]  # fmt: skip


def composed(*overrides, name="train"):
    """A configuration as Hydra composes it."""
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        return compose(name, overrides=list(overrides))


def configured(scene, folder, *overrides):
    """A settled configuration for four views of a scene, and the folder of its run."""
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("train", overrides=[f"scene={scene}", "views=[0,1,2,3]", *overrides])
    return config.settle(cfg, []), Path(folder)


def trained(scene, folder, *overrides):
    """A run that has been trained, and whether it came to its end."""
    cfg, folder = configured(scene, folder, *overrides)
    task = run.prepare(cfg, folder)
    run.record(cfg, list(overrides), folder)
    return task, stages.train(task)


def reported(task):
    """What metrics.json holds of a trained run, whose mesh and report are made here."""
    with Reporter(task) as reporter:
        reporter.surface()
        return reporter.write()


def resumed(folder):
    """As `trained`, but going on with the run of a folder."""
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        again = config.settle(compose("train", overrides=[f"resume={folder}"]), [f"resume={folder}"])
    task = run.prepare(again, folder)
    return task, stages.train(task)


def same(a, b):
    """Whether two trees of tensors hold the same bits."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b
