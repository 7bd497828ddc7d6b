"""How good a reconstruction is: the official H3DS protocol, a strict one beside it, and image measures.

>>> evaluate(scene.ground_truth, mesh, region="face_sphere").mean_mm                 # doctest: +SKIP
>>> evaluate(scene.ground_truth, mesh, mode="strict").summary()                      # doctest: +SKIP
"""

from recon.evaluation.evaluator import Evaluation as Evaluation
from recon.evaluation.evaluator import Evaluator as Evaluator
from recon.evaluation.evaluator import GroundTruthLike as GroundTruthLike
from recon.evaluation.evaluator import evaluate as evaluate
from recon.evaluation.images import psnr as psnr
from recon.evaluation.images import ssim as ssim
from recon.evaluation.official import OfficialResult as OfficialResult
from recon.evaluation.prediction import Prediction as Prediction
from recon.evaluation.prediction import project_landmarks as project_landmarks
from recon.evaluation.strict import StrictResult as StrictResult
from recon.geometry.outlines import mask_iou as mask_iou

__all__ = [
    "Evaluation",
    "Evaluator",
    "GroundTruthLike",
    "OfficialResult",
    "Prediction",
    "StrictResult",
    "evaluate",
    "mask_iou",
    "project_landmarks",
    "psnr",
    "ssim",
]
