"""Text of --help: every option of a command with the value that this very command line gives it, and its comment in
conf/. Free of torch, so that it is there at once.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recon.errors import ConfigError
from recon.resources import CONF
from recon.systems.resolvers import preset_of, refined, register_resolvers

COLUMN = 46
"""Where comments begin."""
TRAIN_NOTES = (
    "In brackets: what the presets cpu / gpu / paper give. Hydra's own powers work: -m for sweeps (-m views=3,8",
    "seed=0,1), --cfg job [--resolve] to see the configuration, hydra.run.dir=FOLDER for the run folder.",
)
EXIT_CODES = "Exit codes: 0 done, 1 bad input, 130 stopped by a signal."


class Option(NamedTuple):
    """An option of a yaml file: full name, value as written there, and the comment beside it."""

    name: str
    value: str
    comment: str


def option_help(name: str, overrides: Sequence[str] = ()) -> str:
    """The text of --help.

    Args:
        name: of the command's file in conf/.
        overrides: options on the command line; the values shown are those that it resolves to.

    Raises:
        ConfigError: an override names an unknown option, group or preset.
    """
    main = CONF / f"{name}.yaml"
    cfg = _composed(name, overrides)
    lines = [_first_comment(main), "", "Options (key=value), with the values of this command line:"]
    if "preset" in cfg and "trainer" in cfg:
        lines[-1] = lines[-1].replace(":", f" (preset {preset_of(cfg)}):")
    if cfg.get("resume"):
        lines[-1:] = [f"A resumed run keeps the options of {cfg.resume}; these are those of a new run:"]
    lines += [_help_line(option, cfg) for option in options(main)]
    for package, group, choice in _chosen(main, cfg):
        choices = ", ".join(sorted(path.stem for path in (CONF / group).glob("*.yaml")))
        chosen = CONF / group / f"{choice}.yaml"
        lines += ["", f"{package}={choice}    (choices: {choices})", f"  {_first_comment(chosen)}"]
        lines += [_help_line(option, cfg) for option in all_options(chosen, f"{package}.")]
    return "\n".join([*lines, "", *(TRAIN_NOTES if name == "train" else ()), EXIT_CODES])


def _composed(name: str, overrides: Sequence[str]) -> DictConfig:
    """The configuration of a command line, Hydra's own node included; with refine=true that of the refined method.

    Raises:
        ConfigError: as Hydra puts it, on one line.
    """
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            cfg = compose(name, overrides=list(overrides), return_hydra_config=True)
            if cfg.get("refine") and cfg.method.get("refined"):
                again = refined(cfg.method.refined, overrides)
                cfg = compose(name, overrides=again, return_hydra_config=True)
        except HydraException as error:
            raise ConfigError(_on_one_line(error)) from error
    return cfg


def _on_one_line(error: HydraException) -> str:
    text = str(error).partition("\nConfig search path")[0]
    if "is not in struct" in str(error.__cause__) and (unknown := re.search(r"override '(.+?)'", text)):
        return f"{unknown[1]}: there is no such option; --help alone lists those that there are"
    if missing := re.search(r"Could not find '(.+)/(.+?)'.*?:\n(.+)", text, re.S):
        return f"{missing[1]}={missing[2]}: there is no such choice; choose {', '.join(missing[3].split())}"
    return " ".join(text.split())


def _chosen(main: Path, cfg: DictConfig) -> list[tuple[str, str, str]]:
    """Place in the configuration, folder of conf/ and choice of each group, in the order of the main file; groups
    that a choice brings along follow it.
    """
    found = []
    for key, choice in cfg.hydra.runtime.choices.items():
        group, _, package = str(key).partition("@")
        if choice is not None and not group.startswith("hydra/"):
            found.append((package or group, group, str(choice)))
    order = [next(iter(e)).rpartition("@")[2] for e in _defaults(main) if isinstance(e, dict)]
    return sorted(found, key=lambda entry: (order.index(entry[0].split(".")[0]), entry[0]))


def _defaults(path: Path) -> list[Any]:
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("defaults", [])


def all_options(path: Path, prefix: str = "") -> list[Option]:
    """The options of a yaml file and of those of its folder that it builds on; the last word counts."""
    found: dict[str, Option] = {}
    for entry in _defaults(path):
        if isinstance(entry, str) and entry != "_self_":
            found |= {option.name: option for option in all_options(path.parent / f"{entry}.yaml", prefix)}
    return list((found | {option.name: option for option in options(path, prefix)}).values())


def options(path: Path, prefix: str = "") -> list[Option]:
    """The options of a yaml file with a value or a comment; Hydra's own are left out."""
    return list(_options(path, prefix))


def _options(path: Path, prefix: str) -> Iterator[Option]:
    parents = [(-1, prefix)]
    for raw in path.read_text(encoding="utf-8").splitlines():
        match = re.match(r"^(\s*)(?:- )?([A-Za-z_]\w*):(.*?)(?:\s+# (.*))?$", raw)
        if not match or raw.lstrip().startswith("#"):
            continue
        indent, key, value, comment = len(match[1]), match[2], match[3].strip(), match[4] or ""
        while parents[-1][0] >= indent:
            parents.pop()
        full = parents[-1][1] + key
        if not value:
            parents.append((indent, full + "."))
        hidden = full.startswith(("hydra", "defaults")) or (key == "_target_" and not comment)
        if not hidden and (value or comment):
            yield Option(full, value, comment)


def _help_line(option: Option, cfg: DictConfig) -> str:
    """Name, value in `cfg`, and comment, with the values of all presets where they differ."""
    comment = option.comment
    by_preset = re.fullmatch(r"\$\{by_preset:\{cpu:(.*?),gpu:(.*?),paper:(.*?)\}\}", option.value)
    if by_preset and len(set(by_preset.groups())) > 1:
        comment += f" [{' / '.join(by_preset.groups())}]"
    return f"  {option.name + ('=' if option.value else '.') + _value(option, cfg):<{COLUMN}} {comment}"


def _value(option: Option, cfg: DictConfig) -> str:
    """The value of an option in `cfg`, in the words of its yaml where it is the same; as written where only a run
    knows it.
    """
    try:
        value = OmegaConf.select(cfg, option.name)
        if OmegaConf.is_config(value):
            value = OmegaConf.to_container(value, resolve=True)
        written = OmegaConf.create(f"value: {option.value}")
        same = "${" not in option.value and OmegaConf.to_container(written) == {"value": value}
    except OmegaConfBaseException:
        return option.value
    if same or not option.value or (option.value == "???" and value is None):
        return option.value
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("\n...\n").strip()


def _first_comment(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
