import os
import subprocess
import sys
import threading

import pytest

from recon import files
from recon.files import is_temporary, machine, remove_stale, replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def gone():
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "a.json"
    with replacing(path) as one, replacing(path) as two:
        assert one != two and one.suffix == ".json" and is_temporary(one)
        one.write_text("one")
        two.write_text("two")
    assert path.read_text() == "one" and names(tmp_path) == ["a.json"]


def test_names_tell_machine_and_process_apart(tmp_path, monkeypatch):
    found = set()
    for host in ("aaaaaaaa", "bbbbbbbb"):  # two containers, in which both writers are process 1
        monkeypatch.setattr(files, "machine", lambda host=host: host)
        monkeypatch.setattr(files.secrets, "token_hex", lambda n: "0" * 2 * n)
        with replacing(tmp_path / "a.txt") as path:
            path.write_text("")
            found.add(path)
    assert len(found) == 2


def test_threads_of_one_process_do_not_meet(tmp_path):
    def write(text):
        for _ in range(20):
            with replacing(tmp_path / "a") as path:
                path.write_text(text * 1000)

    threads = [threading.Thread(target=write, args=(text,)) for text in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_text() in ("a" * 1000, "b" * 1000) and names(tmp_path) == ["a"]


def test_files_of_killed_processes_go_at_the_next_start_and_others_stay(tmp_path, gone):
    here, dead = machine(), gone
    old_style, foreign = ".last.tmp-4711.ckpt", f".last.tmp-00000000-{dead}-0123abcd.ckpt"
    mine = f".last.tmp-{here}-{os.getpid()}-0123abcd.ckpt"
    stale = f".last.tmp-{here}-{dead}-0123abcd.ckpt"
    for name in (old_style, foreign, mine, stale, "last.ckpt", ".tmp-3", "x.tmp-12"):
        (tmp_path / name).write_text("x")
    with replacing(tmp_path / "new.txt") as path:
        path.write_text("")
    assert set(names(tmp_path)) == {"last.ckpt", "new.txt", ".tmp-3", "x.tmp-12", old_style, foreign, mine}
    day_ago = (tmp_path / foreign).stat().st_mtime - files.STALE_S - 1
    os.utime(tmp_path / foreign, (day_ago, day_ago))
    assert [path.name for path in remove_stale(tmp_path)] == [foreign]
    assert {path.name for path in remove_stale(tmp_path, every=True)} == {old_style, mine}
    assert names(tmp_path) == [".tmp-3", "last.ckpt", "new.txt", "x.tmp-12"]


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import os, sys; from pathlib import Path; from recon.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as path: path.write_text('half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert path.read_text() == "old" and len(names(tmp_path)) == 2
    assert len(remove_stale(tmp_path)) == 1 and names(tmp_path) == ["a.txt"]


def test_processes_are_running_or_not(gone):
    assert files.running(os.getpid()) and not files.running(gone)


def test_a_user_without_a_home_has_a_cache_that_nobody_else_can_write_to(tmp_path, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(files.Path, "home", homeless)
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    own = tmp_path / f"headrecon-{os.getuid()}"
    try:
        files._own_temporary_folder.cache_clear()
        assert files.cache_folder() == own and own.stat().st_mode & 0o777 == 0o700
        files._own_temporary_folder.cache_clear()
        own.chmod(0o777)  # another may have put something there
        other = files.cache_folder()
        assert other != own and other.parent == tmp_path and other.stat().st_mode & 0o777 == 0o700
    finally:
        files._own_temporary_folder.cache_clear()
