"""Errors of the mesh against the ground truth of the scene, in millimetres."""

import logging
from typing import Any

from recon.errors import ReconError
from recon.evaluation import Evaluator, Prediction
from recon.evaluation.batch import REGIONS
from recon.evaluation.evaluator import Mode, Region
from recon.systems.stages import Run

log = logging.getLogger(__name__)

SUFFIXES: dict[Mode, str] = {"official": "mm", "strict": "mm_strict"}
"""How the keys of each protocol end in metrics.json."""


def write(run: Run) -> dict[str, Any]:
    """Score the mesh by the official H3DS protocol and the strict one.

    Returns:
        `protocol`, `landmarks` (whether the official alignment began from landmarks), and mean errors in mm, all null
        without ground truth or with `evaluate=false`; `ears_mm_strict` also where the truth says nothing of ears or
        hair covers them.
    """
    assert run.surface is not None
    scores: dict[str, Any] = {
        "protocol": None,
        "landmarks": None,
        "face_mm": None,
        "head_mm": None,
        "face_mm_strict": None,
        "head_mm_strict": None,
        "ears_mm_strict": None,
    }
    truth, surface = run.scene.ground_truth, run.surface
    if truth is None or not run.cfg.evaluate:
        return scores
    # The official alignment takes all landmarks of the truth, or none.
    scores["landmarks"] = bool(truth.landmarks) and truth.landmarks.keys() <= surface.landmarks.keys()
    evaluator = Evaluator(truth, name=run.scene.name)
    prediction = Prediction(surface.mesh.copy(), landmarks=surface.landmarks if scores["landmarks"] else None)
    wanted: list[tuple[str, Region | None, Mode]] = [
        (name, region, mode) for name, region in REGIONS for mode in SUFFIXES
    ]
    if evaluator.shows_ears():
        wanted.append(("ears", "ears", "strict"))
    failed: dict[str, list[str]] = {}
    for name, region, mode in wanted:
        try:
            evaluation = evaluator.evaluate(prediction, region=region, mode=mode)
        except ReconError as error:
            failed.setdefault(str(error), []).append(f"{name} ({mode})")
            continue
        scores[f"{name}_{SUFFIXES[mode]}"] = round(evaluation.mean_mm, 4)
        if mode == "official":
            scores["protocol"] = evaluation.protocol
    for why, which in failed.items():
        log.warning("errors of %s cannot be told: %s", ", ".join(which), why)
    return scores
