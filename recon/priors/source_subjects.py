"""Source subjects: trained subjects whose networks another subject may start from, in files or run folders."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from torch import Tensor, nn

from recon.errors import PriorError
from recon.plain_yaml import plain_yaml
from recon.priors.tensor_files import TensorFile, read_tensors, write_file
from recon.registry import Kind, named_class, subclass_of

FORMAT = "headrecon-source-subject-1"
PARTS = ("sdf", "colour")
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
NETWORK = Kind("network", "recon.fields", subclass_of(nn.Module))


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
        networks = {part: _make(self.name, part, self.fields.get(part, {})) for part in PARTS}
        for part, network in networks.items():
            try:
                network.load_state_dict(self.state(part))
            except RuntimeError as error:
                raise PriorError(
                    f"source subject {self.name}: its weights are not those of "
                    f"{self.fields[part]['_target_']} with the "
                    f"arguments that stand beside them; a source subject is trained by method=idr or "
                    f"baseh3dnet. {error}"
                ) from error
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
    source_subject.networks()
    broken = [name for name, value in source_subject.weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise PriorError(
            f"{path}: {broken[0]} holds numbers that are not finite; the source subject cannot be used"
        )
    return source_subject


def _read(path: Path) -> SourceSubject:
    if not path.is_file():
        raise PriorError(
            f"the source subject {path} does not exist; make one with "
            "`headrecon-export-source-subject run=RUNFOLDER out=FILE`"
        )
    try:
        content = read_tensors(path)
        if content.metadata.get("format") != FORMAT:
            raise PriorError(f"{path} has format {content.metadata.get('format')!r}, expected {FORMAT!r}")
        fields, about = json.loads(content.metadata["fields"]), json.loads(content.metadata["about"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise PriorError(f"{path} cannot be read as a source subject of this project: {error}") from error
    weights = {name: value for name, value in content.tensors.items() if not name.startswith("adam.")}
    adam: dict[str, dict[str, Tensor]] = {}
    for full, value in content.tensors.items():
        if full.startswith("adam."):
            _, moment, name = full.split(".", 2)
            adam.setdefault(name, {})[moment] = value
    return SourceSubject(path.stem, fields, weights, adam or None, about)


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
    try:
        config = yaml.safe_load(plain_yaml(configured, PriorError))
        checkpoint = torch.load(saved, map_location="cpu", weights_only=True)
        weights = {
            name: value
            for name, value in checkpoint["state_dict"].items()
            if name.startswith(tuple(f"{part}." for part in PARTS))
        }
        fields = {part: config["field"][part] for part in PARTS}
        about = _about(folder, config, checkpoint["global_step"])
        optimizer = checkpoint["optimizer_states"][0]
    except PriorError:
        raise
    except Exception as error:  # torch.load raises whatever a broken file makes it
        raise PriorError(f"{folder} cannot be read as a run of this project: {error!r}") from error
    source_subject = SourceSubject(folder.name, fields, weights, None, about)
    adam = _adam_by_name(source_subject, optimizer)
    return SourceSubject(source_subject.name, fields, weights, adam or None, about)


def _about(folder: Path, config: Mapping[str, Any], step: int) -> dict[str, Any]:
    """Facts about the training of a run, from its files."""
    views = config["views"]
    scene = str(config["scene"])
    if (folder / "metrics.json").is_file():
        metrics = json.loads((folder / "metrics.json").read_text())
        scene, views = metrics["scene"], metrics["views"]
    method = config["method"]
    count = views if isinstance(views, int) else len(views)
    steps = config["steps"] or method["steps"] + method["steps_per_view"] * count
    offset = config.get("prior", {}).get("schedule_offset") or 0.0
    return {
        "scene": scene,
        "views": views,
        "method": method["name"],
        "seed": config["seed"],
        "steps": step,
        "progress": offset + step / steps,
    }


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
    numbers = [number for group in optimizer["param_groups"] for number in group["params"]]
    found = {}
    for name, number in zip(names, numbers, strict=False):
        state = optimizer["state"].get(number)
        if state is None:  # it never had a gradient
            continue
        if state["exp_avg"].shape != source_subject.weights[name].shape:
            raise PriorError(
                f"source subject {source_subject.name}: Adam's state number {number} has shape "
                f"{tuple(state['exp_avg'].shape)}, but "
                f"{name} has {tuple(source_subject.weights[name].shape)}; a source subject is trained by "
                f"method=idr or baseh3dnet"
            )
        found[name] = {moment: torch.as_tensor(state[moment]) for moment in MOMENTS}
    return found


def _make(source_subject: str, part: str, config: Mapping[str, Any]) -> nn.Module:
    """Makes a network of `recon.fields`, and nothing else: the file of a source subject may come from anywhere."""
    target = config.get("_target_", "") if isinstance(config, Mapping) else config
    made = named_class(target, [NETWORK])
    if made is None:
        raise PriorError(
            f"source subject {source_subject}: its {part} network is {str(target)[:200] or 'not described'}, "
            "expected one of recon.fields"
        )
    try:
        return made(**{name: value for name, value in config.items() if name != "_target_"})
    except (TypeError, ValueError) as error:
        raise PriorError(f"source subject {source_subject}: {target} cannot be made: {error}") from error


def sizes(state: Mapping[str, Tensor]) -> Sequence[str]:
    """Inputs and outputs of a network's linear layers, for messages."""
    return [
        f"{value.shape[1]}→{value.shape[0]}"
        for name, value in state.items()
        if value.ndim == 2 and not name.endswith("weight.original0")
    ]
