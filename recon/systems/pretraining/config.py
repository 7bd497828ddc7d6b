"""Configuration of a pretraining, where it differs from that of a reconstruction."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from recon.errors import ConfigError
from recon.systems import config

GROUPS = ("prior_size@size", "logger")


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
            "data= is missing: the folder of training samples (with train/ and val/), or of raw scans"
        )
    cfg = config.settle(cfg, [o for o in overrides if o.partition("=")[0] not in GROUPS])
    check(cfg)
    return cfg


def prior_folder(root: str, *, _root_: DictConfig) -> str:
    """`root`/<date>/<time>-prior-<size or pca>, or the folder that is resumed; a resolver of conf/pretrain.yaml."""
    if _root_.get("resume"):
        return str(_root_.resume)
    now = datetime.now()
    name = "pca" if _root_.get("kind") == "pca" else _root_.size.name
    return str(Path(root) / f"{now:%Y-%m-%d}" / f"{now:%H-%M-%S}-prior-{name}")


def check(cfg: DictConfig) -> None:
    """Refuse what cannot be run.

    Raises:
        ConfigError: With what to do.
    """
    config.device_of(cfg)
    if cfg.kind == "pca":
        _check_pca(cfg.pca)
        return
    if cfg.kind != "deepsdf":
        raise ConfigError(
            f"prior={cfg.kind}: only prior=deepsdf and prior=pca are trained here; the source subject of "
            "prior=pretrained_epoch is a run of headrecon method=idr"
        )
    if cfg.supervision not in ("auto", "distances", "surface"):
        raise ConfigError(f"supervision={cfg.supervision}: choose auto, distances or surface")
    if cfg.size.init not in ("auto", "components", "sphere"):
        raise ConfigError(f"size.init={cfg.size.init}: choose auto, components or sphere")
    if cfg.size.lattice_share > 0 and cfg.size.network.kind != "feature_grid":
        raise ConfigError("size.lattice_share is for size.network.kind=feature_grid; set it to 0")
    devices = cfg.trainer.devices
    world = int(devices) * int(cfg.trainer.num_nodes) if isinstance(devices, int) else 1
    for name in ("heads", "nodes"):
        if cfg.size[name] % world:
            raise ConfigError(
                f"size.{name}={cfg.size[name]} cannot be shared evenly among {world} processes; "
                f"choose a multiple of {world}"
            )


def _check_pca(pca: DictConfig) -> None:
    for name in ("latent_size", "reach_mm", "step_mm", "workers"):
        if not pca[name] > 0:
            raise ConfigError(f"pca.{name}={pca[name]}: it must be positive")
    for name in ("portraits", "brightness_components"):
        if not pca[name] >= 0:
            raise ConfigError(f"pca.{name}={pca[name]}: it must not be negative")
    if not 0 <= pca.share < 1:
        raise ConfigError(f"pca.share={pca.share}: it is a share of the heads, from 0 to below 1")
