"""Configuration: what really runs, resuming, and building objects from it."""

import os
from contextlib import nullcontext
from pathlib import Path

import hydra
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from recon.errors import ConfigError
from recon.resources import CONF as CONF
from recon.scene.h3ds import scene_ids
from recon.systems.options.building import build as build
from recon.systems.options.paths import absolute, expand_paths, keep_paths
from recon.systems.options.schema import check, check_groups
from recon.systems.options.stored import keep_loggers_in, override, read_config, whole
from recon.systems.resolvers import PRESETS as PRESETS
from recon.systems.resolvers import preset_of as preset_of
from recon.systems.resolvers import refined, uses_gpu
from recon.systems.resolvers import register_resolvers as register_resolvers


def device_of(cfg: DictConfig) -> torch.device:
    """The device that `trainer.accelerator` means on this machine.

    Raises:
        ConfigError: if it is not cpu, gpu or auto, or asks for a GPU that is not there.
    """
    return torch.device("cuda" if uses_gpu(cfg) else "cpu")


def settle(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """The configuration that really runs: resolved, with refine=true that of the refined method, and on resuming
    that of the run to continue with the overrides on top.

    Raises:
        ConfigError: if the folder to resume holds no configuration, an override names an unknown option or one that
            a resumed run keeps, or refine=true is given for a method without refinement.
    """
    if cfg.resume is None:
        check_values(cfg)
        if cfg.get("refine"):
            cfg = _refined(cfg, overrides)
        OmegaConf.resolve(cfg)
        _keep_places(cfg)
        return cfg
    path = Path(cfg.resume) / "config.yaml"
    if not path.is_file():
        raise ConfigError(
            f"resume={cfg.resume}: there is no {path}. "
            "Give the folder of an earlier run, such as runs/2026-11-20/18-10-13-demo-idr."
        )
    stored = read_config(path)
    keep_loggers_in(stored, Path(cfg.resume))
    override(stored, overrides)
    with whole(path):
        check_values(stored)
        expand_paths(stored, command_of(stored))
    return stored


def _keep_places(cfg: DictConfig) -> None:
    """Make paths absolute, so that the run can be resumed from anywhere; names and ids of scenes stay."""
    command = command_of(cfg)
    expand_paths(cfg, command)
    scenes = cfg.get("scenes") or {}
    keep_paths(cfg, command, but=("scene",) if cfg.get("scene") in scenes else ())
    for name, place in scenes.items():
        scenes[name] = absolute(place)


def command_of(cfg: DictConfig) -> str:
    """The command that a configuration of a training is of: `pretrain` or `train`."""
    return "pretrain" if "training" in cfg else "train"


def check_values(cfg: DictConfig) -> None:
    """Refuse values of options of reconstructions and pretrainings that make no sense, before any work.

    Raises:
        ConfigError: One has the wrong type or range.
    """
    command = command_of(cfg)
    check_groups(cfg, command)
    uses_gpu(cfg)
    if "preset" in cfg:
        preset_of(cfg)
    check(cfg, command)


def _refined(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """The configuration of the method that `method.refined` names, with the same overrides: those of the prior, which
    fits the head, now belong to where the refinement starts from.

    Raises:
        ConfigError: if the method has no refinement.
    """
    name = cfg.method.get("refined")
    if name is None:
        raise ConfigError(
            f"refine=true: method={cfg.method.name} has no refinement, method=instant has. "
            "Other methods start from its fit by init=instant (h3dnet and idr do)."
        )
    inside_main = GlobalHydra.instance().is_initialized()
    with nullcontext() if inside_main else hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("train", overrides=refined(name, overrides))


def without_prior(cfg: DictConfig, method: str) -> None:
    """Give a resolved configuration the settings of a method without prior or fit to start from.

    Raises:
        ConfigError: if there is no such method, or it has a prior itself.
    """
    choices = {path.stem: path for path in (CONF / "method").glob("*.yaml")}
    path = choices.get(method)
    if path is None:
        raise ConfigError(f"fallback={method}: choose ask or a method without prior, such as idr")
    settings = OmegaConf.load(path)
    if "defaults" in settings:
        raise ConfigError(f"fallback={method}: expected a method without prior, such as idr")
    with open_dict(cfg):
        cfg.method, cfg.prior = settings, OmegaConf.load(CONF / "prior" / "sphere.yaml")
        cfg.init = {}
        OmegaConf.resolve(cfg)


def expand_tags(arguments: list[str]) -> list[str]:
    """Command line arguments with `scene=h3ds/<tag>` of a sweep replaced by all scenes of that tag.

    The data set is where `data.h3ds_root=` or $H3DS_ROOT says; without it the tables of its latest release count.

    Raises:
        ConfigError: if it is no sweep.
        SceneError: if there is no such tag.
    """
    given = dict(argument.partition("=")[::2] for argument in arguments)
    root = given.get("data.h3ds_root") or os.environ.get("H3DS_ROOT")
    if not given.get("scene", "").startswith("h3ds/"):
        return arguments
    if not {"-m", "--multirun"} & set(arguments):
        raise ConfigError(f"scene={given['scene']} means all scenes of a tag, which takes a sweep: add -m.")
    scenes = scene_ids(given["scene"].removeprefix("h3ds/"), root=root)
    return [f"scene={','.join(scenes)}" if a.startswith("scene=") else a for a in arguments]
