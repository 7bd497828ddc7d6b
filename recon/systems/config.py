"""Configuration: the resolvers that conf/ uses, resuming, and building objects from it."""

import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

import recon
from recon.errors import ConfigError
from recon.priors.shipped import shipped
from recon.scene.h3ds import scene_ids
from recon.systems.aliases import present_config

CONF = Path(__file__).parents[2] / "conf"
PRESETS = ("cpu", "gpu", "paper")
TRUSTED = ("recon.", "pytorch_lightning.loggers.")


def register_resolvers() -> None:
    """Make the resolvers of conf/ known to OmegaConf; call before Hydra composes."""
    resolvers: dict[str, Callable[..., Any]] = {
        "by_preset": _by_preset,
        "asset": lambda path: str(Path(recon.__file__).parent / "assets" / path),
        "shipped_prior": lambda name: str(shipped(name)),
        "run_folder": _run_folder,
        "option_help": option_help,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def _by_preset(values: dict[str, Any], *, _root_: DictConfig) -> Any:
    """The value for the present preset; `${by_preset:{cpu:1,gpu:2,paper:3}}`."""
    value = values[preset_of(_root_)]
    return OmegaConf.create(value) if isinstance(value, list) else value


def preset_of(cfg: DictConfig) -> str:
    """The preset of a configuration; `auto` is decided by the device.

    Raises:
        ConfigError: if there is no such preset.
    """
    if cfg.preset == "auto":
        return "gpu" if device_of(cfg).type == "cuda" else "cpu"
    if cfg.preset not in PRESETS:
        raise ConfigError(f"preset is auto, {', '.join(PRESETS)}; not {cfg.preset!r}")
    return cfg.preset


def device_of(cfg: DictConfig) -> torch.device:
    """The device that `trainer.accelerator` means on this machine.

    Raises:
        ConfigError: if it is not cpu, gpu or auto, or asks for a GPU that is not there.
    """
    wanted = cfg.trainer.accelerator
    if wanted not in ("cpu", "gpu", "auto"):
        raise ConfigError(f"trainer.accelerator is cpu, gpu or auto; not {wanted!r}")
    if wanted == "gpu" and not torch.cuda.is_available():
        raise ConfigError(
            "trainer.accelerator=gpu, but PyTorch sees no CUDA device. "
            "Use trainer.accelerator=cpu, or install a CUDA build of PyTorch."
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def settle(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """The configuration that really runs: resolved, with refine=true that of the refined method, and on resuming
    that of the run to continue with the overrides on top.

    Raises:
        ConfigError: if the folder to resume holds no configuration, an override names an unknown option or one that
            a resumed run keeps, or refine=true is given for a method without refinement.
    """
    if cfg.resume is None:
        if cfg.get("refine"):
            cfg = _refined(cfg, overrides)
        OmegaConf.resolve(cfg)
        return cfg
    path = Path(cfg.resume) / "config.yaml"
    if not path.is_file():
        raise ConfigError(
            f"resume={cfg.resume}: there is no {path}. "
            "Give the folder of an earlier run, such as runs/2026-11-20/18-10-13-demo-idr."
        )
    stored = OmegaConf.load(path)
    assert isinstance(stored, DictConfig)
    stored = present_config(stored, str(path))
    OmegaConf.set_struct(stored, True)
    for override in overrides:
        key, _, text = override.partition("=")
        if not key.startswith("hydra."):
            value = yaml.safe_load(text)
            whole_group = isinstance(stored.get(key), DictConfig) and not isinstance(value, dict)
            if whole_group or (key == "refine" and bool(value) != bool(stored.get(key))):
                raise ConfigError(f"{override}: a resumed run keeps its {key}; start a new run for another")
            try:
                OmegaConf.update(stored, key.lstrip("+~"), value, force_add=key.startswith("+"))
            except Exception as error:
                raise ConfigError(f"{override}: {error}") from error
    return stored


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
    kept = [re.sub(r"^(\+*)prior\.", r"\1init.pca.", o) for o in overrides if not o.startswith("method=")]
    inside_main = GlobalHydra.instance().is_initialized()
    with nullcontext() if inside_main else hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("train", overrides=[f"method={name}", *kept])


def without_prior(cfg: DictConfig, method: str) -> None:
    """Give a resolved configuration the settings of a method without prior or fit to start from.

    Raises:
        ConfigError: if there is no such method, or it has a prior itself.
    """
    path = CONF / "method" / f"{method}.yaml"
    if not path.is_file():
        raise ConfigError(f"method.fallback={method}: there is no {path}")
    settings = OmegaConf.load(path)
    if "defaults" in settings:
        raise ConfigError(f"method.fallback={method}: expected a method without prior, such as idr")
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


def build(config: DictConfig, *, default: str | None = None, **arguments: Any) -> Any:
    """Instantiate what `_target_` names, if it is one of ours: a configuration from elsewhere cannot call
    anything else.

    Args:
        config: Names its class and gives its arguments.
        default: The class of a configuration that names none.
        arguments: Further ones.

    Raises:
        ConfigError: if the target is not trusted, does not exist, or does not take its arguments.
    """
    if default is not None and "_target_" not in config:
        config = OmegaConf.create({"_target_": default, **config})
    target = config.get("_target_", "")
    for named in (target, *_targets(config)):
        if not str(named).startswith(TRUSTED):
            raise ConfigError(
                f"_target_: {named!r} is not one of {', '.join(TRUSTED)}*: refusing to instantiate it."
            )
    try:
        return hydra.utils.instantiate(config, **arguments)
    except hydra.errors.InstantiationException as error:
        if isinstance(error.__cause__, ModuleNotFoundError) and "loggers" in target:
            extra = "wandb" if "Wandb" in target else "tensorboard"
            raise ConfigError(
                f"{target} needs a package that is not installed: pip install 'headrecon[{extra}]'"
            ) from error
        raise ConfigError(str(error)) from error


def _targets(config: Any) -> list[Any]:
    """All that a configuration names as targets, those of its parts included."""
    if isinstance(config, ListConfig):
        return [target for part in config for target in _targets(part)]
    if not isinstance(config, DictConfig):
        return []
    own = [config._target_] if "_target_" in config else []
    return own + [target for part in config.values() for target in _targets(part)]


def _run_folder(root: str, *, _root_: DictConfig) -> str:
    """`root`/<date>/<time>-<scene>-<method>, or the folder that is resumed."""
    if _root_.get("resume"):
        return str(_root_.resume)
    scene = re.sub(r"[^\w.-]+", "_", Path(str(_root_.scene)).name) or "scene"
    now = datetime.now()
    method = _root_.method.name if "method" in _root_ else "run"
    method += "-refined" if _root_.get("refine") else ""
    return str(Path(root) / f"{now:%Y-%m-%d}" / f"{now:%H-%M-%S}-{scene}-{method}")


def option_help(name: str) -> str:
    """The text of --help: every option of conf/<name>.yaml and of its groups' defaults, with the comment that
    stands beside it.
    """
    main = CONF / f"{name}.yaml"
    lines = [_first_comment(main), "", "Options (key=value):", *map(_help_line, options(main))]
    for package, (group, choice) in default_choices(main).items():
        choices = ", ".join(sorted(path.stem for path in (CONF / group).glob("*.yaml")))
        chosen = CONF / group / f"{choice}.yaml"
        lines += ["", f"{package}={choice}    (choices: {choices})", f"  {_first_comment(chosen)}"]
        lines += map(_help_line, all_options(chosen, f"{package}."))
    if name == "train":
        lines += [
            "",
            "Values by preset read cpu / gpu / paper. Hydra's own powers work: -m for sweeps (-m views=3,8 seed=0,1),",
            "--cfg job [--resolve] to see the configuration, hydra.run.dir=FOLDER for the run folder.",
            "Exit codes: 0 done, 1 bad input, 130 stopped by a signal.",
        ]
    return "\n".join(lines).replace("$", "$$")


def default_choices(main: Path) -> dict[str, tuple[str, str]]:
    """For each group that a configuration names, by its place in it: folder of conf/ and choice, those that the
    choice of another group overrides included (a method brings its prior).
    """
    found: dict[str, tuple[str, str]] = {}
    overridden: dict[str, str] = {}
    for entry in yaml.safe_load(main.read_text())["defaults"]:
        if isinstance(entry, dict):
            ((name, choice),) = entry.items()
            group, _, package = name.partition("@")
            found[package or group] = group, choice
            text = (CONF / group / f"{choice}.yaml").read_text()
            overridden |= dict(re.findall(r"^\s*- override /\w+@_global_\.(\w+): (\w+)", text, re.M))
    return {place: (group, overridden.get(place, choice)) for place, (group, choice) in found.items()}


def all_options(path: Path, prefix: str = "") -> list[tuple[str, str, str]]:
    """The options of a yaml file and of those of its folder that it builds on; the last word counts."""
    found: dict[str, tuple[str, str, str]] = {}
    for entry in yaml.safe_load(path.read_text()).get("defaults", []):
        if isinstance(entry, str) and entry != "_self_":
            found |= {option[0]: option for option in all_options(path.parent / f"{entry}.yaml", prefix)}
    return list((found | {option[0]: option for option in options(path, prefix)}).values())


def options(path: Path, prefix: str = "") -> list[tuple[str, str, str]]:
    """The options of a yaml file: full name, value as written, and the comment beside it; Hydra's own are
    left out.
    """
    found = []
    parents = [(-1, prefix)]
    for raw in path.read_text().splitlines():
        match = re.match(r"^(\s*)(?:- )?([A-Za-z_]\w*):(.*?)(?:\s+# (.*))?$", raw)
        if not match or raw.lstrip().startswith("#"):
            continue
        indent, key, value, comment = len(match[1]), match[2], match[3].strip(), match[4] or ""
        while parents[-1][0] >= indent:
            parents.pop()
        full = parents[-1][1] + key
        if not value:
            parents.append((indent, full + "."))
        if (
            not full.startswith(("hydra", "defaults"))
            and (value or comment)
            and (key != "_target_" or comment)
        ):
            found.append((full, value, comment))
    return found


def _help_line(option: tuple[str, str, str]) -> str:
    name, value, comment = option
    by_preset = re.fullmatch(r"\$\{by_preset:\{cpu:(.*?),gpu:(.*?),paper:(.*?)\}\}", value)
    shown = " / ".join(by_preset.groups()) if by_preset else value
    return f"  {f'{name}={shown}':<46} {comment}"


def _first_comment(path: Path) -> str:
    return path.read_text().splitlines()[0].lstrip("# ")
