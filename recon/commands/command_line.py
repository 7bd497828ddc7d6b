"""How command lines begin and end: key=value options, --help, exit codes, and a line that says why.

It needs no torch, as worker processes may import it.
"""

import functools
import logging
import os
import re
import select
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import hydra
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from recon.errors import ConfigError, Interruption, ReconError
from recon.processes import stop_with_starter
from recon.resources import CONF
from recon.run_folders import CHECKPOINT, discard_if_empty, discard_noted, note_missing
from recon.storage import storage_fault
from recon.systems.aliases import present_arguments
from recon.systems.help import GROUP_NAMES, comment_of, option_help, options, refusal
from recon.systems.options.paths import expand_paths, with_home
from recon.systems.options.schema import check
from recon.systems.resolvers import register_resolvers

TRAININGS = ("train", "pretrain")
"""Commands that check their values themselves, once it is known what a resumed run takes over."""
LISTED = {"photos": "photographs"}
"""For a command whose arguments may be paths: the option that lists them."""


def run(name: str, task: Callable[[DictConfig], None]) -> None:
    """Run a command under Hydra with the options of `sys.argv`; --help is answered instead.

    Args:
        name: of its file in conf/.
        task: gets the configuration.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print_help(name)
        return
    interrupt_on_signals()
    stop_with_starter()
    sys.argv[1:] = arguments = hydra_arguments(name, sys.argv[1:])
    register_resolvers()

    @functools.wraps(task)
    def checked(cfg: DictConfig) -> None:
        with exit_codes(logging.getLogger(name)):
            if cfg.get("resume") is None:  # a resumed training takes over what is missing
                require_all(name, cfg)
            if name not in TRAININGS:
                check(cfg, name)
                expand_paths(cfg, name)
        with quiet_where_nobody_reads():
            task(cfg)

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra hands its errors on, to be put into one line here
    with quiet_where_nobody_reads():
        try:
            hydra.main(config_path=str(CONF), config_name=name, version_base="1.3")(checked)()
        except Exception as error:
            line = refusal(error, name, arguments)
            refused = error if isinstance(error, OSError) else error.__cause__
            if line is None and isinstance(refused, OSError):
                line = storage_fault(refused)  # Hydra makes the folder and opens the log
            if line is None:
                raise
            discard_noted(f"{name}.log")
            sys.exit(line)
        except KeyboardInterrupt as stop:
            sys.exit(code_of(stop))


def require_all(name: str, cfg: DictConfig) -> None:
    """Refuse a command line without an option that has no default.

    Raises:
        ConfigError: with what the option is.
    """
    order = [option.name for option in options(CONF / f"{name}.yaml")]
    for missing in sorted(
        OmegaConf.missing_keys(cfg), key=lambda key: (key not in order, [*order, key].index(key))
    ):
        raise ConfigError(f"{missing}= is missing: {comment_of(missing, name)}")


def print_help(name: str) -> None:
    """Print all options with the values that the command line gives them; an unknown one ends the process with 1."""
    given = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    with exit_codes(logging.getLogger(name)), quiet_where_nobody_reads():
        print(option_help(name, hydra_arguments(name, given)))


def hydra_arguments(name: str, arguments: Sequence[str]) -> list[str]:
    """Command line arguments in Hydra's terms.

    Args:
        name: of the command.
        arguments: as typed.
    """
    names = GROUP_NAMES.get(name, {})
    if name in LISTED:
        arguments = _with_paths_listed(LISTED[name], arguments)
    typed = [re.sub(r"^(\w+)(?==)", lambda m: names.get(m[1], m[1]), argument) for argument in arguments]
    return present_arguments([_with_path_quoted(argument) for argument in typed], name)


def quoted(text: str) -> str:
    """A text as a string of Hydra's grammar: a quote is escaped, and with it the backslashes before it, which need it
    nowhere else.
    """
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + m[2].replace("'", "\\'"), text) + "'"


def _with_path_quoted(argument: str) -> str:
    """The argument, its value quoted where that is an existing path with signs of Hydra's grammar: `photos (2)`, or
    where it has the user's home as `~`.
    """
    key, equals, value = argument.partition("=")
    plain = re.fullmatch(r"[\w./:+-]*", value) or value.startswith(("'", '"', "[", "{"))
    home = os.path.expanduser(value)
    return f"{key}{equals}{with_home(value, quoted) if plain or not os.path.exists(home) else quoted(home)}"


def _with_paths_listed(option: str, arguments: Sequence[str]) -> list[str]:
    """Arguments with those that are paths listed by one option: `a.jpg out=S` is `photographs=['a.jpg'] out=S`."""
    paths = [
        each for each in arguments if not each.startswith("-") and ("=" not in each or Path(each).exists())
    ]
    others = [each for each in arguments if each not in paths]
    return [*others, f"{option}=[{','.join(map(quoted, paths))}]"] if paths else others


def options_of(defaults: Mapping[str, Any], arguments: Sequence[str]) -> DictConfig:
    """Options of a program in tools/, which has no file in conf/.

    Args:
        defaults: All options.
        arguments: As typed: `n=3`.

    Raises:
        ConfigError: There is no such option.
    """
    options = OmegaConf.merge(dict(defaults), OmegaConf.from_cli(list(arguments)))
    if unknown := set(options) - set(defaults):
        raise ConfigError(f"unknown option {sorted(unknown)}: known are {sorted(defaults)}")
    assert isinstance(options, DictConfig)
    return options


def run_tool(main: Callable[[list[str]], int | None], description: str | None) -> None:
    """Run a program of tools/ with the options of `sys.argv`; --help is answered with its description.

    Bad input ends the process with code 1, the kind of error and its message on stderr.
    """
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print(description)
        return
    try:
        with quiet_where_nobody_reads():
            sys.exit(main(arguments))
    except ReconError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt as stop:
        sys.exit(code_of(stop))


@contextmanager
def exit_codes(log: logging.Logger, stopped: str = "stopped") -> Iterator[None]:
    """Ends the process with code 1 on bad input or where a file cannot be written, and on a signal as a shell does.

    Args:
        log: gets the error's message, or `stopped`.
        stopped: what an interruption leaves behind, and how to go on.
    """
    try:
        yield
    except ReconError as error:
        log.error("%s", error)
        sys.exit(1)
    except OSError as error:
        if (fault := storage_fault(error)) is None:
            raise
        log.error("%s", fault)
        sys.exit(1)
    except KeyboardInterrupt as stop:
        log.error("%s", stopped)
        sys.exit(code_of(stop))


@contextmanager
def quiet_where_nobody_reads() -> Iterator[None]:
    """Ends the process without a word, with the code of a shell for this, 141, where what it prints is read no more:
    `headrecon --help | head`.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _unread(sys.stdout):
            raise  # another pipe broke
        discard(sys.stdout)
        sys.exit(128 + signal.SIGPIPE)


class TerminalHandler(logging.StreamHandler):
    """A handler that shows log records while they are read: `headrecon scene=demo | head` goes on in silence, and its
    log file has everything.
    """

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Give up on a stream that nobody reads; anything else is logging's own affair."""
        if isinstance(sys.exception(), BrokenPipeError) and _unread(self.stream):
            discard(self.stream)
        else:
            super().handleError(record)


def _unread(stream: Any) -> bool:
    """Whether the other end of a stream is closed."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def discard(stream: Any) -> None:
    """Send what is written to a stream from now on nowhere, what waits in its buffer included."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class RunFolderNotes(Callback):
    """Notes which folders of a run are not there before Hydra makes them, so that a refused run removes no others."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Settle the folder's name, which has the time in it, and look for it."""
        folder = str(config.hydra.run.dir)
        with open_dict(config):
            config.hydra.run.dir = folder
        note_missing(Path(folder))


def run_series(log: logging.Logger, task: Callable[[DictConfig], int], cfg: DictConfig) -> None:
    """Run a command that does many runs, and end the process: code 1 if some failed or on bad input.

    Args:
        log: Gets the message of an error.
        task: Does what is missing; number of failures.
        cfg: Configuration.
    """
    interrupt_on_signals()
    with exit_codes(log, "stopped; the same command goes on from here"):
        failed = task(cfg)
    sys.exit(1 if failed else 0)


def code_of(stop: KeyboardInterrupt) -> int:
    """The exit code of a process that a signal ended, as shells report it: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + getattr(stop, "number", signal.SIGINT)


def end_of_run(log: logging.Logger, stop: KeyboardInterrupt, command: str, folder: Path) -> NoReturn:
    """End the process of a run that a signal stopped, saying how to go on.

    Args:
        log: Gets the message.
        stop: The signal.
        command: Name of the command.
        folder: Of the run.
    """
    name = signal.Signals(code_of(stop) - 128).name
    if (folder / CHECKPOINT).is_file():
        log.warning("stopped by %s; go on with: %s resume=%s", name, command, folder)
    else:
        log.warning("stopped by %s with nothing trained yet: the same command starts again", name)
        discard_if_empty(folder, f"{log.name}.log")
    sys.exit(code_of(stop))


def interrupt_on_signals() -> None:
    """Makes a polite kill and a closed terminal interrupt as Ctrl-C does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interruption(number)


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)
