import errno
import hashlib
import os
import shutil
import sys
import zipfile

import numpy as np
import pytest

from recon.errors import SceneError
from recon.scene.h3ds import H3DS, download, unpack
from recon.scene.h3ds.unpack import WrongPasswordError
from tests.support.scenes import make_h3ds
from tests.support.zips import write_zip

TOKEN = "open sesame"
FILES = {
    "version.txt": b"0.2\n",
    "scene/full_head.obj": b"v 0 0 0\n" * 5000,
    "scene/image/img_0000.jpg": bytes(np.random.default_rng(0).integers(0, 256, 70_000, dtype=np.uint8)),
}


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("options", [{}, {"late_sizes": True}, {"stored": True}, {"password": None}])
def test_archives_unpack_to_their_bytes(tmp_path, options):
    write_zip(tmp_path / "a.zip", FILES, **options)
    unpack.unpack(tmp_path / "a.zip", tmp_path / "out", TOKEN)
    assert tree(tmp_path / "out") == sorted(FILES)
    for name, content in FILES.items():
        assert (tmp_path / "out" / name).read_bytes() == content


def test_the_archives_of_these_tests_are_what_the_standard_library_reads(tmp_path):
    write_zip(tmp_path / "a.zip", FILES, late_sizes=True)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.read("scene/full_head.obj", pwd=TOKEN.encode()) == FILES["scene/full_head.obj"]


def test_a_plain_archive_of_the_standard_library_unpacks(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("scene")
        for name, content in FILES.items():
            archive.writestr(name, content)
    unpack.unpack(tmp_path / "a.zip", tmp_path / "out", TOKEN)
    assert tree(tmp_path / "out") == sorted(FILES)


def test_every_wrong_password_is_found_out(tmp_path):
    write_zip(tmp_path / "a.zip", {"a.txt": b"hello" * 50})
    for number in range(600):  # one in 256 passes the check byte
        with pytest.raises(WrongPasswordError):
            unpack.unpack(tmp_path / "a.zip", tmp_path / "out", f"wrong {number}")
        assert tree(tmp_path / "out") == []


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


def flip(path):
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") // 2] ^= 255
    path.write_bytes(bytes(data))


UNSAFE = {
    "parent": ({"../evil.txt": b"x"}, {}, "unsafe name"),
    "inner parent": ({"a/../../evil.txt": b"x"}, {}, "unsafe name"),
    "absolute": ({"/tmp/evil.txt": b"x"}, {}, "unsafe name"),
    "drive": ({"C:/evil.txt": b"x"}, {}, "unsafe name"),
    "backslash": ({"..\\evil.txt": b"x"}, {}, "unsafe name"),
    "link": ({"a": b"/etc/passwd"}, {"links": ("a",)}, "link or device"),
    "twice": ({"a": b"x", "./a": b"y"}, {}, "twice"),
    "aes": ({"a": b"x"}, {"method": 99}, "7z"),
    "smaller than it is": ({"a": b"x" * 5_000_000}, {"claim": {"a": 10}, "password": None}, "wrong size"),
    "larger than it is": ({"a": b"x"}, {"claim": {"a": 10}, "password": None}, "wrong size"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_archives_are_refused_whole(tmp_path, name):
    files, options, words = UNSAFE[name]
    write_zip(tmp_path / "a.zip", {"version.txt": b"0.2\n"} | files, **options)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    with pytest.raises(SceneError, match=words):
        unpack.unpack(tmp_path / "a.zip", tmp_path / "out", TOKEN)
    assert tree(tmp_path) == ["a.zip", "out/mine.txt"]


@pytest.mark.parametrize("damage", [cut, flip])
def test_broken_archives_leave_nothing(tmp_path, damage):
    write_zip(tmp_path / "a.zip", FILES, password=None)
    damage(tmp_path / "a.zip")
    with pytest.raises(SceneError, match="not a sound zip archive"):
        unpack.unpack(tmp_path / "a.zip", tmp_path / "out", TOKEN)
    assert tree(tmp_path) == ["a.zip"]


@pytest.mark.parametrize(
    ("limits", "words"), [({"max_bytes": 1000}, "unpacks to"), ({"max_files": 2}, "3 members")]
)
def test_caps(tmp_path, limits, words):
    write_zip(tmp_path / "a.zip", FILES)
    with pytest.raises(SceneError, match=words):
        unpack.unpack(tmp_path / "a.zip", tmp_path / "out", TOKEN, **limits)
    assert tree(tmp_path) == ["a.zip"]


def test_too_little_room_is_seen_before_anything_is_written(tmp_path, monkeypatch):
    write_zip(tmp_path / "a.zip", FILES)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(unpack.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(SceneError, match=r"0\.00 GB are free: make room"):
        unpack.unpack(tmp_path / "a.zip", tmp_path / "out", TOKEN)


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, monkeypatch):
    write_zip(tmp_path / "a.zip", FILES)
    monkeypatch.setattr(unpack, "_write_member", fill_up)
    with pytest.raises(SceneError, match="is full: make room"):
        unpack.unpack(tmp_path / "a.zip", tmp_path / "out", TOKEN)
    assert tree(tmp_path) == ["a.zip"]


def fill_up(stream, member, folder, password, bar):
    (folder / "half").write_bytes(b"half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def release(tmp_path, monkeypatch):
    """A release of one scene, served by a stand-in for Google Drive."""
    make_h3ds(tmp_path / "made", "1b2a8613401e42a8", version="0.2")
    made = tmp_path / "made"
    files = {name: (made / name).read_bytes() for name in tree(made) if name != "config.toml"}
    served = tmp_path / "served.zip"
    write_zip(served, files)
    digest = hashlib.md5(served.read_bytes()).hexdigest()
    description = tmp_path / "release.toml"
    description.write_text(
        f'version = 0.2\nfile_id = "the-id"\nfile_md5 = "{digest}"\n[scenes.1b2a8613401e42a8]\nviews = 5\n'
    )

    class Release:
        calls = 0
        root = tmp_path / "h3ds"
        names = tuple(sorted(files))

        @staticmethod
        def write(output):
            shutil.copy(served, output)

        @classmethod
        def dataset(cls):
            return H3DS(cls.root, config_path=description)

    def fetch(file_id, output):
        assert file_id == "the-id"
        Release.calls += 1
        Release.write(output)

    monkeypatch.setattr(download, "fetch", fetch)
    return Release


def test_download_makes_the_data_set_available(release):
    dataset = release.dataset()
    assert not dataset.is_available()
    dataset.download(TOKEN)
    assert dataset.is_available()
    assert tree(release.root) == list(release.names)
    dataset.download(TOKEN)
    assert release.calls == 1
    dataset.download(token=TOKEN, force=True)
    assert release.calls == 2
    assert tree(release.root) == list(release.names)


def test_a_wrong_token_keeps_the_verified_archive_for_the_right_one(release):
    dataset = release.dataset()
    with pytest.raises(SceneError, match=r"token does not open the archive.*own token"):
        dataset.download("wrong")
    assert tree(release.root) == [".download/h3ds_0.2.zip"]
    dataset.download(TOKEN)
    assert release.calls == 1
    assert tree(release.root) == list(release.names)


def test_a_broken_download_is_removed(release):
    release.write = lambda output: output.write_bytes(b"<html>quota exceeded</html>")
    with pytest.raises(SceneError, match=r"27 bytes.*expected .*removed"):
        release.dataset().download(TOKEN)
    assert not release.root.exists()


def test_a_partial_copy_is_completed_and_own_files_are_kept(release):
    folder = release.root / "1b2a8613401e42a8" / "image"
    folder.mkdir(parents=True)
    (folder / "img_0000.jpg").write_bytes(b"old")
    (release.root / "notes.txt").write_text("mine")
    release.dataset().download(TOKEN)
    assert tree(release.root) == sorted([*release.names, "notes.txt"])
    assert (folder / "img_0000.jpg").read_bytes() != b"old"


def test_an_interrupted_download_keeps_its_part(release):
    def stop(output):
        output.write_bytes(b"first half")
        raise ConnectionError("cable pulled")

    release.write = stop
    with pytest.raises(SceneError, match=r"cable pulled.*call download again to go on.*drive\.google\.com"):
        release.dataset().download(TOKEN)
    assert tree(release.root) == [".download/h3ds_0.2.part"]


def test_a_disk_that_fills_up_during_the_download(release):
    def fill(output):
        output.write_bytes(b"first half")
        output.with_name(output.name + "xyz.part").write_bytes(b"of gdown")
        raise OSError(errno.ENOSPC, "No space left on device")

    release.write = fill
    with pytest.raises(SceneError, match="is full: make room"):
        release.dataset().download(TOKEN)
    assert not release.root.exists()


def test_a_refusal_of_google_drive(release):
    def refuse(output):
        raise RuntimeError("too many users have viewed this file")

    release.write = refuse
    with pytest.raises(SceneError, match=r"refused.*too many users.*put it at"):
        release.dataset().download(TOKEN)
    assert not release.root.exists()


def test_an_archive_put_there_by_hand_is_taken(release):
    (release.root / ".download").mkdir(parents=True)
    release.write(release.root / ".download" / "h3ds_0.2.zip")
    (release.root / ".download" / "unpack-of-a-killed-run").mkdir()
    release.dataset().download(TOKEN)
    assert release.calls == 0
    assert tree(release.root) == list(release.names)


def test_without_gdown_the_message_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(SceneError, match="pip install 'gdown>=5'"):
        H3DS(tmp_path / "h3ds").download("token")
    assert not (tmp_path / "h3ds").exists()


def test_generated_roots_and_empty_tokens(tmp_path):
    make_h3ds(tmp_path)
    with pytest.raises(SceneError, match="no download"):
        H3DS(tmp_path).download("token", force=True)
    with pytest.raises(SceneError, match="access token is needed"):
        H3DS(tmp_path / "other").download("")


def test_gdown_is_called_to_resume(tmp_path, monkeypatch):
    class Fake:
        @staticmethod
        def download(**arguments):
            Fake.arguments = arguments

    monkeypatch.setitem(sys.modules, "gdown", Fake)
    download.fetch("abc", tmp_path / "x.part")
    assert Fake.arguments == {"id": "abc", "output": str(tmp_path / "x.part"), "quiet": False, "resume": True}


def test_archives_in_one_folder_unpack_without_it(tmp_path):
    write_zip(tmp_path / "a.zip", {f"h3ds_v0.2/{name}": content for name, content in FILES.items()})
    unpack.unpack(tmp_path / "a.zip", tmp_path / "out", TOKEN)
    assert tree(tmp_path / "out") == sorted(FILES)
