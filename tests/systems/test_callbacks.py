"""What happens around training steps decides nothing: a damaged table or an early error leaves the run as it is."""

import logging
import signal
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl

from recon.errors import CheckpointError
from recon.systems import run, stages
from recon.systems.callbacks import CurveFile, LastCheckpoint, Progress, read_rows
from tests.support import ellipsoid
from tests.support.runs import TINY, configured, resumed, trained

HEADER = "step,loss,train_s\n"


def table(folder, content):
    path = folder / "metrics.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "steps"),
    [
        (HEADER + "2,0.5,1.0\n4,0.4,2.0\n", ["2", "4"]),
        (HEADER + "2,0.5,1.0\n4,0.4", ["2"]),  # cut
        (HEADER + "2,0.5,1.0\n4,0.4\n", ["2"]),
        (HEADER + "2,0.5,1.0\n4,0.4,2.0,7\n", ["2"]),
        (HEADER + "2,0.5,1.0\n\0\0\0\0\n", ["2"]),
        (HEADER.encode() + b"2,0.5,1.0\n\xff\xfe,1,2\n4,,nan\n", ["2", "4"]),
        (HEADER + "two,0.5,1.0\n4,0.4,soon\n", []),
        ("\0\0\0\0", []),
        ("", []),
        ("loss\n3\n", []),
        (HEADER + "2,0.5,1.0\n8,0.1,4.0\n", ["2"]),  # later than the checkpoint
    ],
)
def test_damaged_rows_are_left_out(tmp_path, content, steps):
    assert [row["step"] for row in read_rows(table(tmp_path, content), 5)] == steps


def test_a_sound_table_is_read_without_a_warning_and_a_damaged_one_is_named(tmp_path, caplog):
    read_rows(table(tmp_path, HEADER + "2,0.5,1.0\n"), 5)
    read_rows(tmp_path / "none.csv", 5)
    assert caplog.text == ""
    read_rows(table(tmp_path, HEADER + "2,0.5,1.0\n4,0"), 5)
    assert "metrics.csv" in caplog.text and "1 damaged" in caplog.text


MODULE = Mock(spec=pl.LightningModule)


def trainer_at(step):
    """A trainer that has done so many of 100 steps."""
    trainer = Mock(spec=pl.Trainer)
    trainer.global_step, trainer.max_steps, trainer.is_global_zero = step, 100, True
    trainer.callback_metrics = {"loss": 1.0}
    trainer.optimizers = [SimpleNamespace(param_groups=[{"lr": 0.1}])]
    return trainer


def test_time_in_the_table_goes_on_from_the_checkpoint_not_from_the_last_row(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr("recon.systems.callbacks.time.monotonic", lambda: now)
    saved = {"train_s": 0.0}

    def train(first, last):
        nonlocal now
        checkpoint = LastCheckpoint(tmp_path / "last.ckpt", every=6)
        checkpoint.load_state_dict(saved)
        curve = CurveFile(tmp_path / "metrics.csv", 4, checkpoint.seconds)
        for callback in (curve, checkpoint):
            callback.on_train_start(trainer_at(first), MODULE)
        for step in range(first + 1, last + 1):  # a second each; a row at 4, a checkpoint at 6
            now += 1.0
            for callback in (curve, checkpoint):
                callback.on_train_batch_end(trainer_at(step), MODULE, None, None, 0)
        checkpoint.on_train_end(trainer_at(last), MODULE)
        return checkpoint

    saved = train(0, 6).state_dict()
    now = 5000.0
    assert train(6, 8).train_s == 8.0
    rows = read_rows(tmp_path / "metrics.csv", 100)
    assert [(row["step"], float(row["train_s"])) for row in rows] == [("4", 4.0), ("8", 8.0)]


def test_an_error_before_training_starts_is_not_hidden(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    for callback in (LastCheckpoint(tmp_path / "a", 3), Progress(3), CurveFile(tmp_path / "b", 3, float)):
        callback.on_exception(trainer_at(0), MODULE, CheckpointError("why"))
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory):
    return ellipsoid.write_idr_scene(tmp_path_factory.mktemp("scenes") / "ellipsoid", 4)


@pytest.mark.slow
def test_an_unreadable_checkpoint_is_what_the_error_says(scene_folder, tmp_path):
    cfg, folder = configured(scene_folder, tmp_path, *TINY)
    run.record(cfg, [], folder)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints/last.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        resumed(folder)


@pytest.mark.slow
def test_a_damaged_table_does_not_keep_a_run_from_being_resumed(scene_folder, tmp_path, caplog):
    task, finished = trained(scene_folder, tmp_path, *TINY)
    assert finished
    with (tmp_path / "metrics.csv").open("ab") as file:
        file.write(b"\x00\xff10,0.")
    with caplog.at_level(logging.WARNING):
        task, finished = resumed(tmp_path)
    assert finished and task.system.steps == 8 and isinstance(task, stages.Run)
