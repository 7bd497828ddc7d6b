"""One reconstruction, stage by stage: open → observe → initialise → train → mesh → report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recon import scene as scenes
from recon.errors import ConfigError, OutOfDistributionError
from recon.systems.checkpoint import CHECKPOINT
from recon.systems.photographs import calibrated_scene, plain_photographs, with_masks
from recon.systems.report.reporter import Reporter
from recon.systems.stages import Run, fall_back, initialise, observe, open_scene, select_views, train
from recon.systems.timeline import Timeline


def reconstruct(
    cfg: DictConfig, folder: Path, overrides: Sequence[str] = (), timeline: Timeline | None = None
) -> dict[str, Any] | None:
    """Reconstruct a head: scene and views in, a run folder with mesh, renders and metrics out.

    Args:
        cfg: Settled configuration, see `recon.systems.config.settle`.
        folder: Of the run.
        overrides: Command line that the configuration came of, to be written beside it.
        timeline: Where the seconds of each stage are counted.

    Returns:
        What metrics.json holds; None where a signal stopped the training, whose state is saved then.

    Raises:
        SceneError: Scene, views, images, masks or cameras cannot be used.
        ConfigError: The configuration cannot be run, or the folder holds another run.
        PriorError: The prior cannot be used.
        MeshError: The field has no surface.
    """
    run = prepare(cfg, folder, timeline)
    record(cfg, overrides, folder)
    with Reporter(run) as reporter:
        if not train(run):
            return None
        reporter.surface()
        return reporter.write()


def prepare(cfg: DictConfig, folder: Path, timeline: Timeline | None = None) -> Run:
    """Do the stages before training, and with them everything that bad input can make fail.

    Where the prior says that it does not apply, the run goes on as `method.fallback`, and the configuration is changed
    so.

    Raises:
        SceneError, ConfigError, PriorError: As for `reconstruct`.
    """
    if cfg.resume is None and (folder / CHECKPOINT).is_file():
        raise ConfigError(
            f"hydra.run.dir={folder} already holds a run: go on with it by resume={folder}, choose another folder, or "
            "remove this one."
        )
    timeline = timeline or Timeline()
    pose = None
    if photographs := plain_photographs(cfg):
        timeline.lap("open")
        scene, pose = calibrated_scene(cfg, photographs, folder)
        views = select_views(scene, cfg.views, all_by_default=True)
        scenes.validate(scene, views)
    else:
        scene, views = open_scene(cfg)
        scene = with_masks(cfg, scene, views, folder)
        scenes.validate(scene, views)
        timeline.lap("open")
    observations = observe(scene, views, pose)
    timeline.lap("observe")
    try:
        run = initialise(cfg, folder, scene, views, observations, timeline)
    except OutOfDistributionError as error:
        fall_back(cfg, error)
        run = initialise(cfg, folder, scene, views, observations, timeline)
    timeline.lap("initialise")
    return run


def record(cfg: DictConfig, overrides: Sequence[str], folder: Path) -> None:
    """Write config.yaml and overrides.yaml into the run folder; a resumed run keeps those of its start."""
    folder.mkdir(parents=True, exist_ok=True)
    if cfg.resume is None and not (folder / "config.yaml").exists():
        OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
        OmegaConf.save(OmegaConf.create(list(overrides)), folder / "overrides.yaml")


def discard_if_empty(folder: Path, log_name: str = "train.log") -> None:
    """Remove a run folder that holds nothing but its log: a run that was refused leaves nothing behind."""
    if folder.is_dir() and all(path.name == log_name for path in folder.iterdir()):
        (folder / log_name).unlink(missing_ok=True)
        for parent in (folder, folder.parent):
            if not any(parent.iterdir()):
                parent.rmdir()
