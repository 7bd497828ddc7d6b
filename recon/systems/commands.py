"""How command lines begin and end: plain options, exit codes, and a line that says why.

It needs no torch, as worker processes may import it.
"""

import logging
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recon.errors import ConfigError, ReconError


def options_of(defaults: Mapping[str, Any], arguments: Sequence[str]) -> DictConfig:
    """What a command of few options asks for.

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


@contextmanager
def exit_codes(log: logging.Logger, stopped: str = "stopped") -> Iterator[None]:
    """Ends the process with code 1 on bad input and 130 on an interruption.

    Args:
        log: gets the error's message, or `stopped`.
        stopped: what an interruption leaves behind, and how to go on.
    """
    try:
        yield
    except ReconError as error:
        log.error("%s", error)
        sys.exit(1)
    except KeyboardInterrupt:
        log.error("%s", stopped)
        sys.exit(130)


@contextmanager
def bad_input_named() -> Iterator[None]:
    """Ends the process with code 1 on bad input, with the kind of error and its message on stderr."""
    try:
        yield
    except ReconError as error:
        sys.exit(f"{type(error).__name__}: {error}")


def interrupt_on_signals() -> None:
    """Makes a polite kill and a closed terminal the same as Ctrl-C: `KeyboardInterrupt`."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
