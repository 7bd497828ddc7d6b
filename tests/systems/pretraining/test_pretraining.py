import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import MissingConfigException
from PIL import Image

from recon.errors import ConfigError, PriorError
from recon.geometry.frames import LANDMARKS_MM
from recon.priors import CanonicalFrame, ShapeNetwork, load_shape_prior
from recon.priors.data.batches import PointSampler, ShardPool
from recon.priors.data.dataset import HeadPoints, SampleFolder
from recon.priors.data.lattices import read_lattices
from recon.systems import config, run
from recon.systems.help import options as help_options
from recon.systems.pretraining import config as pretraining_config
from recon.systems.pretraining import outputs as pretraining_outputs
from recon.systems.pretraining import run as pretraining_run
from recon.systems.pretraining.callbacks import PriorProgress
from recon.systems.pretraining.meshes import point_errors
from recon.systems.pretraining.pictures import ShapeCamera, render_shape, splat_points
from tests.support import sample_folders as toys

ROOT = Path(__file__).parents[3]
config.register_resolvers()
pretraining_config.register_resolvers()

TINY = (
    "size.network.latent_size=4", "size.network.width=16", "size.network.depth=1", "size.network.mean_mm=24",
    "size.network.grids_mm=[[24,4],[48,4]]", "size.nodes=512", "size.heads=4", "size.points=64",
    "validation.every=0", "validation.final_heads=2", "validation.points=300", "validation.resolution=48",
    "trainer.accelerator=cpu", "trainer.log_every=1", "picture_px=24",
)  # fmt: skip


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    root = tmp_path_factory.mktemp("samples")
    toys.write_samples(root, "train", 8)
    toys.write_samples(root, "val", 2, seed=9)
    return root


def composed(*overrides):
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("pretrain", overrides=list(overrides))
    return pretraining_config.settle(cfg, [])


def task_of(folder, data, *overrides):
    cfg = composed(f"data={data}", *TINY, *overrides)
    task = pretraining_run.prepare(cfg, folder)
    run.record(cfg, [], folder)
    return task


def curve(folder, column="loss"):
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row[column]) for row in csv.DictReader(file)]


@pytest.mark.slow
def test_from_samples_to_a_prior(samples, tmp_path):
    task = task_of(tmp_path, samples, "max_steps=160", "size.lattice_share=0.6", "validation.every=80")
    assert pretraining_run.train(task)
    pretraining_outputs.write(task)
    prior = load_shape_prior(tmp_path / "prior.safetensors")
    assert prior.about["heads"] == 8 and "USC Institute for Creative" in prior.about["notice"]
    measured = prior.about["measured"]
    # Balls of 90 to 120 mm that move by 20 mm, from 8 of them, on a grid of 24 mm.
    assert measured["field_all_mm"] < 1.5 and measured["chamfer_head_mm"] < 2.0
    assert prior.canonical.landmarks_mm["nose_tip"] == LANDMARKS_MM["nose_tip"]
    with (tmp_path / "validation.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["80"]
    for name in ("reconstructions", "interpolation", "samples", "components"):
        assert np.asarray(Image.open(tmp_path / "pictures" / f"{name}.png")).min() < 200


def test_the_codes_of_a_finished_shape_model_are_standard(samples, tmp_path):
    system = task_of(tmp_path, samples, "max_steps=10").system
    system.codes.data = system.codes * torch.tensor([3.0, 0.2, 1.0, 0.0]) + 1.5
    points = torch.rand(50, 3) - 0.5
    before = torch.stack([system.network(points, code) for code in system.codes])
    codes = system.standard_codes()
    after = torch.stack([system.standardised()(points, code) for code in codes])
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(codes.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(codes.std(0, correction=0)[:3], torch.ones(3), atol=1e-4, rtol=0)


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(samples, tmp_path, monkeypatch):
    options = ("max_steps=12", "size.lattice_share=0.5", "pool=2", "turn=2")
    whole = task_of(tmp_path / "whole", samples, *options)
    assert pretraining_run.train(whole)

    original = PriorProgress.on_train_batch_end

    def interrupt(self, trainer, *rest):
        original(self, trainer, *rest)
        if trainer.global_step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(PriorProgress, "on_train_batch_end", interrupt)
    assert not pretraining_run.train(task_of(tmp_path / "parts", samples, *options))
    monkeypatch.undo()
    resumed = task_of(tmp_path / "parts", samples, *options)
    assert pretraining_run.train(resumed)
    assert curve(tmp_path / "parts") == curve(tmp_path / "whole") and len(curve(tmp_path / "whole")) == 12
    for name, value in whole.system.state_dict().items():
        assert torch.equal(value, resumed.system.state_dict()[name]), name


@pytest.mark.slow
def test_scans_are_trained_on_by_surface_and_normals(tmp_path):
    landmarks = {name: np.array(place) for name, place in LANDMARKS_MM.items()}
    for n, ball in enumerate(toys.balls(4)):
        toys.write_scan(tmp_path / "scans" / f"{n}" / "full_head.obj", landmarks, ball)
    task = task_of(
        tmp_path / "run", tmp_path / "scans", "max_steps=120", "scan_points=1000",
        "size.objective.eikonal_weight=0.1",
    )  # fmt: skip
    assert task.batches.supervision == "surface" and task.system.lattice_steps == 0
    assert pretraining_run.train(task)
    surface = curve(tmp_path / "run", "loss_surface")
    assert np.mean(surface[-10:]) < 0.2 * np.mean(surface[:5])
    assert np.mean(surface[-10:]) * toys.RADIUS < 4.0  # mm


def test_batches_depend_on_seed_and_step_alone(samples):
    def sampler(seed=0):
        data = SampleFolder(samples, "train")
        return PointSampler(data, ShardPool(data, 2, 3, seed), 4, 16, 0.01, seed)

    walked = sampler()
    for step in range(8):
        walked.distances(step)
    first, second = walked.distances(8), sampler().distances(8)
    assert torch.equal(first.points, second.points) and torch.equal(first.heads, second.heads)
    assert not torch.equal(first.points, sampler(1).distances(8).points)
    parts = [first.part(rank, 2) for rank in (0, 1)]
    assert torch.equal(torch.cat([part.points for part in parts]), first.points)
    lattices = read_lattices(SampleFolder(samples, "train"))
    assert torch.equal(lattices.draw(64, 0, 5).distances, lattices.draw(64, 0, 5).distances)


def test_a_batch_says_the_true_distances(samples):
    data, heads = SampleFolder(samples, "train"), toys.balls(8)
    batch = PointSampler(data, ShardPool(data, 4, 1, 0), 8, 32, 0.01, 0).distances(3)
    assert sorted(batch.heads.tolist()) == list(range(8))
    for head, points, distances in zip(batch.heads, batch.points, batch.distances, strict=True):
        mm = points.numpy() * toys.RADIUS + toys.CENTRE
        np.testing.assert_allclose(distances * toys.RADIUS, toys.distance(heads[head], mm), atol=0.01)
    lattice = read_lattices(data).draw(100, 0, 0)
    mm = lattice.points.numpy() * toys.RADIUS + toys.CENTRE
    for head, ball in enumerate(heads):
        np.testing.assert_allclose(
            lattice.distances[:, head] * toys.RADIUS, toys.distance(ball, mm), atol=0.1
        )


def test_few_shards_are_held_and_all_are_seen(samples):
    pool, seen = ShardPool(SampleFolder(samples, "train"), 2, 5, 0), set()
    for step in range(40):
        held = pool.shards(step)
        assert len(held) <= 2
        seen |= set(held)
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["supervision=magic"], "distances"),
        (["trainer.devices=3"], "multiple of 3"),
        (["prior_size@size=paper", "size.lattice_share=0.5"], "lattice_share"),
        (["trainer.accelerator=tpu"], "tpu"),
    ],
)
def test_what_cannot_run_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        composed("data=x", *overrides)


def test_a_prior_without_training_is_refused_with_those_that_have_one():
    with pytest.raises(MissingConfigException, match=r"(?s)pretrained_epoch.*deepsdf.*pca"):
        composed("data=x", "pretraining@training=pretrained_epoch")


@pytest.mark.slow
def test_bad_data_are_refused(samples, tmp_path):
    with pytest.raises(ConfigError, match="data= is missing"):
        composed()
    with pytest.raises(PriorError, match="no such folder"):
        task_of(tmp_path, tmp_path / "none")
    with pytest.raises(PriorError, match="split 'test'"):
        task_of(tmp_path, samples, "split=test")
    with pytest.raises(ConfigError, match="eikonal_weight"):
        task_of(tmp_path, samples, "supervision=surface")
    (tmp_path / "broken").mkdir()
    toys.write_samples(tmp_path / "broken", "train", 2)
    toys.write_samples(tmp_path / "broken", "val", 2)
    (tmp_path / "broken" / "train" / "shard-00000.npz").write_bytes(b"PK nonsense")
    with pytest.raises(PriorError, match=r"shard-00000\.npz cannot be read"):
        task_of(tmp_path, tmp_path / "broken")


def test_every_option_is_explained():
    for path in (config.CONF / "pretrain.yaml", *(config.CONF / "prior_size").glob("*.yaml")):
        explained = {name: comment for name, _, comment in help_options(path)}
        content = yaml.safe_load(path.read_text())
        for key, value in content.items():
            if key not in ("defaults", "hydra"):
                for name in [f"{key}.{inner}" for inner in value] if isinstance(value, dict) else [key]:
                    assert explained.get(name), f"{path.name}: {name}"


def test_paper_size_is_the_paper(samples):
    cfg = composed("prior_size@size=paper", "data=x")
    kind, arguments = pretraining_run.network_arguments(
        cfg.size.network, SampleFolder(samples, "val").canonical
    )
    assert kind == "mlp" and (arguments["depth"], arguments["width"]) == (8, 512)
    assert (arguments["latent_size"], arguments["octaves"], arguments["skip"]) == (256, 6, [4])
    objective = cfg.size.objective
    assert (objective.eikonal_weight, objective.normal_weight, objective.latent_weight) == (0.1, 1.0, 1e-3)


CANONICAL = CanonicalFrame((0.0, -25.0, -5.0), 330.0, LANDMARKS_MM)


class Ball(ShapeNetwork):
    """A shape model whose code is its radius."""

    latent_size = 1

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def forward(self, points, code):
        radius = code[0] if code.dim() == 1 else code[:, 0]
        return points.norm(dim=1) - 0.3 - 0.02 * radius

    def latent_gradient(self, points, code):
        return self(points, code), torch.full((len(points), 1), -0.02)


def test_a_ball_is_drawn_as_a_disc_lit_from_the_front():
    camera = ShapeCamera(CANONICAL, 30.0, 100)
    image = render_shape(Ball(), torch.tensor([2.0]), camera)
    seen = (image < 0.99).any(axis=2)
    assert abs(seen.sum() * camera.pixel**2 / (np.pi * 0.34**2) - 1) < 0.02
    assert 0.7 < image[seen].max() < 0.85 and image[seen].min() < 0.4
    normals = torch.nn.functional.normalize(torch.randn(20_000, 3), dim=1).double().numpy()
    splat = splat_points(0.34 * normals, normals, camera)
    assert np.abs(splat - image)[seen].mean() < 0.05


def test_errors_of_meshes_are_true_distances(tmp_path):
    rng = np.random.default_rng(0)
    data = SampleFolder.__new__(SampleFolder)
    normals = rng.normal(size=(1, 4000, 3))
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    data.canonical, data.has_distances, data.lattice_mm = CANONICAL, False, None
    data.names, data.shards = ["ball"], [range(1)]
    # The truth is larger than the shape model reaches, at the half that is judged alone.
    radius = np.where(np.arange(4000) < 2000, 0.32, 0.33)[None, :, None]
    held = HeadPoints((radius * normals).astype(np.float32), normals.astype(np.float32))
    data.load = lambda shard: held
    errors = point_errors(Ball(), CANONICAL, data, 1, 2000, 128)
    assert abs(errors["truth_to_mesh_head_mm"] - 0.01 * 330) < 0.1


@pytest.mark.slow
def test_two_processes_train_as_one(samples, tmp_path):
    for devices, strategy in ((1, "auto"), (2, "ddp")):
        command = [
            sys.executable, "scripts/pretrain_prior.py", "prior=deepsdf", f"data={samples}", *TINY,
            "max_steps=8", "size.lattice_share=0.5", "pictures=false", f"trainer.devices={devices}",
            f"trainer.strategy={strategy}", f"hydra.run.dir={tmp_path / str(devices)}",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    one, two = curve(tmp_path / "1"), curve(tmp_path / "2")
    assert len(one) == 8
    np.testing.assert_allclose(two, one, rtol=1e-5)
    assert (tmp_path / "2" / "prior.safetensors").is_file()


@pytest.mark.slow
def test_the_script_reports_bad_input(tmp_path):
    command = [
        "scripts/pretrain_prior.py",
        "prior=deepsdf",
        f"data={tmp_path / 'none'}",
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "there is no such folder" in done.stdout + done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
