"""A disk that refuses: what is said, and what is left."""

import errno
import os
import subprocess
import sys

import pytest

from recon.errors import StorageError
from recon.files import replacing
from recon.storage import storage_fault


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "No space left on device (errno 28): free space there ("),
        (errno.EROFS, "Read-only file system (errno 30): choose a folder"),
        (errno.EIO, "Input/output error (errno 5): the disk"),
        (errno.EACCES, "Permission denied (errno 13): choose a folder that you may write to"),
    ],
)
@pytest.mark.parametrize("operation", ["fsync", "replace"])
def test_a_disk_that_refuses_keeps_the_old_file_and_is_one_sentence(
    tmp_path, monkeypatch, number, advice, operation
):
    path = tmp_path / "metrics.json"
    path.write_text("old")

    def refused(*_):
        raise OSError(number, os.strerror(number), "somewhere")

    monkeypatch.setattr(os, operation, refused)
    with pytest.raises(StorageError) as caught, replacing(path) as temporary:
        temporary.write_text("new")
    assert str(caught.value).startswith(f"{path} cannot be written: {advice}")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_errors_of_a_program_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a") as temporary:
        temporary.with_name("missing").read_text()
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a"):
        1 / 0  # noqa: B018
    assert storage_fault(ValueError("no such thing")) is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_cut_short_is_never_there(tmp_path):
    """The kernel itself writes a part and then refuses, whichever library writes."""
    code = """
import resource, sys, numpy as np, torch
from pathlib import Path
from PIL import Image
from safetensors.torch import save_file
from recon.errors import ReconError
from recon.files import replacing, save_picture
from recon.systems.checkpoint import AtomicCheckpointIO

folder = Path(sys.argv[1])
big = {"a": torch.rand(300, 300)}

def weights(path):
    with replacing(path) as temporary:
        save_file(big, temporary)

def table(path):
    with replacing(path) as temporary:
        np.savez(temporary, **{name: value.numpy() for name, value in big.items()})

def picture(path):
    with replacing(path) as temporary:
        save_picture(Image.fromarray((255 * big["a"].numpy()).astype(np.uint8)), temporary)

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
writers = {"x.safetensors": weights, "x.npz": table, "x.png": picture,
           "x.ckpt": lambda path: AtomicCheckpointIO().save_checkpoint(big, path)}
for name, write in writers.items():
    try:
        write(folder / name)
    except ReconError as error:
        print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    lines = result.stdout.splitlines()
    assert len(lines) == 4, result.stderr
    for line, name in zip(lines, ("x.safetensors", "x.npz", "x.png", "x.ckpt"), strict=True):
        assert f"{tmp_path / name} cannot be written: File too large (errno 27)" in line
    assert list(tmp_path.iterdir()) == []
