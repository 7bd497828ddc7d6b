"""One run: from a configuration to a trained system."""

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import Tensor

from recon import scene as scenes
from recon.errors import ConfigError, OutOfDistributionError, SceneError
from recon.priors import Networks, SceneObservations, Start
from recon.rendering import CameraBundle, PixelStore, SurfaceSampler
from recon.scene import Scene, View
from recon.systems.callbacks import CurveFile, LastCheckpoint, Progress
from recon.systems.checkpoint import CHECKPOINT, AtomicCheckpointIO
from recon.systems.config import build, device_of, preset_of, without_prior
from recon.systems.data import RayData
from recon.systems.objective import Objective
from recon.systems.reconstruction import Reconstruction
from recon.systems.timeline import Timeline
from recon.systems.trial import choose

log = logging.getLogger(__name__)


@dataclass
class Task:
    """A reconstruction, ready to train.

    Attributes:
        cfg: resolved configuration.
        folder: of the run.
        scene: what is reconstructed.
        views: ids of the input views.
        system: networks, cameras and losses.
        data: the training pixels.
        loggers: Lightning loggers beside metrics.csv.
        started: `time.monotonic()` at the start of the run.
        timeline: where its time goes.
        prior: what training started from.
        train_s: seconds spent training, those of an interrupted run before included.
        deviation: standard deviation of the surface at points, where the prior knows it; see `Start`.
        life_size: size of the head against the mean head, where the prior knows it.
        landmarks: places of facial landmarks, world mm, where the prior knows them; training may move the surface a
            little off them.
    """

    cfg: DictConfig
    folder: Path
    scene: Scene
    views: list[int]
    system: Reconstruction
    data: RayData
    loggers: list[pl.loggers.Logger]
    started: float
    timeline: Timeline
    prior: str = "sphere"
    train_s: float = 0.0
    deviation: Callable[[Float[Tensor, "points 3"]], Float[Tensor, " points"]] | None = None
    life_size: float | None = None
    landmarks: Mapping[str, Float[np.ndarray, " 3"]] | None = None


def prepare(cfg: DictConfig, folder: Path, timeline: Timeline | None = None) -> Task:
    """Open and check everything that can fail before any work starts.

    Where the prior says that it does not apply, goes on as `method.fallback` and changes the configuration so.

    Raises:
        SceneError: if scene, views, images, masks or cameras cannot be used.
        ConfigError: if the configuration cannot be run, or the folder holds another run.
        PriorError: if the prior cannot be used.
    """
    if cfg.resume is None and (folder / CHECKPOINT).is_file():
        raise ConfigError(
            f"hydra.run.dir={folder} already holds a run: go on with it by resume={folder}, choose another folder, or "
            "remove this one."
        )
    timeline = timeline or Timeline()
    try:
        return _prepare(cfg, folder, timeline)
    except OutOfDistributionError as error:
        other = cfg.method.get("outside")
        if other is None:
            raise
        log.warning("%s. Going on without the prior, as method=%s.", error, other)
        without_prior(cfg, other)
        return _prepare(cfg, folder, timeline)


def _prepare(cfg: DictConfig, folder: Path, timeline: Timeline) -> Task:
    started = time.monotonic()
    device = device_of(cfg)
    _configure_torch(cfg)
    scene, views = open_scene(cfg)
    log.info("scene %s: %d views, reconstructing from %s", scene.name, len(scene.views), views)
    scenes.validate(scene, views)
    log.info("method %s, preset %s on %s", cfg.method.name, preset_of(cfg), device)

    # Initial weights are the first random draw of a run.
    torch.manual_seed(cfg.seed)
    random.seed(cfg.seed)
    np.random.seed(cfg.seed)
    steps = cfg.steps or cfg.method.steps + cfg.method.steps_per_view * len(views)
    inputs = [scene.views[view] for view in views]
    objective = Objective(**OmegaConf.to_container(cfg.method.objective))  # type: ignore[arg-type]
    tracing = build(cfg.renderer)
    if tracing.graphed:
        _refuse_graphs_where_there_are_none(device, str(cfg.trainer.precision))
    store = PixelStore(inputs)
    sampler = build(cfg.data.sampler, store=store, seed=cfg.seed)
    loggers = [build(logger) for logger in cfg.logger.loggers]

    def system(start: Start) -> Reconstruction:
        given = start.cameras or [view.camera for view in inputs]
        cameras = CameraBundle(given, scene.scale_mat, refine=cfg.method.refine_cameras)
        return Reconstruction(start, cameras, tracing, objective, steps, cfg.seed)

    timeline.lap("open")
    networks = Networks(
        lambda: build(cfg.field.sdf), lambda: build(cfg.field.feature), lambda: build(cfg.field.colour)
    )
    prior = build(cfg.prior)
    if cfg.get("init"):
        prior = build(cfg.init, prior=prior, device=device)
    starts = prior.starts(networks, observations(scene, inputs))
    name = cfg.get("start")
    if name is None:
        name = next(iter(starts)) if len(starts) == 1 else choose(starts, system, sampler, device=device)
        OmegaConf.update(cfg, "start", name, force_add=True)  # a resumed run does not choose again
    elif name not in starts:
        raise ConfigError(f"start={name}: the prior offers {', '.join(starts)}")
    timeline.lap("prior")
    chosen = system(starts[name])
    if cfg.method.surface_points:
        sampler = SurfaceSampler(
            store, chosen.cameras, chosen.sdf, tracing, cfg.method.surface_points, cfg.seed
        )
    start = starts[name]
    return Task(
        cfg, folder, scene, views, chosen, RayData(sampler), loggers, started, timeline, name,
        deviation=start.deviation, life_size=start.life_size, landmarks=start.landmarks,
    )  # fmt: skip


def observations(scene: Scene, inputs: Sequence[View]) -> SceneObservations:
    """What a prior may know of a scene before training."""

    def landmarks() -> Mapping[str, Float[np.ndarray, " 3"]]:
        truth = scene.ground_truth
        if truth is None or not truth.landmarks:
            return {}
        vertices = np.asarray(truth.mesh().vertices)
        return {name: vertices[index] for name, index in truth.landmarks.items()}

    return SceneObservations(
        [view.camera for view in inputs],
        [view.mask() for view in inputs],
        scene.scale_mat,
        lambda: [view.image() for view in inputs],
        landmarks,
        [view.ignored() for view in inputs],
        [view.landmarks() for view in inputs],
    )


def open_scene(cfg: DictConfig) -> tuple[Scene, list[int]]:
    """The scene that `scene=` names and the views that `views=` selects.

    Raises:
        SceneError: if either is unknown.
    """
    name = str(cfg.scene)
    where = cfg.scenes.get(name, name)
    try:
        scene = scenes.open(where, h3ds_root=cfg.data.h3ds_root, pixel_centre=cfg.data.pixel_centre)
    except SceneError as error:
        raise SceneError(f"{error} (configured scenes: {', '.join(cfg.scenes)})") from error
    wanted = cfg.views
    if isinstance(wanted, (ListConfig, Sequence)) and not isinstance(wanted, str):
        return scene, scene.select([int(view) for view in wanted])
    if not isinstance(wanted, int):
        raise ConfigError(f"views={wanted}: expected a number (views=3) or a list (views=[0,18,65]).")
    return scene, scene.select(wanted)


def record(cfg: DictConfig, overrides: list[str], folder: Path) -> None:
    """Write config.yaml and overrides.yaml into the run folder; a resumed run keeps those of its start."""
    folder.mkdir(parents=True, exist_ok=True)
    if cfg.resume is None and not (folder / "config.yaml").exists():
        OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
        OmegaConf.save(OmegaConf.create(overrides), folder / "overrides.yaml")


def train(task: Task) -> bool:
    """Train to the end, or to a signal.

    Returns:
        Whether the training is complete.
    """
    cfg, folder, system = task.cfg, task.folder, task.system
    path = folder / CHECKPOINT
    last = LastCheckpoint(path, cfg.trainer.checkpoint_every)
    trainer = pl.Trainer(
        accelerator="gpu" if device_of(cfg).type == "cuda" else "cpu",  # where everything else is done too
        devices=1,
        precision=cfg.trainer.precision,
        max_steps=system.steps,
        max_epochs=-1,
        callbacks=[CurveFile(folder / "metrics.csv", cfg.trainer.log_every), Progress(system.steps), last],
        logger=task.loggers or False,
        log_every_n_steps=cfg.trainer.log_every,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder,
    )
    log.info("training %d steps; everything of this run goes to %s", system.steps, folder)
    trainer.fit(system, datamodule=task.data, ckpt_path=path if path.is_file() else None)
    task.train_s = last.train_s
    task.timeline.lap("train")
    return last.stopped_by is None


def _refuse_graphs_where_there_are_none(device: torch.device, precision: str) -> None:
    """Raises a ConfigError where renderer.cuda_graphs=true cannot be done."""
    if device.type != "cuda":
        raise ConfigError(
            f"renderer.cuda_graphs=true needs a CUDA device, but training runs on the {device.type}. "
            "Use renderer.cuda_graphs=false, or trainer.accelerator=gpu on a machine that has one."
        )
    if precision not in ("32", "32-true"):
        raise ConfigError(
            f"renderer.cuda_graphs=true records steps of trainer.precision=32-true, not of {precision}: what scales "
            "losses or casts weights would stay outside of the recording. Use renderer.cuda_graphs=false."
        )


def discard_if_empty(folder: Path) -> None:
    """Remove a run folder that holds nothing but its log: a run that was refused leaves nothing behind."""
    if folder.is_dir() and all(path.name == "train.log" for path in folder.iterdir()):
        (folder / "train.log").unlink(missing_ok=True)
        for parent in (folder, folder.parent):
            if not any(parent.iterdir()):
                parent.rmdir()


def _configure_torch(cfg: DictConfig) -> None:
    """Threads, and no denormal numbers: the exponentials of a sharp softplus are full of them, and each costs
    as much as a hundred others.
    """
    if cfg.trainer.threads:
        torch.set_num_threads(int(cfg.trainer.threads))
    torch.set_flush_denormal(True)
