"""The linear shape model: principal components of lattices of signed distances, its heads, and its compression."""

from recon.priors.pca.landmarks import LandmarkMap, LinearMap, fit_landmarks, fit_linear
from recon.priors.pca.packing import packed, unpacked
from recon.priors.pca.principal import GridComponents, principal_lattice
from recon.priors.pca.shape import GridShape
from recon.priors.pca.shape_model import PCAShape, PCAShapeModel

__all__ = [
    "GridComponents",
    "GridShape",
    "LandmarkMap",
    "LinearMap",
    "PCAShape",
    "PCAShapeModel",
    "fit_landmarks",
    "fit_linear",
    "packed",
    "principal_lattice",
    "unpacked",
]
