import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from recon.errors import PriorError, SceneError
from recon.geometry.frames import UNIT_CENTRE_MM, UNIT_RADIUS_MM
from recon.priors.data.dataset import SampleFolder
from recon.synth.body.subject import make_subject
from recon.synth.datasets import sample_files as samples_files
from recon.synth.datasets.sample_files import read_manifest, write_samples
from recon.synth.datasets.samples import SampleCounts, mean_landmarks, sample_subject
from recon.synth.parts import Subject
from tests.support.head_model import ball, needs_model

COUNTS = SampleCounts(surface=2000, near=3000, volume=1000)
MEAN = np.random.default_rng(1).normal(0, 40, (68, 3))


def ball_subject(seed: int = 0, scale: float = 1.0) -> Subject:
    """A ball of 100 mm for a head; its landmarks are the mean ones, scaled like it."""
    truth = trimesh.Trimesh(*ball(100.0 * scale, level=5), process=False)
    return Subject(seed, f"ball-{seed}", (), truth, {}, MEAN * scale, {}, {}, None, {})


@pytest.mark.slow
def test_distances_are_those_of_the_ball_in_the_canonical_frame():
    # a head of 1.25 times the size comes back to 100 mm
    drawn = sample_subject(ball_subject(scale=1.25), mean=MEAN, counts=COUNTS)
    assert np.allclose(drawn.canonical_from_head[:3, :3], np.eye(3) / 1.25, atol=1e-9)
    exact = np.linalg.norm(drawn.points.astype(float), axis=1) - 100
    assert np.abs(drawn.distances - exact).max() < 0.12  # the ball's facets
    assert np.abs(np.linalg.norm(drawn.surface, axis=1) - 100).max() < 0.12
    assert np.einsum("ni,ni->n", drawn.normals, drawn.surface / 100).min() > 0.99
    assert np.allclose(np.linalg.norm(drawn.normals, axis=1), 1, atol=1e-5)


def test_points_are_spread_as_promised():
    drawn = sample_subject(ball_subject(), mean=MEAN, counts=COUNTS)
    close, wide, volume = np.split(drawn.distances, [1500, 3000])
    assert np.std(close) == pytest.approx(2.0, rel=0.1) and np.std(wide) == pytest.approx(12.0, rel=0.1)
    radius = np.linalg.norm(drawn.points[3000:] - np.asarray(UNIT_CENTRE_MM), axis=1) / UNIT_RADIUS_MM
    assert radius.max() <= 1 and np.mean(radius**3) == pytest.approx(0.5, abs=0.03)  # uniform in volume
    assert len(volume) == 1000
    octants = np.bincount((drawn.surface > 0) @ [1, 2, 4], minlength=8)
    assert octants.min() > 200


def test_samples_repeat_and_differ():
    first = sample_subject(ball_subject(), mean=MEAN, counts=COUNTS)
    again = sample_subject(ball_subject(), mean=MEAN, counts=COUNTS)
    assert np.array_equal(first.points, again.points) and np.array_equal(first.distances, again.distances)
    assert not np.array_equal(
        first.points, sample_subject(ball_subject(), mean=MEAN, counts=COUNTS, seed=1).points
    )
    other = sample_subject(replace(ball_subject(), name="other"), mean=MEAN, counts=COUNTS)
    assert not np.array_equal(first.points, other.points)


@pytest.fixture
def balls(monkeypatch):
    """`write_samples` with balls for people."""
    made = []

    def make(seed: int, *, split: str, spacing_mm: float, wide: bool) -> Subject:
        made.append((split, seed))
        return replace(ball_subject(seed), name=f"{split}-wide-{seed}" if wide else f"{split}-{seed}")

    monkeypatch.setattr(samples_files, "make_subject", make)
    monkeypatch.setattr(
        samples_files,
        "sample_subject",
        lambda s, counts, template: sample_subject(s, mean=MEAN, counts=counts),
    )
    return made


def test_shards_are_written_and_read_back(balls, tmp_path):
    path = write_samples(tmp_path, "val", range(5), counts=COUNTS, heads_per_shard=2)
    manifest = json.loads(path.read_text())
    assert [shard["seeds"] for shard in manifest["shards"]] == [[0, 1], [2, 3], [4]]
    shard = tmp_path / "val" / "shard-00001.npz"
    assert manifest["shards"][1]["sha256"] == hashlib.sha256(shard.read_bytes()).hexdigest()
    heads = SampleFolder(tmp_path, "val")
    assert heads.names == [f"val-{seed}" for seed in range(5)]
    fresh = sample_subject(replace(ball_subject(3), name="val-3"), mean=MEAN, counts=COUNTS)
    read = heads.load(1)
    centre, radius = np.asarray(UNIT_CENTRE_MM, np.float32), np.float32(UNIT_RADIUS_MM)
    assert np.array_equal(read.points[1], (fresh.points - centre) / radius)
    assert np.array_equal(read.surface[1], (fresh.surface - centre) / radius)
    assert np.array_equal(read.distances[1], fresh.distances / radius)
    assert np.abs(read.normals[1] - fresh.normals).max() < 1e-3  # kept in half precision
    with np.load(shard) as stored:
        assert np.array_equal(stored["points"][1], fresh.points)
        assert np.array_equal(stored["canonical_from_head"][1], fresh.canonical_from_head)


def test_same_seeds_give_the_same_bytes(balls, tmp_path):
    for name in ("a", "b"):
        write_samples(tmp_path / name, "train", range(2), counts=COUNTS, heads_per_shard=2)
    a, b = (tmp_path / name / "train" for name in ("a", "b"))
    for file in ("shard-00000.npz", "manifest.json"):
        assert (a / file).read_bytes() == (b / file).read_bytes()


def test_writing_goes_on_where_it_stopped(balls, tmp_path):
    write_samples(tmp_path, "train", range(2), counts=COUNTS, heads_per_shard=1)
    balls.clear()
    write_samples(tmp_path, "train", range(4), counts=COUNTS, heads_per_shard=1)
    assert balls == [("train", 2), ("train", 3)]
    (tmp_path / "train" / "shard-00001.npz").unlink()
    balls.clear()
    write_samples(tmp_path, "train", range(4), counts=COUNTS, heads_per_shard=1)
    assert balls == [("train", 1)] and len(SampleFolder(tmp_path, "train").names) == 4


def test_other_settings_do_not_mix(balls, tmp_path):
    write_samples(tmp_path, "train", range(1), counts=COUNTS)
    with pytest.raises(SceneError, match="other settings"):
        write_samples(tmp_path, "train", range(1), counts=SampleCounts(10, 10, 10))
    with pytest.raises(SceneError, match="other settings"):
        write_samples(tmp_path, "train", range(1), counts=COUNTS, wide=0.5)


def test_a_share_of_the_people_is_wider_whatever_the_number_of_heads(balls, tmp_path):
    write_samples(tmp_path, "train", range(20), counts=COUNTS, wide=0.5)
    wide = ["wide" in name for name in SampleFolder(tmp_path, "train").names]
    assert sum(wide) == 10 and 4 <= sum(wide[:10]) <= 6
    assert wide == [samples_files.is_wide(seed, 0.5) for seed in range(20)]
    assert not any(samples_files.is_wide(seed, 0.0) for seed in range(1000))
    assert all(samples_files.is_wide(seed, 1.0) for seed in range(1000))


def test_damage_is_found(balls, tmp_path):
    with pytest.raises(SceneError, match="does not exist"):
        read_manifest(tmp_path, "test")
    write_samples(tmp_path, "test", range(2), counts=COUNTS, heads_per_shard=1)
    shard = tmp_path / "test" / "shard-00001.npz"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(PriorError, match=r"shard-00001\.npz cannot be read"):
        SampleFolder(tmp_path, "test").load(1)
    shard.unlink()
    with pytest.raises(PriorError, match="1 are missing"):
        SampleFolder(tmp_path, "test")


@pytest.mark.slow
@needs_model
def test_heads_meet_in_the_canonical_frame():
    subjects = [make_subject(seed, style="bald", spacing_mm=6.0) for seed in (0, 1)]
    tips = []
    for subject in subjects:
        drawn = sample_subject(subject, counts=SampleCounts(500, 500, 500))
        m = drawn.canonical_from_head
        moved = subject.landmarks68 @ m[:3, :3].T + m[:3, 3]
        assert np.linalg.norm(moved - mean_landmarks(), axis=1).mean() < 6
        tips.append(moved[30])
        assert np.linalg.norm(drawn.surface - np.asarray(UNIT_CENTRE_MM), axis=1).max() < UNIT_RADIUS_MM
        assert 0.01 < (drawn.distances[-500:] < 0).mean() < 0.2
    assert np.linalg.norm(tips[0] - tips[1]) < 12
