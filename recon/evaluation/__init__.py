"""Scores of reconstructions: the official H3DS protocol, a strict one beside it, image measures, and their tables.

>>> evaluate(scene.ground_truth, mesh, region="face_sphere").mean_mm                 # doctest: +SKIP
>>> evaluate(scene.ground_truth, mesh, mode="strict").summary()                      # doctest: +SKIP
"""

from recon.evaluation.batch import Score as Score
from recon.evaluation.batch import ScoringOptions as ScoringOptions
from recon.evaluation.batch import score as score
from recon.evaluation.evaluator import Evaluation as Evaluation
from recon.evaluation.evaluator import Evaluator as Evaluator
from recon.evaluation.evaluator import GroundTruthLike as GroundTruthLike
from recon.evaluation.evaluator import evaluate as evaluate
from recon.evaluation.images import psnr as psnr
from recon.evaluation.images import ssim as ssim
from recon.evaluation.official import OfficialResult as OfficialResult
from recon.evaluation.predictions import Job as Job
from recon.evaluation.predictions import Prediction as Prediction
from recon.evaluation.predictions import find as find
from recon.evaluation.predictions import project_landmarks as project_landmarks
from recon.evaluation.predictions import read_landmarks as read_landmarks
from recon.evaluation.predictions import read_mesh as read_mesh
from recon.evaluation.strict import StrictResult as StrictResult
from recon.evaluation.tables import Report as Report
from recon.evaluation.visible_truth import VisibleGroundTruth as VisibleGroundTruth
from recon.geometry.outlines import mask_iou as mask_iou

__all__ = [
    "Evaluation",
    "Evaluator",
    "GroundTruthLike",
    "Job",
    "OfficialResult",
    "Prediction",
    "Report",
    "Score",
    "ScoringOptions",
    "StrictResult",
    "VisibleGroundTruth",
    "evaluate",
    "find",
    "mask_iou",
    "project_landmarks",
    "psnr",
    "read_landmarks",
    "read_mesh",
    "score",
    "ssim",
]
