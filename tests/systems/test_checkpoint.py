import os
import pickle
import subprocess
import sys
import time

import pytest
import torch

from recon.errors import CheckpointError
from recon.systems.checkpoint import AtomicCheckpointIO, load_checkpoint


def test_round_trip_leaves_nothing_else(tmp_path):
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 3, "weights": torch.arange(4.0)}, path)
    loaded = load_checkpoint(path)
    assert loaded["step"] == 3 and torch.equal(loaded["weights"], torch.arange(4.0))
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_of_a_gpu_can_be_read_where_there_is_none(tmp_path, monkeypatch):
    path, read = tmp_path / "last.ckpt", []
    AtomicCheckpointIO().save_checkpoint({"step": 3}, path)
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: read.append(k["map_location"]) or load(*a, **k))
    AtomicCheckpointIO().load_checkpoint(path)  # as Lightning calls it
    load_checkpoint(path, "meta")
    assert read == ["cpu", "meta"]


def test_a_failed_save_is_loud_and_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    io = AtomicCheckpointIO()
    io.save_checkpoint({"step": 1}, path)

    def full(checkpoint, temporary):
        temporary.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="No space left"):
        io.save_checkpoint({"step": 2}, path)
    assert load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


WRITER = """
import sys, torch
from pathlib import Path
from recon.systems.checkpoint import AtomicCheckpointIO
io = AtomicCheckpointIO()
step = 0
while True:
    step += 1
    io.save_checkpoint({"step": step, "weights": torch.full((200_000,), float(step))}, Path(sys.argv[1]))
    print(step, flush=True)
"""


@pytest.mark.slow
def test_kill_while_saving_never_breaks_the_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    for _ in range(2):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": "."},
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.03 + 0.1 * torch.rand(1).item())
        writer.kill()
        writer.wait()
        loaded = load_checkpoint(path)
        assert (loaded["weights"] == loaded["step"]).all()


class Evil:
    def __reduce__(self):
        return (os.system, ("touch /tmp/headrecon-was-owned",))


def test_a_pickle_bomb_is_refused(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save({"weights": Evil()}, path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(path)
    assert not os.path.exists("/tmp/headrecon-was-owned")


def test_a_missing_checkpoint_says_what_resume_takes(tmp_path):
    with pytest.raises(CheckpointError, match="folder of a run"):
        load_checkpoint(tmp_path / "last.ckpt")
