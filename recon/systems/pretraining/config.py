"""Configuration of a pretraining, where it differs from that of a reconstruction."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from recon.errors import ConfigError
from recon.systems import config
from recon.systems.pretraining.training import PriorTraining

GROUPS = ("pretraining@training", "prior_size@size", "logger")


def register_resolvers() -> None:
    """Make the resolver of conf/pretrain.yaml known to OmegaConf; call before Hydra composes."""
    OmegaConf.register_new_resolver("prior_folder", prior_folder, replace=True)


def settle(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The configuration that really runs; a resumed run keeps the groups that it was started with.

    Raises:
        ConfigError: If it cannot be run, or the folder to resume holds no configuration.
    """
    if cfg.resume is None and OmegaConf.is_missing(cfg, "data"):
        raise ConfigError(
            "data= is missing: the folder of training samples or portraits (with train/ and val/), or of raw scans"
        )
    cfg = config.settle(cfg, [o for o in overrides if o.partition("=")[0] not in GROUPS])
    check(cfg)
    return cfg


def prior_folder(root: str, *, _root_: DictConfig) -> str:
    """`root`/<date>/<time>-prior-<size or kind>, or the folder that is resumed; a resolver of conf/pretrain.yaml."""
    if _root_.get("resume"):
        return str(_root_.resume)
    now = datetime.now()
    name = f"prior-{_root_.size.name if _root_.training.name == 'deepsdf' else _root_.training.name}"
    if _root_.training.name == "portrait":
        name = "network-portrait"
    return str(Path(root) / f"{now:%Y-%m-%d}" / f"{now:%H-%M-%S}-{name}")


def check(cfg: DictConfig) -> None:
    """Refuse what cannot be run.

    Raises:
        ConfigError: With what to do.
    """
    config.device_of(cfg)
    training = config.build(cfg.training, kind="training of a prior")
    assert isinstance(training, PriorTraining)
    training.check(cfg)
