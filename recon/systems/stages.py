"""The stages of a reconstruction up to its surface: open → observe → initialise → train, one function each."""

import logging
import os
import random
import shlex
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from omegaconf import DictConfig, ListConfig, OmegaConf

from recon import scene as scenes
from recon.calibration import is_calibrated, read_pose, say_warnings
from recon.errors import ConfigError, OutOfDistributionError, SceneError
from recon.fields.stored import Budget
from recon.priors import FitsHead, FittedHead, Networks, Prior, SceneObservations, Start
from recon.rendering import CameraBundle, PixelStore, SurfaceSampler
from recon.run_folders import CHECKPOINT
from recon.scene import Scene
from recon.systems.callbacks import CurveFile, LastCheckpoint, Progress
from recon.systems.checkpoint import AtomicCheckpointIO
from recon.systems.config import build, device_of, preset_of, without_prior
from recon.systems.data import RayData
from recon.systems.photographs import maskable
from recon.systems.reconstruction import Reconstruction
from recon.systems.report.surface_mesh import SurfaceMesh
from recon.systems.timeline import Timeline
from recon.systems.trial import choose

log = logging.getLogger(__name__)

BYTES_OF_A_WEIGHT = 4 * 4
"""Memory that a weight takes in training: itself, its gradient, and Adam's two moments, float32 each."""
DEFAULT_VIEWS = 3
"""How many views of a scene are taken where `views=` says nothing."""


@dataclass
class Run:
    """A reconstruction on its way through the stages.

    Attributes:
        cfg: Resolved configuration.
        folder: Of the run.
        scene: What is reconstructed.
        views: Ids of the input views.
        system: Networks, cameras and losses.
        data: The training pixels.
        loggers: Lightning loggers beside metrics.csv.
        timeline: Where its time goes.
        start: What training starts from.
        start_name: The name that the prior gives to that start; it stands in metrics.json as `prior`.
        train_s: Seconds spent training, those of an interrupted run before included.
        stopped_by: Signal that stopped the training; None where it came to its end.
        surface: What the mesh stage extracted; None before.
    """

    cfg: DictConfig
    folder: Path
    scene: Scene
    views: list[int]
    system: Reconstruction
    data: RayData
    loggers: list[pl.loggers.Logger]
    timeline: Timeline
    start: Start
    start_name: str = "sphere"
    train_s: float = 0.0
    stopped_by: signal.Signals | None = None
    surface: SurfaceMesh | None = None

    @property
    def device(self) -> torch.device:
        """Where the run trains and renders."""
        return device_of(self.cfg)


def open_scene(cfg: DictConfig) -> tuple[Scene, list[int]]:
    """Open the scene that `scene=` names and select the views that `views=` asks for.

    Raises:
        SceneError: Either is unknown.
        ConfigError: `views` is neither a number nor a list.
    """
    name = str(cfg.scene)
    where = cfg.scenes.get(name, name)
    try:
        scene = scenes.open(where, h3ds_root=cfg.data.h3ds_root, pixel_centre=cfg.data.pixel_centre)
    except SceneError as error:
        raise SceneError(f"{error} (configured scenes: {', '.join(cfg.scenes)})") from error
    calibrated = is_calibrated(scene.root)
    if calibrated:
        say_warnings(scene.root)
    return scene, select_views(maskable(cfg, scene), cfg.views, all_by_default=calibrated)


def select_views(scene: Scene, wanted: Any, all_by_default: bool = False) -> list[int]:
    """The views that `views=` asks for; null is 3, or all.

    Raises:
        SceneError: There are no such views.
        ConfigError: `views` is neither a number nor a list.
    """
    if wanted is None:
        wanted = scene.available() if all_by_default else DEFAULT_VIEWS
    if isinstance(wanted, (ListConfig, Sequence)) and not isinstance(wanted, str):
        return scene.select(list(wanted))
    if not isinstance(wanted, int):
        raise ConfigError(f"views={wanted}: expected a number (views=3) or a list (views=[0,18,65]).")
    return scene.select(wanted)


def observe(scene: Scene, views: Sequence[int]) -> SceneObservations:
    """Gather what a prior may look at before training: cameras, masks, ignored pixels and landmarks of the input
    views, and the pose of the head where calibration found it.

    Raises:
        SceneError: The report of the calibration cannot be read.
    """
    inputs = [scene.views[view] for view in views]

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
        read_pose(scene.root) if is_calibrated(scene.root) else None,
    )


def initialise(
    cfg: DictConfig,
    folder: Path,
    scene: Scene,
    views: list[int],
    observations: SceneObservations,
    timeline: Timeline,
) -> Run:
    """Make networks, cameras and training pixels, from the head that the prior fits to the photographs if it fits one.

    Raises:
        ConfigError: The configuration cannot be run.
        PriorError: The prior cannot be used.
        OutOfDistributionError: No head of the prior looks like the masks.
    """
    _configure_torch(cfg)
    log.info("scene %s: %d views, reconstructing from %s", scene.name, len(scene.views), views)
    log.info("method %s, preset %s on %s", cfg.method.name, preset_of(cfg), device_of(cfg))
    seed_everything(cfg.seed)
    inputs = [scene.views[view] for view in views]
    steps = cfg.steps or cfg.method.steps + cfg.method.steps_per_view * len(views)
    objective = build(cfg.method.objective, kind="objective", default="recon.systems.objective.Objective")
    tracing = build(cfg.renderer, kind="renderer")
    if tracing.graphed:
        _refuse_graphs_where_there_are_none(device_of(cfg), str(cfg.trainer.precision))
    store = PixelStore(inputs)
    sampler = build(cfg.data.sampler, kind="sampler", store=store, seed=cfg.seed)
    loggers = [build(logger, kind="logger") for logger in cfg.logger.loggers]
    timeline.lap("initialise", "pixels")

    def system_from(start: Start) -> Reconstruction:
        given = start.cameras or [view.camera for view in inputs]
        cameras = CameraBundle(given, scene.scale_mat, refine=cfg.method.refine_cameras)
        return Reconstruction(start, cameras, tracing, objective, steps, cfg.seed)

    prior = build_prior(cfg)
    fitted = fit_head(prior, observations)
    timeline.lap("initialise", "fit")
    starts = prior.starts(networks_of(cfg), observations, fitted)
    name = _chosen_start(cfg, starts, lambda: choose(starts, system_from, sampler, device=device_of(cfg)))
    system = system_from(starts[name])
    if cfg.method.surface_points:
        sampler = SurfaceSampler(
            store, system.cameras, system.sdf, tracing, cfg.method.surface_points, cfg.seed
        )
    timeline.lap("initialise", "networks")
    data = RayData(sampler)
    return Run(cfg, folder, scene, views, system, data, loggers, timeline, starts[name], name)


def build_prior(cfg: DictConfig) -> Prior:
    """The prior of a configuration, with `init=instant` around the method's own."""
    prior: Prior = build(cfg.prior, kind="prior")
    if cfg.get("init"):
        prior = build(cfg.init, kind="prior", prior=prior, device=device_of(cfg))
    return prior


def networks_of(cfg: DictConfig) -> Networks:
    """How a configuration makes each network; nothing is made yet."""
    return Networks(
        lambda: build(cfg.field.sdf, kind="network"),
        lambda: build(cfg.field.feature, kind="network"),
        lambda: build(cfg.field.colour, kind="network"),
    )


def check_networks(cfg: DictConfig) -> None:
    """Refuse networks that cannot be made, or not within this machine's memory, before any work: a head is fitted
    first, and they are made after it. They are made and thrown away, which takes less than a tenth of a second.

    Raises:
        ConfigError: With the part of the configuration.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    exceeded = f"it does not fit into the {memory >> 20} MB of this machine with gradients and Adam's moments"
    networks, made = networks_of(cfg), {}
    with torch.random.fork_rng(devices=[]):
        for part in ("sdf", "feature", "colour"):
            try:
                with Budget(memory // BYTES_OF_A_WEIGHT, exceeded):
                    made[part] = getattr(networks, part)()
            except (ConfigError, RuntimeError, ArithmeticError, MemoryError) as error:
                raise ConfigError(f"field.{part}: {error}") from error
    sizes = {part: cfg.field[part].get("feature_size") for part in made}
    if sizes["colour"] not in (None, sizes["sdf"], sizes["feature"]):
        raise ConfigError(
            f"field.colour.feature_size={sizes['colour']}: expected the size of the feature that the geometry gives, "
            f"field.sdf.feature_size={sizes['sdf']}"
        )


def fit_head(prior: Prior, observations: SceneObservations) -> FittedHead | None:
    """The instant fit: the head of the linear shape model that the photographs show, by least squares in seconds.

    Returns:
        None for a prior that fits no head before training.

    Raises:
        OutOfDistributionError: No head of the shape model looks like the masks.
    """
    return prior.fit(observations) if isinstance(prior, FitsHead) else None


def fall_back(cfg: DictConfig, error: OutOfDistributionError, overrides: Sequence[str] = ()) -> None:
    """Change a configuration to that of the method that `fallback=` names, since its prior does not apply; `asked`
    keeps what was asked for, and why it was not done.

    Args:
        cfg: Resolved configuration.
        error: Why the prior does not apply.
        overrides: Command line that the configuration came of.

    Raises:
        OutOfDistributionError: With `fallback=ask`; the message has the command that goes on without the prior.
    """
    fallback, asked = str(cfg.get("fallback") or "ask"), str(cfg.method.name)
    if fallback == "ask":
        kept = [each for each in overrides if not each.startswith("fallback=")]
        command = shlex.join(["headrecon", *(kept or [f"scene={cfg.scene}"]), "fallback=idr"])
        raise OutOfDistributionError(
            f"{error}. Mend that, or reconstruct without the prior, which trains a network for minutes to an hour: "
            f"{command}"
        ) from error
    log.warning("%s. Going on without the prior, as method=%s.", error, fallback)
    without_prior(cfg, fallback)
    OmegaConf.update(cfg, "asked", {"method": asked, "refused": str(error)}, force_add=True)


def train(run: Run) -> bool:
    """Train to the end, or to a signal.

    Returns:
        Whether the training is complete.
    """
    cfg, folder, system = run.cfg, run.folder, run.system
    path = folder / CHECKPOINT
    last = LastCheckpoint(path, cfg.trainer.checkpoint_every)
    trainer = pl.Trainer(
        accelerator="gpu" if run.device.type == "cuda" else "cpu",  # where everything else is done too
        devices=1,
        precision=cfg.trainer.precision,
        max_steps=system.steps,
        max_epochs=-1,
        callbacks=[
            CurveFile(folder / "metrics.csv", cfg.trainer.log_every, last.seconds),
            Progress(system.steps),
            last,
        ],
        logger=run.loggers or False,
        log_every_n_steps=cfg.trainer.log_every,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder,
    )
    log.info("training %d steps; everything of this run goes to %s", system.steps, folder)
    with last.interrupting():
        trainer.fit(system, datamodule=run.data, ckpt_path=path if path.is_file() else None)
    run.train_s, run.stopped_by = last.train_s, last.stopped_by
    run.timeline.lap("train")
    return last.stopped_by is None


def seed_everything(seed: int) -> None:
    """Seed the global generators; initial weights are the first random draw of a run."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def _chosen_start(cfg: DictConfig, starts: Mapping[str, Start], by_trial: Callable[[], str]) -> str:
    """The start that `start=` names, else the only one, else that which a short trial chooses.

    Raises:
        ConfigError: The prior offers no start of that name.
    """
    name = cfg.get("start")
    if name is None:
        name = next(iter(starts)) if len(starts) == 1 else by_trial()
        OmegaConf.update(cfg, "start", name, force_add=True)  # a resumed run does not choose again
    elif name not in starts:
        raise ConfigError(f"start={name}: the prior offers {', '.join(starts)}")
    return str(name)


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


def _configure_torch(cfg: DictConfig) -> None:
    """Threads, deterministic operations, and no denormal numbers: the exponentials of a sharp softplus are full of
    them, and each costs as much as a hundred others.
    """
    if cfg.trainer.threads:
        torch.set_num_threads(int(cfg.trainer.threads))
    torch.set_flush_denormal(True)
    if cfg.get("deterministic"):  # which run folders of earlier versions lack
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
