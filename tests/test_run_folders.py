"""A run folder belongs to one process at a time, and a refused run leaves and removes nothing."""

import errno
import io
import json
import logging
import os
import platform
import subprocess
import sys
from contextlib import contextmanager

import pytest

from recon.commands.making import make_samples, make_scenes
from recon.errors import ConfigError
from recon.files import machine
from recon.run_folders import CLAIM, OWNER, RunLog, claimed, discard_if_empty, note_missing, occupied
from tests.support.runs import composed

HOLD = (
    "import sys; from pathlib import Path; from recon.run_folders import claimed\n"
    "with claimed(Path(sys.argv[1])) as folder: print(folder, flush=True); sys.stdin.read()"
)


@contextmanager
def another_process(folder):
    """Another process that has claimed a folder, and the folder that it was given."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait()


@contextmanager
def logged(path):
    """A log as Hydra opens it in the folder of a run."""
    handler = RunLog(str(path))
    logging.getLogger().addHandler(handler)
    try:
        yield handler
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def claim_of(**changed):
    own = {
        "host": platform.node(),
        "pid": os.getpid(),
        "started": "2026-11-30T01:02:03",
        "machine": machine(),
    }
    return json.dumps(own | changed)


def test_a_log_that_cannot_be_written_is_said_once_and_without_a_traceback(tmp_path, capsys):
    handler = RunLog(str(tmp_path / "train.log"))
    handler.stream.close()

    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    handler.stream = Full()
    for number in range(3):
        handler.handle(logging.makeLogRecord({"msg": f"step {number}", "levelno": logging.INFO}))
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith(
        f"{tmp_path / 'train.log'} cannot be written: No space left"
    )


def test_two_runs_of_one_second_get_folders_and_logs_of_their_own(tmp_path, caplog):
    folder = tmp_path / "10-00-00-demo"
    folder.mkdir()
    with logged(folder / "train.log") as first, claimed(folder) as one:
        logging.getLogger().removeHandler(first)  # the second run is another process, with a log of its own
        with logged(folder / "train.log"), claimed(folder) as two:
            logging.getLogger().warning("of the second")
        with claimed(folder) as three:
            pass
        assert [path.name for path in (one, two, three)] == [
            folder.name,
            f"{folder.name}-2",
            f"{folder.name}-3",
        ]
    assert "belongs to another run" in caplog.text
    assert (folder / "train.log").read_text() == "" and "of the second" in (two / "train.log").read_text()


def test_a_folder_of_a_finished_run_is_never_the_other_name(tmp_path):
    (tmp_path / "run-2").mkdir()
    (tmp_path / "run-2/metrics.json").write_text("{}")
    with claimed(tmp_path / "run"), claimed(tmp_path / "run") as other:
        assert other.name == "run-3"


def test_processes_that_start_together_share_no_folder(tmp_path):
    with another_process(tmp_path / "run") as (_, one), another_process(tmp_path / "run") as (_, two):
        assert {one, two} == {str(tmp_path / "run"), str(tmp_path / "run-2")}
    with claimed(tmp_path / "run") as again:  # claims end with their runs
        assert again == tmp_path / "run"
    assert not (tmp_path / "run" / CLAIM).exists()


def test_a_second_resume_is_refused_with_who_has_the_folder(tmp_path):
    with another_process(tmp_path) as (process, _):
        with pytest.raises(
            ConfigError, match=rf"at work: process {process.pid} on .* since \d{{4}}-"
        ) as caught:
            with claimed(tmp_path, resumed=True):
                pass
        assert CLAIM in str(caught.value) and "\n" not in str(caught.value)
    with claimed(tmp_path, resumed=True) as folder:
        assert folder == tmp_path


def test_a_claim_of_a_killed_process_is_taken_over_and_said(tmp_path, caplog):
    with another_process(tmp_path) as (process, _):
        process.kill()
        process.wait()
    assert (tmp_path / CLAIM).exists()
    with claimed(tmp_path, resumed=True):
        assert f"process {process.pid}" in caplog.text and "is gone" in caplog.text
        assert json.loads((tmp_path / CLAIM).read_text())["pid"] == os.getpid()
    assert not (tmp_path / CLAIM).exists()


def test_a_claim_of_another_host_is_explained_not_taken(tmp_path):
    (tmp_path / CLAIM).write_text(claim_of(host="elsewhere", machine="00000000", pid=7))
    with pytest.raises(ConfigError, match=r"process 7 on elsewhere, since 2026-11-30.*remove"):
        with claimed(tmp_path, resumed=True):
            pass
    assert "elsewhere" in (tmp_path / CLAIM).read_text()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 3}', "before a reboot"])
def test_an_empty_or_damaged_claim_or_one_of_before_a_reboot_holds_nobody_up(tmp_path, content):
    (tmp_path / CLAIM).write_text(claim_of(machine="00000000") if content == "before a reboot" else content)
    with claimed(tmp_path, resumed=True) as folder:
        assert folder == tmp_path


def test_stale_temporary_files_are_gone_after_the_next_start(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/.last.tmp-00000000-1-0123abcd.ckpt").write_text("half")
    (tmp_path / ".metrics.tmp-77.json").write_text("half")
    (tmp_path / "checkpoints/last.ckpt").write_text("whole")
    with claimed(tmp_path, resumed=True):
        assert sorted(path.name for path in tmp_path.rglob("*")) == [CLAIM, "checkpoints", "last.ckpt"]


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="expected the folder of a run"):
        with claimed(tmp_path / "run"):
            pass


@pytest.mark.parametrize("there", ["", "day", "day/run"])
def test_a_refused_run_removes_what_it_made_and_nothing_else(tmp_path, there):
    (tmp_path / there).mkdir(parents=True, exist_ok=True)
    folder = tmp_path / "day/run"
    before = sorted(tmp_path.rglob("*"))
    note_missing(folder)  # then Hydra makes it and opens the log
    folder.mkdir(parents=True, exist_ok=True)
    with logged(folder / "train.log"):
        with pytest.raises(ConfigError), claimed(folder) as mine:
            raise ConfigError("no")
        discard_if_empty(mine)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_log_that_was_there_stays_with_all_that_it_says(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "train.log").write_text("of a run before\n")
    note_missing(folder)
    with logged(folder / "train.log"):
        with claimed(folder):
            pass
        discard_if_empty(folder)
    assert (folder / "train.log").read_text() == "of a run before\n"


def test_a_folder_with_anything_else_stays(tmp_path):
    folder = tmp_path / "run"
    note_missing(folder)
    folder.mkdir()
    (folder / "notes.txt").write_text("x")
    with logged(folder / "train.log"):
        discard_if_empty(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "train.log"]


def test_a_folder_that_another_run_has_claimed_stays(tmp_path):
    folder = tmp_path / "run"
    note_missing(folder)
    with another_process(folder), logged(folder / "train.log"):
        discard_if_empty(folder)
        assert sorted(path.name for path in folder.iterdir()) == [CLAIM, "train.log"]


@pytest.mark.parametrize("name", [CLAIM, "metrics.csv", "checkpoints", "checkpoints/last.ckpt"])
def test_a_strangers_folder_cannot_have_a_resumed_run_write_elsewhere(tmp_path, name):
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    (folder / name).parent.mkdir(parents=True)
    if name == "checkpoints":
        elsewhere.mkdir()
    else:
        elsewhere.write_text("precious")
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(ConfigError, match=f"{name} is a link to .*elsewhere"), claimed(folder, resumed=True):
        raise AssertionError("claimed")
    assert elsewhere.is_dir() or elsewhere.read_text() == "precious"


def linked(tmp_path):
    """A run folder whose checkpoints lie on another disk."""
    folder, disk = tmp_path / "run", tmp_path / "disk"
    folder.mkdir()
    disk.mkdir()
    (folder / "checkpoints").symlink_to(disk)
    return folder, disk


def test_a_run_that_started_with_a_link_to_another_disk_is_resumed_with_it(tmp_path):
    folder, disk = linked(tmp_path)
    with claimed(folder):
        (folder / "checkpoints/last.ckpt").write_text("weights")
    for _ in range(2):
        with claimed(folder, resumed=True) as found:
            assert (found / "checkpoints/last.ckpt").read_text() == "weights"
    (tmp_path / "stranger").mkdir()  # whose link leads to the disk of another run
    (tmp_path / "stranger/checkpoints").symlink_to(disk)
    for resumes, said in ((True, "is a link to"), (False, "belongs to the run .*run:")):
        with pytest.raises(ConfigError, match=said), claimed(tmp_path / "stranger", resumed=resumes):
            raise AssertionError("claimed")


def test_a_link_that_was_made_later_is_explained_and_then_followed(tmp_path):
    folder, disk = linked(tmp_path)
    with pytest.raises(ConfigError, match=r"the link is yours, the line (.+) into (.+)$") as refused:
        with claimed(folder, resumed=True):
            raise AssertionError("claimed")
    line, place = str(refused.value).partition("the line ")[2].split(" into ")
    assert place == str(disk / OWNER)
    (disk / OWNER).write_text(line + "\n")
    with claimed(folder, resumed=True) as found:
        assert found == folder


def test_a_link_within_a_run_folder_is_no_reason_to_refuse_it(tmp_path):
    (tmp_path / "kept.ckpt").write_text("weights")
    (tmp_path / "last.ckpt").symlink_to("kept.ckpt")
    with claimed(tmp_path, resumed=True) as folder:
        assert folder == tmp_path


def test_a_log_is_never_written_through_a_link_out_of_the_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "profile").write_text("precious")
    (tmp_path / "run/train.log").symlink_to(tmp_path / "profile")
    with pytest.raises(ConfigError, match=r"train\.log is a link to .*profile"):
        RunLog(str(tmp_path / "run/train.log"))
    assert (tmp_path / "profile").read_text() == "precious"


@pytest.mark.parametrize("name", [CLAIM, "train.log"])
def test_a_pipe_in_place_of_a_file_is_named_instead_of_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ConfigError, match=f"{name} is neither a file nor a folder"):
        RunLog(str(tmp_path / name)) if name == "train.log" else claimed(tmp_path).__enter__()


@pytest.mark.parametrize(
    ("command", "place", "options"),
    [
        (make_samples, "data/train", ["split=train", "n=1", "workers=1"]),
        (make_scenes, "data", ["split=train", "n=1", "workers=1", "style=null"]),
    ],
)
def test_two_commands_never_make_data_in_one_folder_at_once(tmp_path, monkeypatch, command, place, options):
    def unwanted(*_, **__):
        raise AssertionError("data was made")

    monkeypatch.setattr(make_samples, "write_samples", unwanted)
    monkeypatch.setattr(make_scenes.batch, "make_scenes", unwanted)
    monkeypatch.setattr(make_scenes.batch, "split_recipes", lambda *_, **__: [])  # it needs the head model
    name = command.__name__.rpartition(".")[2]
    cfg = composed(f"out={tmp_path / 'data'}", *options, name=name)
    with another_process(tmp_path / place) as (process, _):
        with pytest.raises(
            ConfigError, match=rf"{place}: another command writes to it: process {process.pid} on"
        ):
            command.run(cfg)
    with pytest.raises(AssertionError, match="data was made"):
        command.run(cfg)
    assert not (tmp_path / place / CLAIM).exists()


def test_a_folder_of_data_is_free_again_after_a_kill_and_keeps_its_links(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/elsewhere").symlink_to(tmp_path)  # scenes that lie on another disk
    with another_process(tmp_path / "data") as (process, _):
        process.kill()
        process.wait()
        with occupied(tmp_path / "data"):
            assert json.loads((tmp_path / "data" / CLAIM).read_text())["pid"] == os.getpid()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["elsewhere"]
