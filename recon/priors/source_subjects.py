"""Source subjects: trained subjects whose networks another subject may start from, in files or run folders."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from recon.errors import PriorError
from recon.fields.stored import Shapes, check_finite, made_to_fit, shapes_of
from recon.plain_yaml import plain_yaml
from recon.priors.tensor_files import TensorFile, read_tensors, write_file
from recon.reading import (
    cause,
    check_archive,
    integer,
    listed,
    missing_or_no_file,
    number,
    numbers,
    read_json,
    reading,
    shortened,
    table,
    text,
)
from recon.registry import Kind, named_class, subclass_of

FORMAT = "headrecon-source-subject-1"
PARTS = ("sdf", "colour")
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
NETWORK = Kind("network", "recon.fields", subclass_of(nn.Module))


def _views(value: Any, name: str) -> None:
    """Check a number or list of views."""
    for view in listed(value, name, 100_000) if isinstance(value, list | tuple) else [value]:
        integer(view, name)


FACTS: Mapping[str, Callable[[Any, str], Any]] = {
    "scene": text,
    "method": text,
    "views": _views,
    "seed": integer,
    "steps": integer,
    "progress": number,
    "world_from_unit": lambda value, name: numbers(value, (4, 4), name),
}
"""Checks of facts about a source subject by their names."""


@dataclass(frozen=True)
class SourceSubject:
    """A trained subject: both networks of IDR, and optionally the state of Adam that belongs to them.

    Attributes:
        name: Name of the file or run folder that it was read from.
        fields: Configuration of each network of `PARTS`: its class as `_target_`, and the arguments.
        weights: State of both networks, `sdf.…` and `colour.…`.
        adam: `MOMENTS` by parameter name, or None.
        about: Further facts, all optional: `scene`, `views`, `method`, `seed`, `steps` trained,
            `progress` (fraction of its schedules that is done), `world_from_unit` (4x4, mm) and `licence`.
    """

    name: str
    fields: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, Tensor]
    adam: Mapping[str, Mapping[str, Tensor]] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def networks(self) -> dict[str, nn.Module]:
        """The source subject's own networks, made as they were and with its weights.

        Raises:
            PriorError: The configuration makes no network of this project, or one that the weights do not fit.
        """
        networks = {}
        for part in PARTS:
            state = self.state(part)
            networks[part] = _make(self.name, part, self.fields.get(part, {}), shapes_of(state))
            networks[part].load_state_dict(state)
        return networks

    def state(self, part: str) -> dict[str, Tensor]:
        """The weights of one part, by the names that the network itself gives them."""
        prefix = f"{part}."
        return {
            name.removeprefix(prefix): value
            for name, value in self.weights.items()
            if name.startswith(prefix)
        }


def save_source_subject(path: str | Path, source_subject: SourceSubject) -> str:
    """Writes a source subject as safetensors, bit for bit; returns the SHA-256 of the file."""
    tensors = {name: value.detach().cpu().clone() for name, value in source_subject.weights.items()}
    for name, state in (source_subject.adam or {}).items():
        tensors |= {f"adam.{moment}.{name}": state[moment].detach().cpu().clone() for moment in MOMENTS}
    metadata = {
        "format": FORMAT,
        "fields": json.dumps(source_subject.fields),
        "about": json.dumps(source_subject.about),
    }
    return write_file(Path(path), TensorFile(metadata, tensors))


def load_source_subject(path: str | Path) -> SourceSubject:
    """Reads a source subject: a file that `save_source_subject` wrote, or the folder of a run of method idr or
    baseh3dnet.

    Raises:
        PriorError: There is no such file or folder, it is not a source subject, or its weights do not fit its networks.
    """
    path = Path(path)
    source_subject = source_subject_of_run(path) if path.is_dir() else _read(path)
    whence = path / "checkpoints" / "last.ckpt" if path.is_dir() else path
    try:
        source_subject.networks()
    except PriorError as error:
        raise PriorError(f"{whence}: {error}") from error
    with reading(whence, PriorError, "a source subject of this project"):
        check_finite(source_subject.weights)
        for state in (source_subject.adam or {}).values():
            check_finite(state)
    return source_subject


def _read(path: Path) -> SourceSubject:
    if not path.is_file():
        raise PriorError(
            f"the source subject {path} {missing_or_no_file(path)}; make one with "
            "`headrecon-export-source-subject run=RUNFOLDER out=FILE`"
        )
    with reading(path, PriorError, "a source subject of this project"):
        content = read_tensors(path)
        if content.metadata.get("format") != FORMAT:
            raise PriorError(
                f"{path} has format {shortened(content.metadata.get('format'), 60)!r}, expected {FORMAT!r}"
            )
        fields = table(json.loads(content.metadata["fields"]), "fields")
        fields = {part: table(config, shortened(part, 40)) for part, config in fields.items()}
        about = _checked_facts(json.loads(content.metadata["about"]))
        weights = {name: value for name, value in content.tensors.items() if not name.startswith("adam.")}
        adam: dict[str, dict[str, Tensor]] = {}
        for full, value in content.tensors.items():
            if full.startswith("adam."):
                _, moment, name = full.split(".", 2)
                adam.setdefault(name, {})[moment] = value
        _check_adam(adam, weights)
    return SourceSubject(path.stem, fields, weights, adam or None, about)


def _check_adam(adam: Mapping[str, Mapping[str, Tensor]], weights: Mapping[str, Tensor]) -> None:
    """Check that Adam's state is that of some weights.

    Raises:
        ValueError: It is not.
    """
    for name, state in adam.items():
        shapes = {moment: tuple(state[moment].shape) for moment in MOMENTS if moment in state}
        own = tuple(weights[name].shape) if name in weights else None
        if shapes != {"step": (), "exp_avg": own, "exp_avg_sq": own} or len(state) != len(MOMENTS):
            raise ValueError(f"Adam's state of {shortened(name, 60)} does not fit it")


def _checked_facts(about: Any) -> dict[str, Any]:
    """Facts about a source subject as a file has them, see `SourceSubject.about`.

    Raises:
        ValueError: One has another form.
    """
    facts = table(about, "about")
    for name, check in FACTS.items():
        if facts.get(name) is not None:
            check(facts[name], name)
    return facts


def source_subject_of_run(folder: str | Path) -> SourceSubject:
    """The source subject that a run folder holds: weights and Adam's state of checkpoints/last.ckpt, networks as
    config.yaml describes them. A run that was stopped halfway will do.

    Raises:
        PriorError: The folder lacks either file, they cannot be read, or its field is not IDR's.
    """
    folder = Path(folder).resolve()
    configured, saved = folder / "config.yaml", folder / "checkpoints" / "last.ckpt"
    for path in (configured, saved):
        if not path.is_file():
            raise PriorError(
                f"there is no {path}: a source subject is the folder of a run that has saved a checkpoint, such as "
                "runs/2026-11-20/18-10-13-demo-idr, or a file of headrecon-export-source-subject"
            )
    with reading(configured, PriorError, "the configuration of a run"):
        config = table(yaml.safe_load(plain_yaml(configured, PriorError)))
        fields = {part: table(config["field"][part], f"field.{part}") for part in PARTS}
    with reading(saved, PriorError, "the checkpoint of a run"):
        check_archive(saved)
        checkpoint = torch.load(saved, map_location="cpu", weights_only=True)
        weights = {
            name: value
            for name, value in table(checkpoint["state_dict"], "state_dict").items()
            if name.startswith(tuple(f"{part}." for part in PARTS)) and isinstance(value, Tensor)
        }
        step = integer(checkpoint["global_step"], "global_step")
        optimizer = table(checkpoint["optimizer_states"][0], "optimizer_states")
    facts = _about(folder, config, step)
    source_subject = SourceSubject(folder.name, fields, weights, None, facts)
    try:
        with reading(saved, PriorError, "the checkpoint of a run"):
            adam = _adam_by_name(source_subject, optimizer)
    except PriorError as error:
        raise PriorError(f"{saved}: {str(error).removeprefix(f'{saved} ')}") from error
    return SourceSubject(source_subject.name, fields, weights, adam or None, facts)


def _about(folder: Path, config: Mapping[str, Any], step: int) -> dict[str, Any]:
    """Facts about the training of a run, from its files."""
    facts = {name: config.get(name) for name in ("scene", "views", "seed")}
    file = folder / "metrics.json"
    if file.is_file():
        with reading(file, PriorError, "the metrics of a run"):
            metrics = table(read_json(file))
            facts |= _checked_facts({name: metrics[name] for name in ("scene", "views")})
    with reading(folder / "config.yaml", PriorError, "the configuration of a run"):
        method, views = table(config["method"], "method"), facts["views"]
        count = len(views) if isinstance(views, list) else integer(views, "views")
        steps = config["steps"] or number(method["steps"], "steps") + count * number(
            method["steps_per_view"], "steps_per_view"
        )
        offset = (config.get("prior") or {}).get("schedule_offset") or 0.0
        facts |= {"scene": str(facts["scene"]), "method": method["name"], "steps": step}
        progress = number(offset, "schedule_offset") + step / number(steps, "steps", positive=True)
        return _checked_facts({**facts, "progress": progress})


def _adam_by_name(
    source_subject: SourceSubject, optimizer: Mapping[str, Any]
) -> dict[str, dict[str, Tensor]]:
    """Adam's state by parameter name; the checkpoint numbers parameters: those of the geometry, then of the
    rendering network, then others.
    """
    names = [
        f"{part}.{name}"
        for part, network in source_subject.networks().items()
        for name, _ in network.named_parameters()
    ]
    places = [place for group in optimizer["param_groups"] for place in group["params"]]
    found = {}
    for name, place in zip(names, places, strict=False):
        state = optimizer["state"].get(place)
        if state is None:  # it never had a gradient
            continue
        if state["exp_avg"].shape != source_subject.weights[name].shape:
            raise PriorError(
                f"source subject {source_subject.name}: Adam's state number {place} has shape "
                f"{tuple(state['exp_avg'].shape)}, but "
                f"{name} has {tuple(source_subject.weights[name].shape)}; a source subject is trained by "
                f"method=idr or baseh3dnet"
            )
        found[name] = {moment: torch.as_tensor(state[moment]) for moment in MOMENTS}
    return found


def _make(source_subject: str, part: str, config: Any, shapes: Shapes) -> nn.Module:
    """Makes a network of `recon.fields` for weights, and nothing else: a source subject may come from anywhere."""
    if not isinstance(config, Mapping):
        config = {}
    target = config.get("_target_", "")
    made = named_class(target, [NETWORK])
    if made is None:
        raise PriorError(
            f"source subject {source_subject}: its {part} network is {str(target)[:200] or 'not described'}, "
            "expected one of recon.fields"
        )
    arguments = {name: value for name, value in config.items() if name != "_target_"}
    try:
        return made_to_fit(made, arguments, shapes)
    except Exception as error:  # arguments of any kind end in any exception
        raise PriorError(
            f"source subject {source_subject}: its weights are not those of {target} with the arguments that stand "
            f"beside them ({cause(error)}); a source subject is trained by method=idr or baseh3dnet"
        ) from error


def sizes(state: Mapping[str, Tensor]) -> Sequence[str]:
    """Inputs and outputs of a network's linear layers, for messages."""
    return [
        f"{value.shape[1]}→{value.shape[0]}"
        for name, value in state.items()
        if value.ndim == 2 and not name.endswith("weight.original0")
    ]
