"""Resolvers of conf/: values that depend on the preset, on where files lie, or on other options.

Free of torch but where a GPU may decide the preset, so that --help answers at once.
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recon.errors import ConfigError
from recon.resources import ASSETS, PRIORS

PRESETS = ("cpu", "gpu", "paper")
GPU_DEVICES = ("nvidia*", "dxg", "kfd")
"""Names in /dev without which Linux has no GPU for PyTorch: of NVIDIA's driver, of that in WSL, of AMD's."""


def register_resolvers() -> None:
    """Make the resolvers of conf/ known to OmegaConf; call before Hydra composes."""
    resolvers: dict[str, Callable[..., Any]] = {
        "by_preset": by_preset,
        "asset": lambda path: str(ASSETS / path),
        "shipped_prior": lambda name: str(PRIORS / name),
        "run_folder": run_folder,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def by_preset(values: dict[str, Any], *, _root_: DictConfig) -> Any:
    """The value for the present preset; `${by_preset:{cpu:1,gpu:2,paper:3}}`."""
    value = values[preset_of(_root_)]
    return OmegaConf.create(value) if isinstance(value, list) else value


def preset_of(cfg: DictConfig) -> str:
    """The preset of a configuration; `auto` is decided by the device.

    Raises:
        ConfigError: if there is no such preset, accelerator or GPU.
    """
    if cfg.preset == "auto":
        return "gpu" if uses_gpu(cfg) else "cpu"
    if cfg.preset not in PRESETS:
        raise ConfigError(f"preset={cfg.preset}: choose auto, {', '.join(PRESETS)}")
    return cfg.preset


def uses_gpu(cfg: DictConfig) -> bool:
    """Whether `trainer.accelerator` means a GPU on this machine.

    Raises:
        ConfigError: if it is not cpu, gpu or auto, or asks for a GPU that is not there.
    """
    wanted = cfg.trainer.accelerator
    if wanted not in ("cpu", "gpu", "auto"):
        raise ConfigError(f"trainer.accelerator is cpu, gpu or auto; not {wanted!r}")
    if wanted == "cpu":
        return False
    available = _gpu_available()
    if wanted == "gpu" and not available:
        raise ConfigError(
            "trainer.accelerator=gpu, but PyTorch sees no CUDA device. "
            "Use trainer.accelerator=cpu, or install a CUDA build of PyTorch."
        )
    return available


def _gpu_available() -> bool:
    if "torch" not in sys.modules and sys.platform == "linux":
        devices = Path("/dev")
        if not any(any(devices.glob(name)) for name in GPU_DEVICES):
            return False
    import torch

    return torch.cuda.is_available()


def run_folder(root: str, *, _root_: DictConfig) -> str:
    """`root`/<date>/<time>-<scene>-<method>, or the folder that is resumed."""
    if _root_.get("resume"):
        return str(_root_.resume)
    now = datetime.now()
    method = _root_.method.name if "method" in _root_ else "run"
    method += "-refined" if _root_.get("refine") else ""
    return str(Path(root) / f"{now:%Y-%m-%d}" / f"{now:%H-%M-%S}-{scene_name(str(_root_.scene))}-{method}")


def scene_name(scene: str) -> str:
    """What runs call the scene that `scene=` names: a name, an id, or the last part of a path as a file name; of a
    photograph its stem.
    """
    path = Path(os.path.abspath(Path(scene).expanduser()))
    return re.sub(r"[^\w.-]+", "_", path.stem if path.is_file() else path.name) or "scene"


def refined(method: str, overrides: Sequence[str]) -> list[str]:
    """Overrides of the method that refines another's result: those of the prior, which fits the head, now belong to
    where the refinement starts from.

    Args:
        method: name of the refined method, `method.refined` of the other.
        overrides: as given for the other.
    """
    kept = [re.sub(r"^(\+*)prior\.", r"\1init.pca.", o) for o in overrides if not o.startswith("method=")]
    return [f"method={method}", *kept]
