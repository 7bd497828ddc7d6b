"""Priors: knowledge of heads from before the photographs are looked at. One interface, a file for each prior."""

from recon.geometry.frames import CanonicalFrame
from recon.priors.deepsdf import DeepSDFPrior, MeanHeadPrior
from recon.priors.field import PriorField
from recon.priors.instant_start import InstantStart
from recon.priors.network import DeepSDFNetwork, FeatureGridSDFNetwork, ShapeNetwork, fit_code
from recon.priors.pca import GridShape, PCAShapeModel
from recon.priors.pca_prior import PCAPrior
from recon.priors.pretrained_epoch import PretrainedEpochPrior
from recon.priors.prior import FitsHead, FittedHead, Networks, Prior, SceneObservations, SpherePrior, Start
from recon.priors.regression import Regression, SDFSamples, fit_field, on_surface
from recon.priors.source_subjects import SourceSubject, load_source_subject, save_source_subject
from recon.priors.tensor_files import convert_file
from recon.priors.weights import ShapePrior, load_shape_prior, save_shape_prior

__all__ = [
    "CanonicalFrame",
    "DeepSDFNetwork",
    "DeepSDFPrior",
    "FeatureGridSDFNetwork",
    "FitsHead",
    "FittedHead",
    "GridShape",
    "InstantStart",
    "MeanHeadPrior",
    "Networks",
    "PCAPrior",
    "PCAShapeModel",
    "PretrainedEpochPrior",
    "Prior",
    "PriorField",
    "Regression",
    "SDFSamples",
    "SceneObservations",
    "ShapeNetwork",
    "ShapePrior",
    "SourceSubject",
    "SpherePrior",
    "Start",
    "convert_file",
    "fit_code",
    "fit_field",
    "load_shape_prior",
    "load_source_subject",
    "on_surface",
    "save_shape_prior",
    "save_source_subject",
]
