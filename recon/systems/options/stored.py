"""Stored configurations, such as the config.yaml of a run folder, which may come from anywhere."""

import io
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recon.errors import ConfigError
from recon.plain_yaml import plain_yaml
from recon.systems.aliases import present_config
from recon.systems.options.building import check_targets

log = logging.getLogger(__name__)


def read_config(path: Path) -> DictConfig:
    """A stored configuration, with present names in place of those of before; it names no class outside of the registry
    and takes nothing from the environment.

    Raises:
        ConfigError: If it cannot be read, holds more than plain values, or names a class that must not be built.
    """
    text = plain_yaml(path, ConfigError)
    try:
        stored = OmegaConf.load(io.StringIO(text))
    except (OmegaConfBaseException, ValueError, TypeError, OSError) as error:
        raise ConfigError(f"{path} is no configuration: {' '.join(str(error).split())}") from error
    named = isinstance(stored, DictConfig) and all(str(key).isidentifier() for key in stored)
    if not isinstance(stored, DictConfig) or not named or not stored:
        raise ConfigError(f"{path} is no configuration: expected options by name, such as scene: demo")
    stored = present_config(stored, str(path))
    try:
        check_targets(stored)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    OmegaConf.set_struct(stored, True)
    return stored


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """A context in which an option that a stored configuration lacks is an error of that file.

    Raises:
        ConfigError: With the file and the option.
    """
    try:
        yield
    except OmegaConfBaseException as error:
        said = f"{getattr(error, 'full_key', None) or 'an option'} ({str(error).partition(chr(10))[0]})"
        raise ConfigError(
            f"{path} is not whole, or of another version of this project: {said}. Give what is missing on the command "
            "line, such as +steps=900, or start a new run"
        ) from error


def keep_loggers_in(stored: DictConfig, folder: Path) -> None:
    """Have loggers of a stored configuration write to its run folder, wherever that has been moved to.

    Args:
        stored: It is changed.
        folder: Of the run.
    """
    home = folder.absolute()
    for logger in OmegaConf.select(stored, "logger.loggers") or []:
        place = Path(str(logger.get("save_dir") or home)).absolute()
        if not Path(os.path.normpath(place)).is_relative_to(home):
            inside = home / "tensorboard" if "TensorBoard" in str(logger.get("_target_")) else home
            log.warning("the logs of this run go to %s, not to %s, which is not in its folder", inside, place)
            OmegaConf.update(logger, "save_dir", str(inside), force_add=True)


def override(stored: DictConfig, overrides: Sequence[str]) -> None:
    """Change options of a stored configuration as the command line of a resumed run says.

    Args:
        stored: It is changed.
        overrides: In Hydra's terms; its own options are passed over.

    Raises:
        ConfigError: If an override cannot be read, names an unknown option, or one that a resumed run keeps.
    """
    for text in overrides:
        try:
            (parsed,) = OverridesParser.create().parse_overrides([text])
        except Exception as error:
            raise ConfigError(f"{text}: {' '.join(str(error).split())}") from error
        if not parsed.key_or_group.startswith("hydra."):
            _apply(stored, parsed, text)


def _apply(stored: DictConfig, parsed: Override, text: str) -> None:
    """Change one option."""
    key, value = parsed.key_or_group, None if parsed.is_delete() else _plain(parsed)
    whole_group = isinstance(stored.get(key), DictConfig) and not isinstance(value, dict)
    if whole_group or (key == "refine" and bool(value) != bool(stored.get(key))):
        raise ConfigError(f"{text}: a resumed run keeps its {key}; start a new run for another")
    try:
        OmegaConf.update(stored, key, value, force_add=parsed.is_add() or parsed.is_force_add())
    except Exception as error:
        raise ConfigError(f"{text}: {' '.join(str(error).split())}") from error


def _plain(parsed: Override) -> Any:
    """The value of an override, quotes taken off.

    Raises:
        ConfigError: It is a sweep of several.
    """
    if parsed.is_sweep_override():
        raise ConfigError(f"{parsed.input_line}: a resumed run takes one value")
    return parsed.value()
