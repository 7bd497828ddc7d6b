"""Workers end with the process that started them, and what they were still to do is dropped."""

import os
import signal
import subprocess
import sys
import time

import pytest

from recon.errors import ReconError
from recon.processes import in_processes

PROGRAM = """
import os, sys, time
from pathlib import Path
from recon.commands.command_line import exit_codes, interrupt_on_signals
from recon.processes import in_processes
import logging

def work(job):
    (Path(sys.argv[1]) / f"{job}-{os.getpid()}").touch()
    time.sleep(0.05 if job == 0 else 60)
    return job

if __name__ == "__main__":
    interrupt_on_signals()
    with exit_codes(logging.getLogger("program")):
        for job in in_processes(work, list(range(50)), 2):
            print(job, flush=True)
"""
STARTER = """
import os, subprocess, sys
from recon.processes import tell_starter
subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], env=tell_starter(dict(os.environ)))
sys.stdin.read()
"""
COMMAND = """
import sys, time
from pathlib import Path
from recon.commands.command_line import code_of, interrupt_on_signals
from recon.processes import stop_with_starter

interrupt_on_signals()
stop_with_starter()
try:
    print("begun", flush=True)
    time.sleep(60)
except KeyboardInterrupt as stop:
    Path(sys.argv[1]).write_text(str(code_of(stop)))
"""


def _alive(number):
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_workers_end_with_the_process_that_started_them(tmp_path, number, code):
    program, begun = tmp_path / "program.py", tmp_path / "begun"
    program.write_text(PROGRAM)
    begun.mkdir()
    parent = subprocess.Popen([sys.executable, program, begun], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdout.readline() == "0\n"
    parent.send_signal(number)
    assert parent.wait(timeout=60) == code
    workers = {int(path.name.split("-")[1]) for path in begun.iterdir()}
    assert 1 <= len(workers) <= 2
    deadline = time.monotonic() + 60
    while any(map(_alive, workers)):
        assert time.monotonic() < deadline, "workers outlive the process that started them"
        time.sleep(0.05)
    assert len(list(begun.iterdir())) <= 4  # nothing new was begun


def test_a_worker_that_is_killed_is_an_error_that_says_so():
    with pytest.raises(ReconError, match="worker processes was killed"):
        list(in_processes(_die, [1, 2, 3], 2))


def _die(job):
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_and_errors_come_from_here_and_from_workers():
    assert sorted(in_processes(abs, [-3, 1, -2], 2)) == sorted(in_processes(abs, [-3, 1, -2], 1)) == [1, 2, 3]
    for workers in (1, 2):
        with pytest.raises(ValueError, match="invalid literal"):
            list(in_processes(int, ["1", "x"], workers))


def test_a_command_that_a_benchmark_started_stops_in_order_when_that_is_killed(tmp_path):
    said = tmp_path / "code"
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, COMMAND, said],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None and starter.stdout.readline() == "begun\n"
    starter.kill()
    starter.communicate(timeout=60)  # until the command, which has the other end too, is gone
    assert said.read_text() == "143"


DEAF = """
import signal, time
from recon.processes import stop_with_starter

signal.signal(signal.SIGTERM, lambda *_: None)  # as a process that waits for the first one in a library of C
stop_with_starter()
print("begun", flush=True)
time.sleep(60)
"""


def test_a_second_process_of_a_training_ends_at_once_with_the_first(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, DEAF, ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None and starter.stdout.readline() == "begun\n"
    starter.kill()
    starter.communicate(timeout=30)  # half of what it would sleep; raises while the second is there
