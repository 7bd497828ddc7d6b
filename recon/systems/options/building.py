"""Objects of configurations: each part with a `_target_` becomes one of a registry of classes, and nothing else."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recon.errors import ConfigError
from recon.perception import Perception
from recon.priors.source_subjects import NETWORK
from recon.registry import Kind, named_class, subclass_of, with_methods
from recon.rendering import TracingSettings
from recon.systems.objective import Objective


def _samples_pixels(found: type) -> bool:
    """Whether a class takes a `store` of pixels and gives those of a step when it is called."""
    parameters = inspect.signature(found).parameters if "__call__" in vars(found) else {}
    return {"store", "seed"} <= parameters.keys()


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("objective", "recon.systems", subclass_of(Objective)),
        Kind("renderer", "recon.rendering", subclass_of(TracingSettings)),
        Kind("sampler", "recon.rendering", _samples_pixels),
        NETWORK,
        Kind("prior", "recon.priors", with_methods("starts")),
        Kind("training of a prior", "recon.systems.pretraining", with_methods("check", "run")),
        Kind("perception", "recon.perception", subclass_of(Perception)),
        Kind("face detector", "recon.perception", with_methods("detect")),
        Kind("face landmarker", "recon.perception", with_methods("landmarks")),
        Kind("segmenter", "recon.perception", with_methods("mask")),
        Kind("hand segmenter", "recon.perception", with_methods("hands")),
    )
}
"""Kinds of our own classes that configurations may name."""

LOGGERS: Mapping[str, tuple[type, frozenset[str]]] = {
    "pytorch_lightning.loggers.TensorBoardLogger": (
        pl.loggers.TensorBoardLogger,
        frozenset({"save_dir", "name", "version", "sub_dir", "default_hp_metric"}),
    ),
    "pytorch_lightning.loggers.WandbLogger": (
        pl.loggers.WandbLogger,
        frozenset({"save_dir", "name", "version", "project", "group", "tags", "entity", "offline", "id"}),
    ),
}
"""Lightning's loggers that configurations may name, with their arguments: wandb's others may send a key elsewhere."""


def build(
    config: DictConfig, *, kind: str | None = None, default: str | None = None, **arguments: Any
) -> Any:
    """Make the object that a configuration describes, its parts first; see `KINDS` and `LOGGERS` for what it may name.

    Args:
        config: Names its class as `_target_` and gives its arguments; nested lists and mappings become plain ones.
        kind: Key of `KINDS` that it must be of, or `logger`; None for any.
        default: The class of a configuration that names none.
        arguments: Further ones.

    Raises:
        ConfigError: If a class is none of the registry, or does not take its arguments.
    """
    try:
        content: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(" ".join(str(error).split())) from error
    if default is not None:
        content = {"_target_": default, **content}
    return _made(content, kind, arguments)


def check_targets(content: Any) -> None:
    """Refuse a configuration that names a class outside of the registry anywhere, before anything is built of it.

    Args:
        content: A configuration, or a part of one; interpolations are not followed.

    Raises:
        ConfigError: With the class.
    """
    if isinstance(content, DictConfig | ListConfig):
        content = OmegaConf.to_container(content, resolve=False)
    if isinstance(content, list):
        for part in content:
            check_targets(part)
    elif isinstance(content, dict):
        _check_keys(content)
        if "_target_" in content and "${" not in str(content["_target_"]):
            _class(content["_target_"], None)
        for part in content.values():
            check_targets(part)


def _made(content: Any, kind: str | None, further: Mapping[str, Any]) -> Any:
    """An object of plain content; further arguments count more than those of the content."""
    _check_keys(content)
    target = content.get("_target_")
    found, known = _class(target, kind)
    given = {name: _parts_made(part) for name, part in content.items() if name != "_target_"}
    if known is not None:
        _check_logger(target, given, known)
    try:
        return found(**{**given, **further})
    except ModuleNotFoundError as error:
        if known is None:
            raise
        extra = "wandb" if "Wandb" in target else "tensorboard"
        raise ConfigError(
            f"{target} needs a package that is not installed: pip install 'headrecon[{extra}]'"
        ) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{target}: {error}") from error


def _parts_made(content: Any) -> Any:
    """Plain content with objects in place of its parts that name a class."""
    if isinstance(content, list):
        return [_parts_made(part) for part in content]
    if not isinstance(content, dict):
        return content
    if "_target_" in content:
        return _made(content, None, {})
    _check_keys(content)
    return {name: _parts_made(part) for name, part in content.items()}


def _class(target: Any, kind: str | None) -> tuple[type, frozenset[str] | None]:
    """The class that a target names, and for a logger the arguments that it may be given.

    Raises:
        ConfigError: It is none of the registry.
    """
    if kind in (None, "logger") and isinstance(target, str) and target in LOGGERS:
        return LOGGERS[target]
    kinds = KINDS.values() if kind is None else [KINDS[kind]] if kind in KINDS else []
    found = named_class(target, kinds)
    if found is None:
        expected = (
            f"one of {', '.join(LOGGERS)}"
            if kind == "logger"
            else f"a class of recon that is a {kind}"
            if kind
            else f"a class of recon that is one of: {', '.join(KINDS)}"
        )
        raise ConfigError(f"_target_: refusing to build {str(target)[:200]!r}, which is not {expected}")
    return found, None


def _check_keys(content: Any) -> None:
    """Refuse Hydra's own arguments, such as `_args_` and `_partial_`: a part has a class and named arguments."""
    for name in content if isinstance(content, dict) else ():
        if not isinstance(name, str) or (name.startswith("_") and name != "_target_"):
            raise ConfigError(
                f"{str(name)[:200]!r}: refusing an argument that is not named; parts have _target_ and names"
            )


def _check_logger(target: str, given: Mapping[str, Any], known: frozenset[str]) -> None:
    """Refuse arguments of a logger that it may not have, and names of folders that lead elsewhere."""
    if unknown := sorted(set(given) - known):
        raise ConfigError(f"{target}: {unknown[0]} is not among its options here: {', '.join(sorted(known))}")
    for name in ("name", "version", "sub_dir"):
        value = given.get(name)
        if (value is not None and not re.fullmatch(r"[\w. ()+=,:-]*", str(value))) or ".." in str(value):
            raise ConfigError(f"{target}: {name}={value} must be a plain name, without folders")
