"""Training of the portrait network: targets that follow the picture, losses, validation, exact resuming."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from scipy.spatial.transform import Rotation

from recon.errors import ConfigError, Interruption, PriorError, SceneError
from recon.perception.portrait import PortraitNetwork, PortraitOutput, load_network
from recon.perception.portrait_maps import HAIR, PARTS, SKIN
from recon.synth.portraits.shards import Stored
from recon.systems import config
from recon.systems.pretraining import config as pretraining_config
from recon.systems.pretraining.portrait import training
from recon.systems.pretraining.portrait.data import PortraitData, PortraitFolder, drawn_sample, fixed_sample
from recon.systems.pretraining.portrait.photography import before, photographed, varied_backdrop
from recon.systems.pretraining.portrait.system import PortraitObjective, PortraitTrainingModule, angle_deg
from recon.systems.pretraining.portrait.targets import IGNORED, Placement, joined, mirrored, placed
from recon.systems.pretraining.portrait.validation import errors_of, groups_of, validate
from tests.support.toy_portraits import RADIUS_MM, ball_shot, write_toy_portraits

ROOT = Path(__file__).parents[3]
config.register_resolvers()
pretraining_config.register_resolvers()
TINY = (
    "pretraining@training=portrait", "portrait.widths=[8,8]", "portrait.blocks=[1,1]", "portrait.head_width=8",
    "portrait.batch_size=4", "portrait.validation_portraits=3", "portrait.final_portraits=5", "validation.every=2",
    "trainer.accelerator=cpu", "trainer.log_every=1", "trainer.checkpoint_every=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("portraits")
    write_toy_portraits(root, "train")
    write_toy_portraits(root, "val")
    return root


def stored_ball(size=64, yaw=0.0):
    shot = ball_shot(size, yaw).portrait
    return Stored(
        shot.light, shot.cover, shot.alpha, shot.parts, shot.normals, shot.canonical, shot.strand, shot.depth
    )


def composed(root, *overrides):
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("pretrain", overrides=[f"data={root}", *TINY, *overrides])
    return pretraining_config.settle(cfg, [])


def truth_at_cells(placement, size=64, yaw=0.0):
    """Canonical coordinates, normals and mask of the ball at the cells of a sample, worked out from the placement.

    What is seen at p in the portrait, from its middle and in sides, is seen at scale * R(turn) * M p + shift."""
    side = size // 4
    v, u = np.meshgrid(
        (np.arange(side) + 0.5) / side - 0.5, (np.arange(side) + 0.5) / side - 0.5, indexing="ij"
    )
    turn = np.radians(placement.turn_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    place = (np.stack([u, v], axis=-1) - placement.shift) @ rotation / placement.scale
    if placement.mirrored:
        place[..., 0] *= -1
    mm = place * 250.0  # the toy's picture is 250 mm wide
    inside = (mm**2).sum(axis=-1) < (RADIUS_MM - 12.0) ** 2  # cells that lie in the ball as a whole
    x, y = mm[..., 0], mm[..., 1]
    z = -np.sqrt(np.where(inside, RADIUS_MM**2 - x**2 - y**2, 0.0))
    normals = np.stack([x, y, z], axis=-1) / RADIUS_MM
    a = np.radians(yaw)
    axes = np.array([[np.cos(a), 0, -np.sin(a)], [0, -1, 0], [-np.sin(a), 0, -np.cos(a)]])
    canonical = np.stack([x, y, z], axis=-1) @ axes
    if placement.mirrored:
        canonical[..., 0] *= -1
        normals[..., 0] *= -1
    normals[..., :2] = normals[..., :2] @ rotation.T
    return canonical, normals, inside


@pytest.mark.parametrize(
    "placement",
    [
        Placement(),
        Placement(mirrored=True),
        Placement(turn_deg=20.0),
        Placement(True, -15.0, 1.3, (0.1, -0.05)),
    ],
)
def test_maps_turn_and_mirror_with_the_picture(placement):
    stored = stored_ball(yaw=35.0)
    _, sample = placed(stored, stored.light, placement, padded=True)
    canonical, normals, inside = truth_at_cells(placement, yaw=35.0)
    found = sample.canonical[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found[inside], canonical[inside], atol=4.0)  # a cell is 16 mm wide
    found = sample.normals[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found[inside], normals[inside], atol=0.05)
    assert (sample.canonical_weight[0].numpy()[inside] > 0.99).all()
    turn = np.radians(placement.turn_deg)
    hair = sample.hair_weight[0].numpy() > 0.99
    assert hair.sum() > 15
    strands = sample.strand[0].permute(1, 2, 0).numpy()[hair]
    np.testing.assert_allclose(strands, np.tile([-np.sin(turn), np.cos(turn)], (hair.sum(), 1)), atol=0.02)


def test_the_picture_is_cut_as_its_maps_are():
    stored = stored_ball()
    placement = Placement(True, 30.0, 1.2, (0.08, 0.03))
    picture = np.repeat((stored.parts == HAIR)[..., None], 3, axis=2).astype(np.float32)
    seen, sample = placed(stored, picture, placement, padded=True)
    at_half = torch.nn.functional.avg_pool2d(seen, 2)[0, 0]
    agree = (at_half > 0.5) == (sample.parts[0] == HAIR)
    assert agree.float().mean() > 0.97


def test_beyond_the_portrait_is_either_background_or_not_asked():
    stored = stored_ball()
    far = Placement(scale=0.5)
    _, padded = placed(stored, stored.light, far, padded=True)
    _, carried = placed(stored, stored.light, far, padded=False)
    assert padded.parts[0, 0, 0] == 0 and carried.parts[0, 0, 0] == IGNORED
    assert (padded.parts[0, 16, 16] == SKIN) == (carried.parts[0, 16, 16] == SKIN)


def test_mirrored_twice_is_as_before_and_once_is_the_other_side():
    stored = stored_ball(yaw=50.0)
    twice = mirrored(mirrored(stored))
    for name, value in vars(stored).items():
        np.testing.assert_array_equal(getattr(twice, name), value)
    other = stored_ball(yaw=-50.0)  # the mirrored ball from the mirrored side
    once = mirrored(stored)
    np.testing.assert_allclose(once.canonical, other.canonical, atol=1e-3)
    np.testing.assert_allclose(once.normals, other.normals, atol=1e-5)
    # the sample of a mirrored placement is the sample of the mirrored portrait
    _, a = placed(stored, stored.light, Placement(True, 12.0, 1.1), padded=True)
    _, b = placed(once, once.light, Placement(False, 12.0, 1.1), padded=True)
    for name in ("canonical", "normals", "strand", "parts", "alpha"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), atol=2e-2, rtol=1e-3)


def perfect(batch, size=16):
    """What a network says that knows the truth."""
    parts = (
        torch.nn.functional.one_hot(batch.parts.clamp_min(0), len(PARTS)).permute(0, 3, 1, 2) * 60.0 - 30.0
    )
    return PortraitOutput(
        (batch.alpha - 0.5) * 60, parts, batch.normals, torch.full_like(batch.depth, 100.0), batch.canonical,
        torch.ones_like(batch.canonical), batch.strand, batch.depth,
    )  # fmt: skip


def test_losses_are_least_at_the_truth(data):
    folder = PortraitFolder(data, "val")
    batch = joined([fixed_sample(folder, k) for k in range(3)])
    objective, best = PortraitObjective(), perfect(batch)
    truth = objective.terms(best, batch)
    assert float(truth["parts"]) < 1e-3 and float(truth["strand"]) < 1e-3 and float(truth["depth"]) < 1e-6
    turned = torch.stack([best.strand[:, 1], -best.strand[:, 0]], dim=1)
    worse = {
        "parts": replace(best, parts=-best.parts),
        "alpha": replace(best, alpha=-best.alpha),
        "normals": replace(best, normals=-best.normals),
        "canonical": replace(best, canonical=best.canonical + 30.0),
        "strand": replace(best, strand=turned),
        "depth": replace(best, depth=best.depth + 20.0),
    }
    for name, output in worse.items():
        terms = objective.terms(output, batch)
        assert [key for key in terms if not torch.allclose(terms[key], truth[key])] == [name]
        assert terms[name] > truth[name]
    # a quarter turn is 1 - cos = 1, and 20 mm of depth is one unit
    torch.testing.assert_close(
        objective.terms(worse["strand"], batch)["strand"], torch.tensor(0.5), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        objective.terms(worse["depth"], batch)["depth"], torch.tensor(0.1), atol=1e-3, rtol=0
    )
    assert set(PortraitObjective(strand=0.0).terms(best, batch)) == {
        "parts",
        "alpha",
        "normals",
        "canonical",
        "depth",
    }


class Fixed(PortraitNetwork):
    """A network that says what it is told."""

    def __init__(self, output):
        super().__init__([8], [1], 8)
        self.output = output

    def forward(self, pictures):
        return self.output


def test_errors_are_those_that_were_put_in(data):
    folder = PortraitFolder(data, "val")
    batch = joined([fixed_sample(folder, 0)])
    best = perfect(batch)
    cameras = [folder.camera(0)]
    (found,) = errors_of(Fixed(best), batch, cameras)
    assert found["both"] == found["either"] > 100 and found["confusion"].sum() == 32 * 32
    assert np.trace(found["confusion"]) == 32 * 32
    assert found["values"].pop("pose_deg") < 1.0  # a ball of 16 cells, from the means of cells
    assert max(values.max() for values in found["values"].values()) < 0.1
    about = Rotation.from_rotvec([0.0, np.radians(25.0), 0.0]).as_matrix()
    spun = torch.einsum("ij,bjhw->bihw", torch.from_numpy(about).float(), best.canonical)
    (found,) = errors_of(Fixed(replace(best, canonical=spun)), batch, cameras)
    np.testing.assert_allclose(found["values"]["pose_deg"], 25.0, atol=1.0)
    moved = best.canonical + torch.tensor([3.0, 0.0, 4.0])[None, :, None, None]
    turned = torch.stack([best.strand[:, 1], -best.strand[:, 0]], dim=1)
    (found,) = errors_of(Fixed(replace(best, canonical=moved, strand=turned)), batch, cameras)
    np.testing.assert_allclose(found["values"]["canonical_skin_mm"], 5.0, atol=1e-3)
    np.testing.assert_allclose(found["values"]["canonical_hair_mm"], 5.0, atol=1e-3)
    np.testing.assert_allclose(found["values"]["strand_deg"], 90.0, atol=1e-2)
    parts = best.parts.clone()
    parts[:, [SKIN, HAIR]] = parts[:, [HAIR, SKIN]]
    errors = validate(Fixed(replace(best, parts=parts)), folder, [0])
    assert (
        errors["all"]["skin_iou"] == errors["all"]["hair_iou"] == 0 and errors["all"]["background_iou"] == 1
    )
    assert errors["all"]["alpha_iou"] == 1 and errors["all"]["parts_iou"] == pytest.approx(1 / 3, abs=1e-4)


def test_portraits_belong_to_groups_by_side_family_and_renderer():
    about = {"yaw_deg": -91.0, "held_out": True, "renderer": "plain", "things": ("hat",)}
    assert list(groups_of(about)) == [
        "all",
        "yaw 090-135",
        "family held out",
        "renderer plain",
        "with things",
    ]
    about = {"yaw_deg": 180.0, "held_out": False, "renderer": "full", "things": ()}
    assert list(groups_of(about)) == ["all", "yaw 135-180", "family known", "renderer full", "without things"]


def test_angles_between_directions():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])[..., None, None]
    b = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])[..., None, None]
    torch.testing.assert_close(angle_deg(a, b).flatten(), torch.tensor([0.0, 90.0, 180.0]))


def test_batches_are_functions_of_seed_and_step_however_they_are_shared(data):
    folder = PortraitFolder(data, "train")
    assert len(folder) == 12 and folder.people == 4
    whole = PortraitData(folder, 4, seed=5).draw(3)
    again = PortraitData(folder, 4, seed=5).draw(3)
    torch.testing.assert_close(whole.pictures, again.pictures, atol=0, rtol=0)
    first, second = (PortraitData(folder, 4, seed=5).draw(3, rank, 2) for rank in (0, 1))
    torch.testing.assert_close(whole.pictures[0::2], first.pictures, atol=0, rtol=0)
    torch.testing.assert_close(whole.canonical[1::2], second.canonical, atol=0, rtol=0)
    other = PortraitData(folder, 4, seed=5).draw(4)
    assert not torch.equal(whole.pictures, other.pictures)


def test_photographs_are_pictures_of_what_is_there(data):
    rng = np.random.default_rng(2)
    light = np.full((64, 64, 3), 0.3, np.float32)
    light[:, 32:] = 0.02
    shown = [photographed(light, np.ones((64, 64), bool), rng) for _ in range(60)]
    for picture in shown:
        assert picture.shape == (64, 64, 3) and picture.dtype == np.float32
        assert picture.min() >= 0 and picture.max() <= 1
    brighter = [picture[:, :28].mean() - picture[:, 36:].mean() for picture in shown]
    assert min(brighter) > 0.02
    grey = [np.ptp(picture.mean(axis=(0, 1))) for picture in shown]
    assert len({round(float(picture.mean()), 3) for picture in shown}) > 40 and max(grey) > 0.03
    half = np.full((64, 64), 0.5, np.float32)
    np.testing.assert_allclose(before(light, half, np.ones_like(light))[0, 0], 0.3 + 0.5)
    hair = np.zeros((64, 64), bool)
    hair[:20] = True
    backdrop = rng.random((64, 64, 3), np.float32)
    assert varied_backdrop(backdrop, light, hair, rng).shape == backdrop.shape
    sample = drawn_sample(PortraitFolder(data, "train"), rng)
    assert sample.pictures.shape == (1, 3, 64, 64) and sample.parts.shape == (1, 32, 32)


def trained(folder, data, monkeypatch, *overrides, stop_at=None):
    cfg = composed(data, "max_steps=5", *overrides)
    if stop_at is not None:

        def stopping(self, trainer, module, outputs, batch, number):
            if trainer.global_step == stop_at:
                raise Interruption()

        with monkeypatch.context() as patch:
            patch.setattr(training.PortraitCurve, "on_train_batch_end", stopping)
            with pytest.raises(Interruption):
                training.PortraitTraining("portrait").run(cfg, folder, lambda: None)
    training.PortraitTraining("portrait").run(cfg, folder, lambda: None)
    return load_network(folder / "portrait.safetensors").state_dict()


@pytest.mark.slow
def test_a_resumed_training_ends_with_the_same_network(tmp_path, data, monkeypatch):
    straight = trained(tmp_path / "a", data, monkeypatch)
    resumed = trained(tmp_path / "b", data, monkeypatch, stop_at=3)  # saved at step 2
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    metrics = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert metrics["samples"] == 20 and metrics["unseen"]["all"]["portraits"] == 5
    rows = (tmp_path / "a" / "validation.csv").read_text().splitlines()
    assert rows[0].startswith("step,samples,alpha_iou") and [row.split(",")[0] for row in rows[1:]] == [
        "2",
        "4",
    ]
    assert (tmp_path / "a" / "pictures" / "unseen.png").is_file()
    assert (tmp_path / "a" / "validation.csv").read_text() == (tmp_path / "b" / "validation.csv").read_text()


def test_training_learns_and_follows_its_weights_with_their_average(data):
    torch.manual_seed(0)
    module = PortraitTrainingModule(
        PortraitNetwork([8, 8], [1, 1], 8), PortraitObjective(), 40, learning_rate=1e-2
    )
    batch = joined([fixed_sample(PortraitFolder(data, "train"), k) for k in range(4)])
    (optimizer,), first = [module.configure_optimizers()["optimizer"]], None
    for _ in range(30):
        loss = sum(module.objective.terms(module.network(batch.pictures), batch).values())
        first = first if first is not None else loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.6 * first
    assert module.rate_factor(0) == 0.5 and module.rate_factor(2) == 1.0 and module.rate_factor(40) < 0.02
    assert not any(p.requires_grad for p in module.averaged.parameters())


@pytest.mark.parametrize(
    "override, message",
    [
        ("portrait.blocks=[1]", "expected as many of one as of the other|list"),
        ("trainer.devices=3", "portrait.batch_size=4 cannot be shared evenly among 3 processes"),
        ("portrait.learning_rate=2", "expected a number of at least 0 and at most 1"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_work(data, override, message):
    with pytest.raises(ConfigError, match=message):
        composed(data, override)


def test_folders_without_portraits_are_named(data, tmp_path):
    cfg = composed(tmp_path / "nowhere")
    with pytest.raises(PriorError, match="there is no such folder"):
        training.PortraitTraining("portrait").run(cfg, tmp_path, lambda: None)
    with pytest.raises(SceneError, match=r"train/manifest.json does not exist; headrecon-make-portraits"):
        PortraitFolder(tmp_path, "train")
    cfg = composed(data, "portrait.widths=[8,8,8,8,8,8]", "portrait.blocks=[1,1,1,1,1,1]")
    with pytest.raises(PriorError, match="portraits of 64 pixels, which 128 does not divide"):
        training.PortraitTraining("portrait").run(cfg, tmp_path, lambda: None)


@pytest.mark.slow
def test_the_command_takes_network_portrait(data, tmp_path):
    command = [sys.executable, "scripts/pretrain_prior.py", "network=portrait", f"data={data}", "max_steps=2"]
    command += [each for each in TINY if not each.startswith("pretraining@")]
    done = subprocess.run(
        [*command, f"hydra.run.dir={tmp_path / 'run'}"], cwd=ROOT, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    assert load_network(tmp_path / "run" / "portrait.safetensors").stride == 8
