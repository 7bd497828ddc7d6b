"""Scores of many predictions: scene by scene, in parallel, with every failure kept."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from recon.errors import EvaluationError, ReconError
from recon.evaluation.evaluator import Evaluator, GroundTruthLike, Mode, Region
from recon.evaluation.heatmap import error_sheet
from recon.evaluation.official import OfficialResult
from recon.evaluation.predictions import Job, Prediction, read_landmarks, read_mesh
from recon.processes import in_processes
from recon.warned import KeptWarnings

log = logging.getLogger(__name__)

REGIONS: tuple[tuple[str, Region | None], ...] = (("face", "face_sphere"), ("head", None))
NEEDED = {"face": "face_sphere", "head": "face", "ears": "face"}
"""Region of the ground truth that a number cannot do without."""


@dataclass(frozen=True)
class ScoringOptions:
    """Options of scoring.

    Attributes:
        modes: Protocols.
        heatmaps: Folder for error pictures; None for none.
        clip_mm: Upper end of their colour scale.
    """

    modes: tuple[Mode, ...] = ("official", "strict")
    heatmaps: Path | None = None
    clip_mm: float = 5.0


@dataclass(frozen=True)
class Score:
    """The score of one mesh, or why it has none.

    Attributes:
        job: The mesh.
        numbers: Mode, then `face`, `head` or, strict and where the truth shows them, `ears`, to the numbers of
            `Evaluation.summary`; without those whose region the ground truth lacks.
        warnings: Messages about what is odd in the numbers.
        error: Message why there are no numbers; None if there are.
    """

    job: Job
    numbers: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: str | None = None


def score(
    jobs: Sequence[Job],
    truths: Mapping[str, GroundTruthLike],
    options: ScoringOptions | None = None,
    *,
    workers: int | None = None,
) -> Iterator[Score]:
    """Scores meshes, those of one scene together, and yields each when its scene is done.

    Args:
        jobs: Meshes to score.
        truths: Ground truth by scene; must be picklable for more than one worker.
        options: Protocols and pictures.
        workers: Scenes at a time, each in a process; as many as there are cores without it. One stays in this
            process.

    Yields:
        One score for each job; the order is that in which scenes are done.

    Raises:
        EvaluationError: No job is of a scene that is among the truths.
    """
    options = options or ScoringOptions()
    known = [job for job in jobs if job.scene in truths]
    if not known:
        raise EvaluationError(
            f"the predictions are of {_names(job.scene for job in jobs)}, the data has {_names(truths)}: "
            "nothing to compare"
        )
    for job in jobs:
        if job.scene not in truths:
            yield Score(job, error=f"the data has no scene {job.scene}")
    known.sort(key=lambda job: job.scene)
    scenes = [(name, list(group)) for name, group in groupby(known, key=lambda job: job.scene)]
    workers = min(workers or os.cpu_count() or 1, len(scenes))
    tasks = [(name, truths[name], group, options) for name, group in scenes]
    for scores in in_processes(_score_scene, tasks, workers):
        yield from scores


def _names(scenes: Iterable[str]) -> str:
    names = sorted(set(scenes))
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _score_scene(task: tuple[str, GroundTruthLike, list[Job], ScoringOptions]) -> list[Score]:
    name, truth, jobs, options = task
    try:
        evaluator = Evaluator(truth, name=f"ground truth of {name}")
        lacking = evaluator.lacking(("face_sphere", "face"))
        if len(lacking) == 2:
            evaluator.require_regions(("face_sphere", "face"))
    except ReconError as error:
        return [Score(job, error=str(error)) for job in jobs]
    return [_score_one(evaluator, truth, job, options, lacking) for job in jobs]


def _score_one(
    evaluator: Evaluator,
    truth: GroundTruthLike,
    job: Job,
    options: ScoringOptions,
    lacking: Mapping[str, str],
) -> Score:
    numbers: dict[str, dict[str, dict[str, Any]]] = {}
    with KeptWarnings("recon.evaluation", silent=True) as warnings:
        for label, needed in NEEDED.items():
            if needed in lacking and label != "ears":
                log.warning("%s not scored: %s", label, lacking[needed])
        if evaluator.made:
            log.warning("%s", evaluator.made)
        try:
            mesh = read_mesh(job.path)
            prediction = Prediction(mesh, landmarks=read_landmarks(job.path), name=job.path.name)
            for mode in options.modes:
                numbers[mode] = {}
                for label, region in (*REGIONS, *_ears(evaluator, mode)):
                    if NEEDED[label] in lacking:
                        continue
                    evaluation = evaluator.evaluate(prediction, region=region, mode=mode)
                    numbers[mode][label] = evaluation.summary()
                    if options.heatmaps and region is None and isinstance(evaluation.result, OfficialResult):
                        _picture(evaluator, truth, job, mesh, evaluation.result, options)
        except ReconError as error:
            return Score(job, warnings=tuple(warnings.messages), error=str(error))
    return Score(job, numbers, tuple(warnings.messages))


def _ears(evaluator: Evaluator, mode: Mode) -> tuple[tuple[str, Region], ...]:
    """The ears as a further region, under the strict protocol and where the truth shows them."""
    return (("ears", "ears"),) if mode == "strict" and evaluator.shows_ears() else ()


def _picture(
    evaluator: Evaluator,
    truth: GroundTruthLike,
    job: Job,
    mesh: trimesh.Trimesh,
    result: OfficialResult,
    options: ScoringOptions,
) -> None:
    assert options.heatmaps is not None
    error_sheet(
        evaluator.mesh,
        trimesh.Trimesh(result.aligned, np.asarray(mesh.faces), process=False),
        truth.landmarks,
        options.heatmaps / f"{job.method}_{job.scene}_{job.views}.png".replace("/", "-"),
        title=f"{job.method}, {job.scene}, {job.views} views: head {result.mean_mm:.2f} mm (official, nearest vertex)",
        clip_mm=options.clip_mm,
    )
