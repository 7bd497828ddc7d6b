"""The training of network=portrait: checked, trained, measured on unseen people and written."""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from recon.errors import ConfigError, Interruption, PriorError
from recon.files import replacing
from recon.perception.portrait import PortraitNetwork, fast_on_cpu, save_network
from recon.run_folders import CHECKPOINT
from recon.systems.callbacks import CurveFile
from recon.systems.config import device_of
from recon.systems.pretraining.callbacks import AgreedCheckpoint, PriorProgress, fit
from recon.systems.pretraining.outputs import provenance
from recon.systems.pretraining.portrait.data import PortraitData, PortraitFolder
from recon.systems.pretraining.portrait.pictures import write_sheet
from recon.systems.pretraining.portrait.system import PortraitObjective, PortraitTrainingModule
from recon.systems.pretraining.portrait.validation import PortraitValidation, in_words, spread, validate
from recon.systems.pretraining.training import check_shares

log = logging.getLogger(__name__)

NOTICE = (
    "Trained on portraits of synthetic people made with the ICT-FaceKit Light head model, MIT License, Copyright (c) "
    "2020 USC Institute for Creative Technologies. Synthetic persons only: no scan or photograph of anybody."
)


@dataclass(frozen=True)
class PortraitTraining:
    """The training of network=portrait; a `recon.systems.pretraining.training.PriorTraining`.

    Attributes:
        name: What `network=` names on the command line.
    """

    name: str

    def check(self, cfg: DictConfig) -> None:
        """Refuse what cannot be run.

        Raises:
            ConfigError: With what to do.
        """
        settings = cfg.portrait
        if len(settings.widths) != len(settings.blocks):
            raise ConfigError(
                f"portrait.widths={list(settings.widths)} portrait.blocks={list(settings.blocks)}: expected as many "
                "of one as of the other"
            )
        unknown = sorted(set(settings.objective) - set(PortraitObjective.__dataclass_fields__))
        if unknown or not any(value > 0 for value in settings.objective.values()):
            raise ConfigError(
                f"portrait.objective={dict(settings.objective)}: weights of "
                f"{', '.join(PortraitObjective.__dataclass_fields__)}, of which one is above 0"
            )
        check_shares(cfg, {"portrait.batch_size": int(settings.batch_size)})

    def run(self, cfg: DictConfig, folder: Path, record: Callable[[], None]) -> None:
        """Train and write the network."""
        started = time.monotonic()
        if cfg.trainer.threads:
            torch.set_num_threads(int(cfg.trainer.threads))
        torch.set_flush_denormal(True)
        root = Path(cfg.data).expanduser()
        if not root.is_dir():
            raise PriorError(f"data={cfg.data}: there is no such folder")
        data, unseen = PortraitFolder(root, cfg.split), PortraitFolder(root, cfg.validation.split)
        system = make_system(cfg)
        if data.size % system.network.stride:
            raise PriorError(
                f"{root} has portraits of {data.size} pixels, which {system.network.stride} does not divide, as "
                f"portrait.widths={list(cfg.portrait.widths)} need"
            )
        log.info(
            "%d portraits of %d people, %d of %d unseen people; %d parameters",
            len(data), data.people, len(unseen), unseen.people,
            sum(p.numel() for p in system.network.parameters()),
        )  # fmt: skip
        record()
        last = train(cfg, folder, system, data, unseen)
        if last.stopped_by is not None:
            raise Interruption(last.stopped_by or signal.SIGINT)
        if system.trainer.is_global_zero:
            write(cfg, folder, system, data, unseen, {"train_s": last.train_s, "started": started})


def make_system(cfg: DictConfig) -> PortraitTrainingModule:
    """The network with its losses, before training."""
    settings = cfg.portrait
    torch.manual_seed(cfg.seed)
    network = PortraitNetwork(list(settings.widths), list(settings.blocks), int(settings.head_width))
    if device_of(cfg).type == "cpu":
        network = fast_on_cpu(network)
    return PortraitTrainingModule(
        network,
        PortraitObjective(**settings.objective),
        int(cfg.max_steps or settings.steps),
        settings.learning_rate,
        settings.weight_decay,
        settings.average,
    )


def train(
    cfg: DictConfig,
    folder: Path,
    system: PortraitTrainingModule,
    data: PortraitFolder,
    unseen: PortraitFolder,
) -> AgreedCheckpoint:
    """Train to the end, or to a signal, on from the checkpoint where there is one."""
    settings = cfg.trainer
    last = AgreedCheckpoint(folder / CHECKPOINT, settings.checkpoint_every)
    batches = PortraitData(data, int(cfg.portrait.batch_size), int(cfg.seed), int(cfg.portrait.loaders))
    callbacks = [
        PortraitCurve(folder / "metrics.csv", settings.log_every, last.seconds),
        PriorProgress(system.steps),
        PortraitValidation(
            folder, unseen, cfg.validation.every, cfg.portrait.validation_portraits, bool(cfg.pictures)
        ),
        last,
    ]
    fit(cfg, folder, system, system.steps, batches, last, callbacks)
    return last


class PortraitCurve(CurveFile):
    """Losses of a training in metrics.csv, written by the first process."""

    columns = (
        "step",
        "loss",
        *(f"loss_{name}" for name in PortraitObjective.__dataclass_fields__),
        "learning_rate",
        "train_s",
    )


def write(
    cfg: DictConfig,
    folder: Path,
    system: PortraitTrainingModule,
    data: PortraitFolder,
    unseen: PortraitFolder,
    times: Mapping[str, float],
) -> None:
    """Measure, and write portrait.safetensors, metrics.json with errors by group, and pictures."""
    network = system.averaged.to(device_of(cfg)).eval()
    indices = spread(unseen, int(cfg.portrait.final_portraits))
    errors = validate(network, unseen, indices)
    log.info("%d unseen portraits: %s", len(indices), in_words(errors["all"]))
    samples = system.steps * int(cfg.portrait.batch_size)
    about = {
        "what": "alpha, parts, normals, canonical coordinates, direction and depth of hair of portraits",
        "data": str(cfg.data),
        "people": data.people,
        "portraits": len(data),
        "samples": samples,
        "recipe": OmegaConf.to_container(
            OmegaConf.masked_copy(cfg, ["portrait", "seed", "max_steps", "split"])
        ),
        **provenance(cfg, times["train_s"]),
        "measured": errors["all"],
        "notice": NOTICE,
    }
    path = folder / "portrait.safetensors"
    save_network(path, network, about)
    metrics: dict[str, Any] = {
        "people": data.people,
        "portraits": len(data),
        "steps": system.steps,
        "samples": samples,
        "seed": cfg.seed,
        "train_s": round(times["train_s"], 2),
        "wall_s": round(time.monotonic() - times["started"], 2),
        "bytes": path.stat().st_size,
        "unseen": errors,
    }
    with replacing(folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n")
    if cfg.pictures:
        write_sheet(folder / "pictures" / "unseen.png", network, unseen, indices, rows=16)
    log.info("wrote %s (%.1f MB)", path, path.stat().st_size / 1e6)
