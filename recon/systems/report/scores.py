"""Errors of the mesh against the ground truth of the scene, in millimetres."""

import logging
from typing import Any, Literal

from recon.errors import ReconError
from recon.evaluation import Evaluator, Prediction
from recon.systems.stages import Run

log = logging.getLogger(__name__)


def write(run: Run) -> dict[str, Any]:
    """Score the mesh by the official H3DS protocol and the strict one.

    Returns:
        `protocol`, `landmarks` (whether the official alignment began from landmarks), and mean errors in mm, all null
        without ground truth or with `evaluate=false`.
    """
    assert run.surface is not None
    scores: dict[str, Any] = {
        "protocol": None,
        "landmarks": None,
        "face_mm": None,
        "head_mm": None,
        "face_mm_strict": None,
        "head_mm_strict": None,
    }
    truth, surface = run.scene.ground_truth, run.surface
    if truth is None or not run.cfg.evaluate:
        return scores
    # The official alignment takes all landmarks of the truth, or none.
    scores["landmarks"] = bool(truth.landmarks) and truth.landmarks.keys() <= surface.landmarks.keys()
    evaluator = Evaluator(truth, name=run.scene.name)
    prediction = Prediction(surface.mesh.copy(), landmarks=surface.landmarks if scores["landmarks"] else None)
    regions: dict[str, Literal["face_sphere"] | None] = {"face": "face_sphere", "head": None}
    modes: dict[str, Literal["official", "strict"]] = {"mm": "official", "mm_strict": "strict"}
    failed: dict[str, list[str]] = {}
    for name, region in regions.items():
        for suffix, mode in modes.items():
            try:
                evaluation = evaluator.evaluate(prediction, region=region, mode=mode)
            except ReconError as error:
                failed.setdefault(str(error), []).append(f"{name} ({mode})")
                continue
            scores[f"{name}_{suffix}"] = round(evaluation.mean_mm, 4)
            if mode == "official":
                scores["protocol"] = evaluation.protocol
    for why, which in failed.items():
        log.warning("errors of %s cannot be told: %s", ", ".join(which), why)
    return scores
