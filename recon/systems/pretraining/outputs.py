"""The results of a finished pretraining: prior.safetensors, metrics.json, pictures."""

import json
import logging
import platform
import shlex
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from recon.files import replacing
from recon.priors import ShapePrior, save_shape_prior
from recon.priors.data.dataset import SampleFolder
from recon.systems.config import device_of
from recon.systems.pretraining.meshes import official_errors, point_errors
from recon.systems.pretraining.pictures import write_pictures
from recon.systems.pretraining.run import PriorTask
from recon.systems.pretraining.validation import field_errors, in_words

log = logging.getLogger(__name__)

HEAD_MODEL_NOTICE = (
    "Trained on synthetic heads made with the ICT-FaceKit Light head model, MIT License, Copyright (c) 2020 "
    "USC Institute for Creative Technologies. Synthetic persons only: no scan or photograph of anybody."
)


def provenance(cfg: DictConfig, train_s: float) -> dict[str, Any]:
    """By what command, where, when and in how many seconds something was trained by gradient descent."""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "hardware": f"{platform.machine()}, {device_of(cfg)}, {cfg.trainer.devices} process(es)",
        "software": f"torch {torch.__version__}, python {platform.python_version()}",
        "date": datetime.now().date().isoformat(),
        "train_s": round(train_s),
    }


def trained(task: PriorTask, measured: Mapping[str, Any]) -> ShapePrior:
    """The shape model as it is saved, with the facts of its making."""
    cfg = task.cfg
    about = {
        "what": "signed distance shape model of human heads with hair and shoulders",
        "data": str(cfg.data),
        "split": cfg.split,
        "heads": len(task.data.names),
        "synthetic": isinstance(task.data, SampleFolder),
        # A prior is the same whether or not its training was interrupted.
        "recipe": OmegaConf.to_container(
            OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "resume"])
        ),
        **provenance(cfg, task.train_s),
        "measured": dict(measured),
    }
    if about["synthetic"]:
        about["notice"] = HEAD_MODEL_NOTICE
    return ShapePrior(
        task.system.standardised().cpu(), task.data.canonical, task.kind, dict(task.arguments), about
    )


def write(task: PriorTask) -> Path:
    """Measure, write prior.safetensors and metrics.json, and return the former's path."""
    task.system.eval().to(device_of(task.cfg))
    validation = task.cfg.validation
    count = min(validation.final_heads, len(task.unseen.names))
    measured: dict[str, Any] = {"unseen_heads": count}
    network = task.system.standardised()
    errors = field_errors(network, task.data.canonical, task.unseen, count, validation.points)
    log.info("%d unseen heads: %s", count, in_words(errors))
    measured |= errors | point_errors(
        network, task.data.canonical, task.unseen, count, validation.points, validation.resolution
    )
    if validation.scenes:
        scenes = Path(validation.scenes)
        measured |= official_errors(
            network, task.data.canonical, scenes, validation.points, validation.resolution
        )
    log.info("measured: %s", in_words(measured))
    path = task.folder / "prior.safetensors"
    digest = save_shape_prior(path, trained(task, measured))
    metrics = {
        "size": task.cfg.size.name,
        "heads": len(task.data.names),
        "steps": task.system.steps,
        "seed": task.cfg.seed,
        "train_s": round(task.train_s, 2),
        "wall_s": round(time.monotonic() - task.started, 2),
        "bytes": path.stat().st_size,
        "sha256": digest,
        **measured,
    }
    with replacing(task.folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n")
    if task.cfg.pictures:
        write_pictures(
            task.folder / "pictures", network, task.data.canonical, task.system.standard_codes(), task.unseen,
            height=task.cfg.picture_px, fitted=validation.points, seed=task.cfg.seed,
        )  # fmt: skip
    log.info("wrote %s (%.1f MB, SHA-256 %s)", path, path.stat().st_size / 1e6, digest)
    return path
