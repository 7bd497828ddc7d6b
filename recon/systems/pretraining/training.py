"""The seam of pretraining: how a kind of prior is trained, named by a yaml of conf/pretraining."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from omegaconf import DictConfig

from recon.errors import ConfigError


@runtime_checkable
class PriorTraining(Protocol):
    """The training of a kind of prior: one class in a file of this folder, named by `_target_` of its yaml."""

    @property
    def name(self) -> str:
        """What `prior=` names on the command line."""
        ...

    def check(self, cfg: DictConfig) -> None:
        """Refuse a configuration that cannot be run, before anything is read.

        Raises:
            ConfigError: With what to do.
        """
        ...

    def run(self, cfg: DictConfig, folder: Path, record: Callable[[], None]) -> None:
        """Train a prior and write it into a run folder.

        Args:
            cfg: Settled configuration.
            folder: Of the run.
            record: Writes config.yaml and overrides.yaml; to be called when nothing bad is left to be found.

        Raises:
            PriorError: The data cannot be used.
            Interruption: A signal stopped the training, whose state is saved then.
        """
        ...


def check_shares(cfg: DictConfig, parts: Mapping[str, int]) -> None:
    """Refuse what the processes of a training cannot share evenly.

    Args:
        cfg: Settled configuration.
        parts: How much there is of each, by the name of its option.

    Raises:
        ConfigError: With the option and what to choose.
    """
    devices = cfg.trainer.devices
    world = int(devices) * int(cfg.trainer.num_nodes) if isinstance(devices, int) else 1
    for name, count in parts.items():
        if count % world:
            raise ConfigError(
                f"{name}={count} cannot be shared evenly among {world} processes; choose a multiple of {world}"
            )
