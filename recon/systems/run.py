"""One reconstruction, stage by stage: open → observe → initialise → train → mesh → report."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
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
from recon.warned import KeptWarnings

log = logging.getLogger(__name__)

CLAIM = ".running"
"""The file in a run folder by which a starting run claims it."""


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
    with KeptWarnings() as warned:
        run = prepare(cfg, folder, timeline, overrides)
        record(cfg, overrides, folder)
        with Reporter(run, warned.messages) as reporter:
            if not train(run):
                return None
            reporter.surface()
            return reporter.write()


def prepare(
    cfg: DictConfig, folder: Path, timeline: Timeline | None = None, overrides: Sequence[str] = ()
) -> Run:
    """Do the stages before training, and with them everything that bad input can make fail.

    Where the prior says that it does not apply, the run goes on as the method that `fallback=` names, and the
    configuration is changed so; `fallback=ask` stops it.

    Raises:
        SceneError, ConfigError, PriorError: As for `reconstruct`.
    """
    if cfg.resume is None and (folder / CHECKPOINT).is_file():
        raise ConfigError(
            f"hydra.run.dir={folder} already holds a run: go on with it by resume={folder}, choose another folder, or "
            "remove this one."
        )
    timeline = timeline or Timeline()
    if photographs := plain_photographs(cfg):
        timeline.lap("open")
        scene = calibrated_scene(cfg, photographs, folder)
        views = select_views(scene, cfg.views, all_by_default=True)
        scenes.validate(scene, views)
    else:
        scene, views = open_scene(cfg)
        scene = with_masks(cfg, scene, views, folder)
        scenes.validate(scene, views)
        timeline.lap("open")
    observations = observe(scene, views)
    timeline.lap("observe")
    try:
        run = initialise(cfg, folder, scene, views, observations, timeline)
    except OutOfDistributionError as error:
        fall_back(cfg, error, overrides)
        run = initialise(cfg, folder, scene, views, observations, timeline)
    timeline.lap("initialise")
    return run


def record(cfg: DictConfig, overrides: Sequence[str], folder: Path) -> None:
    """Write config.yaml and overrides.yaml into the run folder; a resumed run keeps those of its start."""
    folder.mkdir(parents=True, exist_ok=True)
    if cfg.resume is None and not (folder / "config.yaml").exists():
        OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
        OmegaConf.save(OmegaConf.create(list(overrides)), folder / "overrides.yaml")


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """A context with a folder that no other running process has claimed, for a run that starts: the one asked for, else
    that name with -2, -3, ...; two runs that start within one second are given the same name.

    What is logged to a file in the folder asked for goes to the other one. A run that was killed leaves its claim.
    """
    for number in count(1):
        mine = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        mine.mkdir(parents=True, exist_ok=True)
        try:
            (mine / CLAIM).touch(exist_ok=False)  # one process alone succeeds
            break
        except FileExistsError:
            continue
    if mine != folder:
        _move_log(folder, mine)
        log.warning(
            "%s belongs to another run, or to one that was killed: this one writes to %s", folder, mine
        )
    try:
        yield mine
    finally:
        (mine / CLAIM).unlink(missing_ok=True)


def _move_log(old: Path, new: Path) -> None:
    """Have the log files of one folder continued in another."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename).parent == old.absolute():
            handler.close()
            handler.baseFilename = str(new.absolute() / Path(handler.baseFilename).name)
            handler.setStream(handler._open())


def discard_if_empty(folder: Path, log_name: str = "train.log") -> None:
    """Remove a run folder that holds nothing but its log: a run that was refused leaves nothing behind."""
    if folder.is_dir() and all(path.name in (log_name, CLAIM) for path in folder.iterdir()):
        for name in (log_name, CLAIM):
            (folder / name).unlink(missing_ok=True)
        for parent in (folder, folder.parent):
            if not any(parent.iterdir()):
                parent.rmdir()
