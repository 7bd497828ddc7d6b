"""One reconstruction, stage by stage: open → observe → initialise → train → mesh → report."""

import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recon import scene as scenes
from recon.errors import ConfigError, Interruption, OutOfDistributionError, ReconError
from recon.files import replacing
from recon.run_folders import CHECKPOINT
from recon.systems.photographs import calibrated_scene, plain_photographs, with_masks
from recon.systems.report.inputs import check_inputs
from recon.systems.report.reporter import Reporter
from recon.systems.stages import (
    Run,
    check_networks,
    fall_back,
    initialise,
    observe,
    open_scene,
    select_views,
    train,
)
from recon.systems.timeline import Timeline
from recon.warned import KeptWarnings

log = logging.getLogger(__name__)

RECORDS = ("overrides.yaml", "config.yaml")
"""What a run folder says of what was asked for; in the order of writing, as config.yaml makes it a run's."""


def reconstruct(
    cfg: DictConfig, folder: Path, overrides: Sequence[str] = (), timeline: Timeline | None = None
) -> dict[str, Any]:
    """Reconstruct a head: scene and views in, a run folder with mesh, renders and metrics out.

    Args:
        cfg: Settled configuration, see `recon.systems.config.settle`.
        folder: Of the run.
        overrides: Command line that the configuration came of, to be written beside it.
        timeline: Where the seconds of each stage are counted.

    Returns:
        What metrics.json holds.

    Raises:
        SceneError: Scene, views, images, masks or cameras cannot be used.
        ConfigError: The configuration cannot be run, or the folder holds another run.
        PriorError: The prior cannot be used.
        MeshError: The field has no surface.
        Interruption: A signal stopped the training, whose state is saved then.
    """
    with KeptWarnings() as warned:
        with recorded(cfg, overrides, folder):
            run = prepare(cfg, folder, timeline, overrides)
        with Reporter(run, warned.messages) as reporter:
            if not train(run):
                raise Interruption(run.stopped_by or signal.SIGINT)
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
    refuse_another_run(cfg, folder)
    check_networks(cfg)
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
        check_inputs(cfg, scene, views)
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


def refuse_another_run(cfg: DictConfig, folder: Path) -> None:
    """Refuse to start a run in a folder that holds one.

    Raises:
        ConfigError: With what to do.
    """
    if cfg.resume is None and (folder / CHECKPOINT).is_file():
        raise ConfigError(
            f"hydra.run.dir={folder} already holds a run: go on with it by resume={folder}, choose another folder, or "
            "remove this one."
        )


@contextmanager
def recorded(cfg: DictConfig, overrides: Sequence[str], folder: Path) -> Iterator[None]:
    """A context that writes the configuration before the work in it, so that a run that is killed can be resumed, and
    again after it, with the start that a trial has chosen; a run that is refused takes it back.

    Raises:
        ConfigError: The folder holds another run.
    """
    refuse_another_run(cfg, folder)
    new = not (folder / "config.yaml").exists()
    record(cfg, overrides, folder)
    try:
        yield
    except ReconError:
        for name in RECORDS if new else ():
            (folder / name).unlink(missing_ok=True)
        raise
    record(cfg, overrides, folder, again=not (folder / CHECKPOINT).is_file())


def record(cfg: DictConfig, overrides: Sequence[str], folder: Path, *, again: bool = False) -> None:
    """Write config.yaml and overrides.yaml into the run folder, each whole or not at all.

    Args:
        cfg: Resolved configuration.
        overrides: Command line that it came of.
        folder: Of the run.
        again: Also for a resumed run, which else keeps those of its start.
    """
    if cfg.resume is not None and not again:
        return
    stored = cfg.copy()
    stored.resume = None
    contents = {"config.yaml": stored, "overrides.yaml": OmegaConf.create(list(overrides))}
    for name in RECORDS if cfg.resume is None else RECORDS[-1:]:
        path, text = folder / name, OmegaConf.to_yaml(contents[name], resolve=True)
        if not path.is_file() or path.read_bytes() != text.encode():
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
