"""How command lines end, and what those of benchmarks share."""

import logging
import os
import shlex
import signal
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from recon.commands.command_line import (
    TerminalHandler,
    exit_codes,
    hydra_arguments,
    interrupt_on_signals,
    options_of,
    require_all,
    run_tool,
)
from recon.errors import ConfigError
from recon.resources import CONF
from recon.systems.benchmark.script import clock, context, shell_word, workers_of
from recon.systems.resolvers import register_resolvers

log = logging.getLogger("a command")


def test_options_fill_what_is_not_asked_for_and_unknown_ones_are_refused():
    options = options_of({"n": 3, "out": "heads"}, ["n=5"])
    assert (options.n, options.out) == (5, "heads")
    with pytest.raises(ConfigError, match=r"\['m'\]: known are \['n', 'out'\]"):
        options_of({"n": 3, "out": "heads"}, ["m=5"])


def test_bad_input_is_code_1_and_an_interruption_130_each_with_its_reason(caplog):
    with pytest.raises(SystemExit) as end, exit_codes(log):
        raise ConfigError("views=0: expected more")
    assert end.value.code == 1 and caplog.messages == ["views=0: expected more"]
    with pytest.raises(SystemExit) as end, exit_codes(log, "go on with resume"):
        raise KeyboardInterrupt
    assert end.value.code == 130 and caplog.messages[1:] == ["go on with resume"]


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), exit_codes(log):
        _ = 1 / 0
    with pytest.raises(ZeroDivisionError):
        run_tool(lambda arguments: 1 // 0, "a tool")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_interrupt(number):
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        interrupt_on_signals()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_a_tool_names_its_error_without_importing_torch():
    code = """
import sys
from recon.errors import ConfigError
from recon.commands.command_line import run_tool
assert "torch" not in sys.modules
def main(arguments):
    raise ConfigError("n=0: at least one")
run_tool(main, "a tool")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr == "ConfigError: n=0: at least one\n"


def test_an_option_that_is_missing_is_named_and_explained():
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("export_scene", overrides=["format=idr"])
        with pytest.raises(ConfigError, match="scene= is missing: demo, a scene folder"):
            require_all("export_scene", cfg)
        with pytest.raises(ConfigError, match=r"perception\.segmenter\.path= is missing: the file"):
            require_all(
                "photos", compose("photos", overrides=["photographs=[a]", "out=o", "perception=onnx_masks"])
            )
        for method in ("instant", "idr", "h3dnet", "baseh3dnet"):
            require_all("train", compose("train", overrides=[f"method={method}"]))
        require_all("export_scene", compose("export_scene", overrides=["scene=demo", "format=idr", "out=o"]))


def test_options_of_a_prior_in_hydras_words():
    given = ["prior=deepsdf", "data=x", "size=paper", "size.steps=3"]
    expected = ["pretraining@training=deepsdf", "data=x", "prior_size@size=paper", "size.steps=3"]
    assert hydra_arguments("pretrain", given) == hydra_arguments("pretrain", expected) == expected
    assert hydra_arguments("train", given) == given


def run_command(code, *arguments, **options):
    """A command of this package in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, **options
    )


def test_what_hydra_refuses_is_one_line_and_code_1(tmp_path):
    code = "from recon.commands.command_line import run; run('validate', print)"
    done = run_command(code, "scene=demo", "vews=3", cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "vews: there is no such option; the nearest: views\n"


def test_bad_input_in_a_sweep_ends_without_a_traceback(tmp_path):
    code = """
from recon.commands.command_line import run
from recon.errors import ConfigError
def task(cfg):
    raise ConfigError(f"views={cfg.views}: expected more")
run("validate", task)
"""
    done = run_command(code, "-m", "scene=demo", "views=1,2", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == "views=1: expected more"


@pytest.mark.parametrize("name", ["mine (2)", "a, b", "it's", "me=you"])
def test_paths_that_exist_need_no_quotes(tmp_path, name):
    (tmp_path / name).mkdir()
    (argument,) = hydra_arguments("train", [f"scene={tmp_path / name}"])
    assert OverridesParser.create().parse_overrides([argument])[0].value() == str(tmp_path / name)
    assert hydra_arguments("train", ["views=[0,1]", "scene=a,b", "x='$y'"]) == [
        "views=[0,1]",
        "scene=a,b",
        "x='$y'",
    ]


def test_a_reader_that_goes_away_ends_a_command_without_a_word():
    code = """
import sys
from recon.commands.command_line import quiet_where_nobody_reads
with quiet_where_nobody_reads():
    sys.stdin.read()  # until the reader is gone
    print("a table")
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as command:
        command.stdout.close()
        command.stdin.close()
        said = command.stderr.read()
    assert (command.returncode, said) == (128 + signal.SIGPIPE, b"")


def test_another_broken_pipe_is_a_bug():
    code = """
from recon.commands.command_line import quiet_where_nobody_reads
with quiet_where_nobody_reads():
    raise BrokenPipeError("a worker died")
"""
    done = run_command(code)
    assert done.returncode == 1 and "a worker died" in done.stderr


def test_a_log_that_nobody_reads_stops_without_a_word(capsys):
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        logger = logging.Logger("a run")
        logger.addHandler(TerminalHandler(stream))
        logger.warning("read")
        assert os.read(reader, 100) == b"read\n"
        os.close(reader)
        for _ in range(2):
            logger.warning("unread")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "argument", ["views=3", "extra=['a=1', 'b=2']", "out=a b", "x='$HOME'", 'say="it\'s"']
)
def test_a_recorded_command_can_be_typed_again(argument, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["anything", argument, "views=8"])
    words = shlex.split(context("headrecon-benchmark")["command"])
    assert words == ["headrecon-benchmark", argument, "views=8"]
    assert "'\"'\"'" not in shell_word("extra=['a=1']")  # readable, not merely right


def test_times_left():
    assert clock(20.0) == "0 min" and clock(59.4 * 60) == "59 min"
    assert clock(59.6 * 60) == "1 h 0 min" and clock(25 * 3600.0) == "25 h 0 min"


def test_workers_asked_for_count():
    assert workers_of({"workers": 3}) == 3 and workers_of({"workers": None}) >= 1
