"""What networks see in one photograph: faces, points on them, and the mask of a person."""

from recon.perception.masks import PersonMask, mask_paths
from recon.perception.networks import (
    Face,
    FaceDetector,
    FaceLandmarker,
    FaceLandmarks,
    HandSegmenter,
    PersonSegmenter,
)
from recon.perception.observation import Perception, PhotographObservation, PhotographWarning, see
from recon.perception.photograph import Photograph, photographs_at, photographs_in, read_photograph

__all__ = [
    "Face",
    "FaceDetector",
    "FaceLandmarker",
    "FaceLandmarks",
    "HandSegmenter",
    "Perception",
    "PersonMask",
    "PersonSegmenter",
    "Photograph",
    "PhotographObservation",
    "PhotographWarning",
    "mask_paths",
    "photographs_at",
    "photographs_in",
    "read_photograph",
    "see",
]
