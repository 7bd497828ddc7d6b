"""The training of prior=deepsdf: an auto-decoder by gradient descent, checked, trained and written."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from recon.errors import ConfigError, Interruption
from recon.systems.pretraining import outputs
from recon.systems.pretraining.run import prepare, train
from recon.systems.pretraining.training import check_shares


@dataclass(frozen=True)
class AutoDecoderTraining:
    """The training of prior=deepsdf; a `recon.systems.pretraining.training.PriorTraining`.

    Attributes:
        name: What `prior=` names on the command line.
    """

    name: str

    def check(self, cfg: DictConfig) -> None:
        """Refuse what cannot be run.

        Raises:
            ConfigError: With what to do.
        """
        if cfg.supervision not in ("auto", "distances", "surface"):
            raise ConfigError(f"supervision={cfg.supervision}: choose auto, distances or surface")
        if cfg.size.init not in ("auto", "components", "sphere"):
            raise ConfigError(f"size.init={cfg.size.init}: choose auto, components or sphere")
        if cfg.size.lattice_share > 0 and cfg.size.network.kind != "feature_grid":
            raise ConfigError("size.lattice_share is for size.network.kind=feature_grid; set it to 0")
        check_shares(cfg, {f"size.{name}": int(cfg.size[name]) for name in ("heads", "nodes")})

    def run(self, cfg: DictConfig, folder: Path, record: Callable[[], None]) -> None:
        """Train and write the prior."""
        task = prepare(cfg, folder)
        record()
        if not train(task):
            raise Interruption(task.stopped_by or signal.SIGINT)
        if task.first_process:
            outputs.write(task)
