"""Names of before: options, choices and classes that have another name now, so that old commands and runs go on.

One table each. Everything that is renamed in `conf/` gets an entry here; a name that went away for good gets none, so
that using it is an error that Hydra names.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)

PCA_PRIOR_OPTIONS: Mapping[str, str] = {
    "outside_mm": "out_of_distribution_mm",
    "learned": "residual",
    "residual_settings": "sdf_offset_settings",
    "solver.likeness": "solver.brightness",
    "solver.likeness_blurs_px": "solver.brightness_blurs_px",
    "solver.likeness_count": "solver.brightness_count",
    "solver.mark_sigma_mm": "solver.face_point_sigma_mm",
}
"""Options of the PCA prior, which stand below each of `PCA_PRIORS`."""
PCA_PRIORS = ("prior", "init.pca")

OPTIONS: Mapping[str, str] = {
    "init.linear": "init.pca",
    **{f"{place}.{old}": f"{place}.{new}" for place in PCA_PRIORS for old, new in PCA_PRIOR_OPTIONS.items()},
    "method.outside": "fallback",
    "method.fallback": "fallback",
    "prior.donor": "prior.source_subject",
    "prior.donors_folder": "prior.source_subjects_folder",
    "init.regression.lesson_points": "init.regression.sample_points",
    "renderer.pace": "renderer.refresh_interval",
    "renderer.every": "renderer.longest_refresh_interval",
    "renderer.whole_every": "renderer.full_refresh_every",
    "renderer.coarse_backward": "renderer.bf16_backward",
}
"""Options of train.py: the name of before and the present one; options below a renamed one move with it."""

COMMAND_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "evaluate": {"hidden": "include_occluded", "method": "method_name"},
    "pretrain": {
        "kind": "pretraining@training",
        "linear.likeness_components": "pca.brightness_components",
        "linear": "pca",
    },
}
"""Options of other commands, by the name of their file in conf/."""

OFFSET_VALUES = ("auto", "true", "false")
"""What `prior.residual` could be when it was the offset of the fitted signed distances, now `prior.sdf_offset`."""

CHOICES: Mapping[tuple[str, str], str] = {
    ("prior", "linear"): "pca",
    ("prior@init.pca", "linear"): "pca",
    ("pretraining@training", "linear"): "pca",
    ("size.network.kind", "linear"): "feature_grid",
    ("size.network.kind", "deepsdf"): "mlp",
    ("fallback", "null"): "ask",
    ("fallback", "None"): "ask",
    ("start", "linear-synth-v1"): "pca-synth-v1",
    ("start", "linear-synth-v1+deepsdf-synth-v1"): "pca-synth-v1+deepsdf-synth-v1",
    ("start", "linear-synth-v1+sphere"): "pca-synth-v1+sphere",
}
"""Choices: option and the value of before, and the present value."""

TARGETS: Mapping[str, str] = {
    "recon.priors.LinearPrior": "recon.priors.PCAPrior",
}
"""Classes that configurations of before name."""


def present_arguments(arguments: Sequence[str], command: str = "train") -> list[str]:
    """A command line with present names in place of those of before; one warning names all of them.

    Args:
        arguments: As typed.
        command: Name of the command's file in conf/.
    """
    found: dict[str, str] = {}
    options = OPTIONS if command == "train" else COMMAND_OPTIONS.get(command, {})
    present = [_present_override(argument, options, found) for argument in arguments]
    _warn("the command line", found)
    return present


def present_config(config: DictConfig, source: str) -> DictConfig:
    """A stored configuration with present names in place of those of before; one warning names all of them.

    Args:
        config: As it was stored; it is not changed.
        source: What it was read from, for the warning.
    """
    found: dict[str, str] = {}
    moved: dict[str, Any] = {}
    content = _present_tree(OmegaConf.to_container(config, resolve=False), "", found, moved)
    if not found:
        return config
    _warn(source, found)
    renamed = OmegaConf.create(content)
    assert isinstance(renamed, DictConfig)
    for option, value in moved.items():
        OmegaConf.update(renamed, option, value, force_add=True)
    return renamed


def _present_override(argument: str, options: Mapping[str, str], found: dict[str, str]) -> str:
    """One `key=value` of a command line, `+key=value` and `~key` included."""
    match = re.fullmatch(r"(\+{0,2}|~)([A-Za-z_][\w./@]*)(=.*)?", argument, re.DOTALL)
    if match is None:
        return argument
    prefix, key, rest = match[1], match[2], match[3] or ""
    present = _present_key(key, rest.removeprefix("="), options)
    if rest:
        values = [CHOICES.get((present, value), value) for value in rest[1:].split(",")]
        rest = "=" + ",".join(values)
    result = prefix + present + rest
    if result != argument:
        found[argument] = result
    return result


def _present_key(key: str, value: Any, options: Mapping[str, str] = OPTIONS) -> str:
    """The present name of an option, with those of its parents."""
    before = None
    while before != key:
        before = key
        for old, new in options.items():
            if key == old or key.startswith(old + "."):
                key = new + key.removeprefix(old)
    offset = str(value).lower() in OFFSET_VALUES
    if offset and key in [f"{place}.residual" for place in PCA_PRIORS]:
        return key.replace("residual", "sdf_offset")
    return key


def _present_tree(node: Any, path: str, found: dict[str, str], moved: dict[str, Any]) -> Any:
    """A plain configuration tree with present names; options that now stand elsewhere go to `moved`."""
    if isinstance(node, list):
        return [_present_tree(item, path, found, moved) for item in node]
    if not isinstance(node, dict):
        if path.endswith("_target_") and node in TARGETS:
            found[str(node)] = TARGETS[node]
            return TARGETS[node]
        if (choice := CHOICES.get((path, str(node)))) is not None:
            found[f"{path}={node}"] = f"{path}={choice}"
            return choice
        return node
    renamed: dict[str, Any] = {}
    # What `residual` was is settled before `learned` takes its name.
    for name in sorted(node, key=lambda each: each == "learned"):
        full = f"{path}.{name}" if path else str(name)
        present = _present_key(full, node[name])
        if present != full:
            found[full] = present
        parent, _, last = present.rpartition(".")
        value = _present_tree(node[name], present, found, moved)
        if parent == path:
            renamed[last] = value
        else:
            moved[present] = value
    return renamed


def _warn(source: str, found: Mapping[str, str]) -> None:
    if found:
        listed = "; ".join(f"{old} is {new} now" for old, new in found.items())
        log.warning("%s has names of before: %s", source, listed)


__all__ = ["CHOICES", "OPTIONS", "TARGETS", "present_arguments", "present_config"]
