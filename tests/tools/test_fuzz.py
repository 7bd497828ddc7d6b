"""The fuzzer finds what it is to find, files that once failed are read or refused by name, and all parsers hold."""

import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from recon.errors import SceneError
from tools.fuzzing import PARSERS, Parser, fuzz
from tools.fuzzing.campaign import file_of, read_one

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests/support/data/fuzz_corpus.zip"
"""Files by which parsers ended in foreign exceptions, or took too long or too much memory, once; members
are <parser>/<number>."""
KNOWN = {parser.name: parser for parser in PARSERS}


def made(folder):
    (folder / "a.json").write_text(json.dumps({"a": [1, 2, 3], "b": "text"}))
    return folder / "a.json"


def reads(act):
    """A parser that does something with every file but the sound one."""

    def read(path):
        if json.loads(path.read_text()) != {"a": [1, 2, 3], "b": "text"}:
            act(path)

    return Parser("planted", "json", made, read)


def refuses(path):
    raise SceneError(f"{path} is refused")


def names_nothing(path):
    raise SceneError("it is refused")


def is_slow(path):
    began = time.process_time()
    while time.process_time() < began + 1.2:
        pass


def hides_memory(path):
    try:
        np.ones(2 << 30, np.uint8)
    except MemoryError as error:
        raise SceneError(f"{path}: {error}") from error


def aborts(path):
    import os

    os.abort()


@pytest.mark.parametrize(
    ("act", "kind"),
    [(names_nothing, "unnamed"), (is_slow, "slow"), (hides_memory, "memory"), (aborts, "killed")],
)
def test_a_planted_fault_is_found(act, kind):
    findings = fuzz([reads(act)], 3, seed=1, first=1)
    assert kind in {fault.kind for fault in findings.faults}


def test_a_foreign_exception_is_found_and_a_refusal_is_none():
    findings = fuzz([reads(refuses)], 60)
    assert findings.mutations == {"planted": 60} and findings.refused["planted"] > 5
    assert {fault.kind for fault in findings.faults} == {"foreign exception"}  # of json, by broken bytes


def test_a_number_makes_the_same_file_again(tmp_path):
    parser = KNOWN["cameras"]
    content = parser.make(tmp_path).read_bytes()
    assert [file_of(parser, content, 3, n) for n in range(20)] == [
        file_of(parser, content, 3, n) for n in range(20)
    ]
    assert file_of(parser, content, 3, 0) == content
    assert len({file_of(parser, content, 3, n) for n in range(1, 40)}) > 20


def corpus():
    with zipfile.ZipFile(CORPUS) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("parser", sorted({name.split("/")[0] for name in corpus()}))
def test_files_that_once_failed_are_read_or_refused_by_name(parser, tmp_path):
    path = KNOWN[parser].make(tmp_path)
    for name, content in corpus().items():
        if name.split("/")[0] == parser:
            path.write_bytes(content)
            fault, _ = read_one(KNOWN[parser], path, 0)
            assert fault is None or fault.kind == "slow", name  # time is the campaign's to judge


@pytest.mark.slow
def test_all_parsers_hold_against_two_thousand_files_each():
    command = [sys.executable, "tools/fuzz.py", "parser=all", "mutations=2000", "workers=2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert f"{2000 * len(PARSERS)} files by {len(PARSERS)} parsers; faults: none" in done.stdout
