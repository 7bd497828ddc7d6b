import json

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from recon.errors import ConfigError, PriorError
from recon.geometry.frames import LANDMARKS_MM, similarity
from recon.priors import PCAShapeModel, load_shape_prior
from recon.priors.data.dataset import SampleFolder
from recon.synth.datasets.samples import mean_landmarks
from recon.synth.model.head_model import load_head_model
from recon.synth.model.identity import draw_identity, shape_head
from recon.systems import config, run
from recon.systems.pretraining import config as pretraining_config
from recon.systems.pretraining import pca as pretraining_pca
from recon.systems.pretraining.landmarks import _of_shard, landmark_names, landmarks_of
from tests.support import sample_folders as toys
from tests.support.head_model import needs_model

config.register_resolvers()
pretraining_config.register_resolvers()

OPTIONS = (
    "pretraining@training=pca", "pca.latent_size=3", "pca.reach_mm=30", "pca.full=true", "validation.final_heads=2",
    "validation.points=300", "validation.resolution=48", "trainer.accelerator=cpu", "picture_px=24",
)  # fmt: skip


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    root = tmp_path_factory.mktemp("samples")
    toys.write_samples(root, "train", 12, lattice_mm=8.0)
    toys.write_samples(root, "val", 2, seed=9)
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def composed(*overrides):
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("pretrain", overrides=[*OPTIONS, *overrides])
    return pretraining_config.settle(cfg, [])


def tops(data, path, workers=1):
    """A ball's highest and foremost points as its landmarks, and the middle of all balls 66 times."""
    balls = toys.balls(len(data.names), 9 if data.names[0].startswith("val") else 0)
    fixed = np.tile([0.0, 0.0, 20.0], (66, 1))
    return np.stack([np.concatenate([c + r * np.eye(3)[1:], fixed]) for c, r in balls])


@pytest.mark.slow
def test_from_samples_to_a_prior(samples, tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining_pca, "landmarks_of", tops)
    cfg = composed(f"data={samples}")
    task = pretraining_pca.prepare(cfg, tmp_path)
    run.record(cfg, [], tmp_path)
    path = pretraining_pca.write(task, pretraining_pca.build(task))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    prior = load_shape_prior(path, metrics["sha256"])
    assert isinstance(prior.network, PCAShapeModel) and prior.about["heads"] == 12
    assert "USC Institute for Creative" in prior.about["notice"]
    # Balls of 90 to 120 mm that move by 20 mm: two numbers say all, up to what the lattice of 8 mm holds.
    assert metrics["field_all_mm"] < 0.5 and metrics["chamfer_head_mm"] < 1.0
    assert metrics["full"]["field_all_mm"] < 0.5
    assert metrics["code_square"] < 2.5
    assert len(prior.network.landmark_names) == 68 and metrics["landmark_mm"] < 0.2
    for name in ("reconstructions", "interpolation", "samples", "components"):
        assert np.asarray(Image.open(tmp_path / "pictures" / f"{name}.png")).min() < 200
    assert not (tmp_path / "work").exists()

    full = load_shape_prior(tmp_path / "prior-full.safetensors").network
    code, points = torch.tensor([1.0, -1.0, 0.5]), torch.rand(500, 3) - 0.5
    difference = (full.shape_of(code).sdf(points) - prior.network.shape_of(code).sdf(points)).abs() * 330
    assert difference.mean() < 0.2
    assert path.stat().st_size < 0.2 * (tmp_path / "prior-full.safetensors").stat().st_size


@pytest.mark.slow
def test_a_resumed_run_gives_the_same_file(samples, tmp_path, monkeypatch):
    def made(folder):
        task = pretraining_pca.prepare(composed(f"data={samples}", "pictures=false"), folder)
        return load_shape_prior(pretraining_pca.write(task, pretraining_pca.build(task))).network

    whole = made(tmp_path / "whole")
    monkeypatch.setattr(
        "recon.priors.pca.principal._rows", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "parts")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    resumed = made(tmp_path / "parts")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_bad_input_is_refused(samples, tmp_path):
    with pytest.raises(ConfigError, match=r"pca\.step_mm"):
        composed(f"data={samples}", "pca.step_mm=0")
    with pytest.raises(ConfigError, match="share"):
        composed(f"data={samples}", "pca.share=2")
    with pytest.raises(PriorError, match="no such folder"):
        pretraining_pca.prepare(composed(f"data={tmp_path / 'none'}"), tmp_path)
    landmarks = {name: np.array(place) for name, place in LANDMARKS_MM.items()}
    for n, ball in enumerate(toys.balls(4)):
        toys.write_scan(tmp_path / "scans" / f"{n}" / "full_head.obj", landmarks, ball)
    with pytest.raises(PriorError, match="needs lattices"):
        pretraining_pca.prepare(composed(f"data={tmp_path / 'scans'}", "scan_points=500"), tmp_path)


@needs_model
def test_landmarks_are_those_of_the_heads_that_the_samples_show(tmp_path):
    model = load_head_model()
    landmarks = shape_head(model, draw_identity(model, 0, "train")).landmarks68
    to_canonical = similarity(landmarks, mean_landmarks(model))
    np.savez(tmp_path / "shard.npz", canonical_from_head=np.stack([to_canonical, np.eye(4)]))
    found = _of_shard("train", ([0, 1], tmp_path / "shard.npz"))
    names = landmark_names()
    for name, place in LANDMARKS_MM.items():
        assert np.linalg.norm(found[0, names.index(name)] - place) < 12
    assert np.isnan(found[1]).all()  # another head than that of the samples


def test_heads_without_seeds_have_no_landmarks(samples, tmp_path):
    assert landmarks_of(SampleFolder(samples, "train"), tmp_path / "l.npy") is None
