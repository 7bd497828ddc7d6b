"""prior=pca: principal components of the lattices of all heads, compressed, and measured on unseen heads."""

import json
import logging
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from recon.errors import ConfigError, PriorError
from recon.files import replacing
from recon.fitting.brightness import BrightnessModel
from recon.geometry.frames import BOX_LOW_MM
from recon.priors import PCAShapeModel, ShapePrior, fit_code, save_shape_prior
from recon.priors.data.dataset import HeadData, SampleFolder
from recon.priors.pca.landmarks import LandmarkMap, fit_landmarks
from recon.priors.pca.packing import CODEC, packed, unpacked
from recon.priors.pca.principal import GridComponents, principal_lattice
from recon.priors.pca.shape_model import nearest_rows
from recon.priors.weights import write_tensors
from recon.systems.pretraining.brightness import brightness_model_of, brightness_state
from recon.systems.pretraining.landmarks import landmark_names, landmarks_of
from recon.systems.pretraining.meshes import official_errors, point_errors
from recon.systems.pretraining.outputs import HEAD_MODEL_NOTICE
from recon.systems.pretraining.pictures import write_pictures
from recon.systems.pretraining.run import open_data
from recon.systems.pretraining.template import (
    TemplateDetail,
    detailed,
    lattice_arguments,
    template_of,
)
from recon.systems.pretraining.validation import field_errors, heads_of, in_words

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PCATask:
    """A PCA prior to be made.

    Attributes:
        cfg: Resolved configuration.
        folder: Folder of the run.
        data: The training heads.
        unseen: Heads to validate on.
        started: `time.monotonic()` at the start of the run.
    """

    cfg: DictConfig
    folder: Path
    data: HeadData
    unseen: HeadData
    started: float


@dataclass(frozen=True)
class BuiltShapeModel:
    """A shape model with the results of its making.

    Attributes:
        network: The shape model, uncompressed.
        arguments: Arguments that the network was made with.
        inside: Whether a node of its lattice has a row.
        codes: Codes of the training heads.
        built: Facts of its making, for the file and metrics.json.
    """

    network: PCAShapeModel
    arguments: Mapping[str, Any]
    inside: Bool[np.ndarray, "x y z"]
    codes: Float[Tensor, "heads latent"]
    built: Mapping[str, Any]


@dataclass(frozen=True)
class PCATraining:
    """The training of prior=pca; a `recon.systems.pretraining.training.PriorTraining`.

    Attributes:
        name: What `prior=` names on the command line.
    """

    name: str

    def check(self, cfg: DictConfig) -> None:
        """Refuse what cannot be run.

        Raises:
            ConfigError: With what to do.
        """
        pca = cfg.pca
        for name in ("latent_size", "reach_mm", "step_mm", "workers"):
            if not pca[name] > 0:
                raise ConfigError(f"pca.{name}={pca[name]}: it must be positive")
        for name in ("portraits", "brightness_components", "face_components"):
            if not pca[name] >= 0:
                raise ConfigError(f"pca.{name}={pca[name]}: it must not be negative")
        if not 0 <= pca.share < 1:
            raise ConfigError(f"pca.share={pca.share}: it is a share of the heads, from 0 to below 1")

    def run(self, cfg: DictConfig, folder: Path, record: Callable[[], None]) -> None:
        """Build and write the prior."""
        task = prepare(cfg, folder)
        record()
        write(task, build(task))


def prepare(cfg: DictConfig, folder: Path) -> PCATask:
    """Opens and checks everything that can fail before any work starts.

    Raises:
        PriorError: If the data cannot be used.
    """
    started = time.monotonic()
    if cfg.trainer.threads:
        torch.set_num_threads(int(cfg.trainer.threads))
    data, unseen = open_data(cfg)
    if data.lattice_mm is None:
        raise PriorError(
            f"data={cfg.data}: prior=pca needs lattices of distances, which raw scans and samples without "
            "lattice_mm do not have; make samples with headrecon-make-samples"
        )
    if len(data.names) < 3:
        raise PriorError(f"data={cfg.data}: prior=pca needs 3 heads at least, found {len(data.names)}")
    log.info("%d training heads of %s, %d unseen", len(data.names), cfg.data, len(unseen.names))
    return PCATask(cfg, folder, data, unseen, started)


def build(task: PCATask) -> BuiltShapeModel:
    """Computes components, landmarks and brightness model; goes on from what an interrupted run left in `work`."""
    options, work = task.cfg.pca, task.folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    data = task.data
    template, known = template_of(data), None
    if template is not None and isinstance(data, SampleFolder):
        known = data.of_all("code")
        scale = np.sqrt((known**2).mean(axis=0))
        known = known / scale
    found = principal_lattice(
        task.data,
        work,
        int(options.latent_size),
        reach_mm=float(options.reach_mm),
        share=float(options.share),
        workers=int(options.workers),
        known=known,
        face=int(options.face_components),
    )
    detail = None
    if template is not None and isinstance(data, SampleFolder):
        detail, found = detailed(template, scale, data, found, int(options.workers))
    landmarks = landmarks_of(task.data, work / "landmarks.npy", int(options.workers))
    landmark_map = brightness_model = None
    if landmarks is not None:
        has_landmarks = ~np.isnan(landmarks).any(axis=(1, 2))
        if has_landmarks.sum() > 2:
            landmark_map = fit_landmarks(found.codes[has_landmarks], landmarks[has_landmarks])
            log.info("landmarks of heads left out: %.2f mm a coordinate", landmark_map.error_mm)
            brightness_model = brightness_model_of(
                task.data, found.codes, task.data.canonical, has_landmarks, options, work
            )
    return _assembled(task, found, detail, landmark_map, brightness_model)


def _assembled(
    task: PCATask,
    found: GridComponents,
    detail: TemplateDetail | None,
    landmarks: LandmarkMap | None,
    brightness_model: BrightnessModel | None,
) -> BuiltShapeModel:
    canonical, inside = task.data.canonical, found.band.inside
    assert task.data.lattice_mm is not None
    names = landmark_names() if landmarks is not None else ()
    sizes, tensors = brightness_state(brightness_model)
    arguments = {
        "latent_size": found.codes.shape[1],
        "band": len(found.rows_mm),
        "landmarks": list(names),
        "brightness_model": list(sizes),
        **lattice_arguments(canonical, BOX_LOW_MM, inside.shape, task.data.lattice_mm),
        **({} if detail is None else detail.arguments),
    }
    network = PCAShapeModel(**arguments)
    radius = canonical.radius_mm
    state = {
        "mean.values": torch.from_numpy(found.mean_mm.reshape(-1, 1) / np.float32(radius)),
        "rows": torch.from_numpy(found.rows_mm).div_(radius),
        "row_of": torch.from_numpy(nearest_rows(inside).ravel()),
        "landmark_mean": network.landmark_mean,
        "landmark_basis": network.landmark_basis,
        **tensors,
        **({} if detail is None else detail.state),
    }
    if landmarks is not None:
        state["landmark_mean"] = torch.from_numpy(landmarks.mean_mm.astype(np.float32))
        state["landmark_basis"] = torch.from_numpy(landmarks.basis_mm.astype(np.float32))
    network.load_state_dict(state, assign=True)
    built = {
        "band": len(found.rows_mm),
        "latent_size": found.codes.shape[1],
        "explained": round(float(found.explained.sum()), 5),
        "landmark_left_out_mm": None if landmarks is None else round(landmarks.error_mm, 3),
        "face_points": sizes[0],
    }
    return BuiltShapeModel(network.eval(), arguments, inside, torch.from_numpy(found.codes), built)


def write(task: PCATask, made: BuiltShapeModel) -> Path:
    """Compresses, measures, and writes prior.safetensors, metrics.json and pictures; returns the former's path."""
    cfg, canonical = task.cfg, task.data.canonical
    train_s = time.monotonic() - task.started
    tensors = packed(made.network, made.inside, float(cfg.pca.step_mm), canonical.radius_mm)
    state = unpacked(tensors, made.arguments, canonical.radius_mm)
    shipped = PCAShapeModel.from_state(state, made.arguments)
    compressed = _measured(task, shipped, "compressed")
    full = _measured(task, made.network, "full")
    measured = {**compressed, "full": full}
    about = {**_about(task, train_s), **made.built, "measured": measured}
    prior = ShapePrior(shipped, canonical, "pca", made.arguments, about)
    path = task.folder / "prior.safetensors"
    digest = write_tensors(path, prior, tensors, codec=CODEC)
    if cfg.pca.full:
        whole = ShapePrior(made.network, canonical, "pca", made.arguments, about)
        save_shape_prior(task.folder / "prior-full.safetensors", whole)
    metrics = {
        "size": "pca",
        "heads": len(task.data.names),
        "seed": cfg.seed,
        "train_s": round(train_s, 2),
        "wall_s": round(time.monotonic() - task.started, 2),
        "bytes": path.stat().st_size,
        "sha256": digest,
        **made.built,
        **measured,
    }
    with replacing(task.folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n")
    if cfg.pictures:
        write_pictures(
            task.folder / "pictures", shipped, canonical, made.codes, task.unseen,
            height=cfg.picture_px, fitted=cfg.validation.points, seed=cfg.seed,
        )  # fmt: skip
    shutil.rmtree(task.folder / "work")
    log.info("wrote %s (%.1f MB, SHA-256 %s)", path, path.stat().st_size / 1e6, digest)
    return path


def _measured(task: PCATask, network: PCAShapeModel, what: str) -> dict[str, Any]:
    validation, canonical, unseen = task.cfg.validation, task.data.canonical, task.unseen
    count = min(validation.final_heads, len(unseen.names))
    errors: dict[str, Any] = {"unseen_heads": count}
    errors |= field_errors(network, canonical, unseen, count, validation.points)
    errors |= point_errors(network, canonical, unseen, count, validation.points, validation.resolution)
    if network.landmark_names:
        error = _landmark_error(task, network, count)
        errors |= {} if error is None else {"landmark_mm": error}
    if validation.scenes:
        scenes = Path(validation.scenes)
        errors |= official_errors(network, canonical, scenes, validation.points, validation.resolution)
    log.info("%s: %s", what, in_words(errors))
    return errors


def _landmark_error(task: PCATask, network: PCAShapeModel, count: int) -> float | None:
    """Mean distance of the landmarks of codes fitted to unseen heads from their own, mm."""
    truth = landmarks_of(task.unseen, task.folder / "work" / "unseen.npy", int(task.cfg.pca.workers))
    if truth is None:
        return None
    distances = []
    for (_, shard, row), landmarks in zip(heads_of(task.unseen, count), truth[:count], strict=True):
        surface = shard.surface[row][: task.cfg.validation.points]
        found = network.landmarks(fit_code(network, torch.from_numpy(surface))).numpy()
        distances.append(np.linalg.norm(found - landmarks, axis=1).mean())
    return round(float(np.nanmean(distances)), 3)


def _about(task: PCATask, train_s: float) -> dict[str, Any]:
    about = {
        "what": "linear signed distance shape model of human heads with hair and shoulders, and their landmarks",
        "data": str(task.cfg.data),
        "split": task.cfg.split,
        "heads": len(task.data.names),
        "synthetic": isinstance(task.data, SampleFolder),
        "recipe": {
            name: OmegaConf.to_container(value) if isinstance(value, DictConfig) else value
            for name, value in task.cfg.items()
            if name in ("training", "seed", "split", "pca", "validation")
        },
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "hardware": f"{platform.machine()}, cpu, {task.cfg.pca.workers} thread(s)",
        "software": f"torch {torch.__version__}, numpy {np.__version__}, python {platform.python_version()}",
        "date": datetime.now().date().isoformat(),
        "train_s": round(train_s),
    }
    if about["synthetic"]:
        about["notice"] = HEAD_MODEL_NOTICE
    return about
