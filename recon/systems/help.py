"""What is said of options: the text of --help, which has every option of a command with the value that this very
command line gives it, and the line for a command line that Hydra refuses. Free of torch, so that it is there at once.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recon.errors import ConfigError, ReconError
from recon.resources import CONF
from recon.systems.resolvers import preset_of, refined, register_resolvers

COLUMN = 46
"""Where comments begin."""
TRAIN_NOTES = (
    "In brackets: what the presets cpu / gpu / paper give. Hydra's own powers work: -m for sweeps (-m views=3,8",
    "seed=0,1), --cfg job [--resolve] to see the configuration, hydra.run.dir=FOLDER for the run folder.",
)
GROUP_NAMES = {
    "pretrain": {
        "network": "pretraining@training",
        "prior": "pretraining@training",
        "size": "prior_size@size",
    }
}
"""Options of a command that Hydra knows by another name: what `prior=` (or `network=`) and `size=` name in
pretrain.yaml are the groups conf/pretraining and conf/prior_size.
"""
EXIT_CODES = (
    "Exit codes: 0 done, 1 bad input or a disk that cannot be written, 130 stopped by Ctrl-C, 143 by SIGTERM."
)


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
        except Exception as error:
            if (line := refusal(error, name, overrides)) is None:
                raise
            raise ConfigError(line) from error
    return cfg


def refusal(error: BaseException, name: str, arguments: Sequence[str]) -> str | None:
    """One line that says what is wrong with a command line: which option or choice there is not, and what there is.

    Args:
        error: What came out of Hydra.
        name: Of the command's file in conf/.
        arguments: The command line, in Hydra's terms.

    Returns:
        None where the error is not the command line's.
    """
    link: BaseException | None = error
    while link is not None:  # a resolver's error comes wrapped into one of OmegaConf
        if isinstance(link, ReconError):
            return str(link)
        link = link.__cause__ or (link.__context__ if isinstance(link, OmegaConfBaseException) else None)
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        return _unknown_choice(error.missing_cfg_file, error.options, name, arguments)
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override, text)
    if unknown := re.match(
        r"Could not override '(.+?)'|Override (.+?)= ?\S* looks like a config group", text
    ):
        return _unknown_option(unknown[1] or unknown[2], name)
    if isinstance(error, HydraException) or text.startswith("Config group override"):
        return f"{' '.join(arguments)}: {' '.join(text.split())}"
    return None


def _unknown_choice(missing: str, choices: Sequence[str], name: str, arguments: Sequence[str]) -> str:
    """Names a choice that a group has not, as it was typed, and those that it has.

    Args:
        missing: The file that Hydra looked for, without its ending: `method/instnt`.
        choices: Of the group.
        name: Of the command's file in conf/.
        arguments: The command line, in Hydra's terms.
    """
    group, _, choice = missing.rpartition("/")
    keys = [
        key.lstrip("+")
        for key, _, values in (each.partition("=") for each in arguments)
        if choice in values.split(",")
    ]
    key = keys[-1] if keys else group
    typed = {hydras: ours for ours, hydras in GROUP_NAMES.get(name, {}).items()}.get(key, key)
    return f"{typed}={choice}: there is no such choice; choose {', '.join(sorted(choices))}"


def _unreadable(argument: str, text: str) -> str:
    """Says of an argument that Hydra's grammar does not take what it should look like."""
    key, equals, value = argument.partition("=")
    if not equals:
        return f"{argument}: options are key=value, such as scene={argument}"
    reason = next((line for line in text.splitlines() if not line.startswith("Error parsing")), "")
    return (
        f"{argument}: the value of {key}= cannot be read ({reason.strip()}); a text with brackets, commas, quotes or "
        f"equals signs is written in two pairs of quotes: \"{key}='{value}'\""
    )


def _unknown_option(option: str, name: str) -> str:
    """Names an option that there is not, and which come near; or the choices that it belongs to."""
    known = _known_options(name)
    if choices := known.get(option):
        return f"{option}: an option of {', '.join(choices)} alone"
    near = {each: max(_likeness(option, each), _likeness(option, each.rpartition(".")[2])) for each in known}
    nearest = [each for each in sorted(near, key=lambda each: -near[each])[:3] if near[each] > 0.65]
    hint = f"the nearest: {', '.join(nearest)}" if nearest else "--help alone lists those that there are"
    return f"{option}: there is no such option; {hint}"


def _likeness(one: str, other: str) -> float:
    """How much of two names is the same, from 0 to 1."""
    return difflib.SequenceMatcher(None, one, other).ratio()


def _known_options(name: str) -> Mapping[str, Sequence[str]]:
    """All options of a command, and for those that not every command line has the choices that bring them."""
    main = CONF / f"{name}.yaml"
    known: dict[str, list[str]] = {option.name: [] for option in options(main)}
    for package, path in _choices(main):
        known[package] = []
        for option in all_options(path, f"{package}."):
            known.setdefault(option.name, []).append(f"{package}={path.stem}")
    return known


def comment_of(option: str, name: str) -> str:
    """What conf/ says of an option of a command, or of a choice that its groups have."""
    main = CONF / f"{name}.yaml"
    own = {each.name: each.comment for each in options(main)}
    if option in own:
        return own[option]
    for package, path in _choices(main):
        for each in all_options(path, f"{package}."):
            if each.name == option and each.comment:
                return each.comment
    return "an option without a default"


def _choices(main: Path) -> Iterator[tuple[str, Path]]:
    """Place in the configuration and file of every choice of the groups that a main file names."""
    for entry in _defaults(main):
        for key in entry if isinstance(entry, dict) else ():
            group, _, package = str(key).partition("@")
            for path in sorted((CONF / group).glob("*.yaml")):
                yield package or group, path


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
