"""Training data of shape priors: samples and scans of heads, lattices of their distances, and batches of both."""

from recon.priors.data.band import Band, find_band
from recon.priors.data.batches import (
    Batch,
    DistanceBatch,
    LatticeBatch,
    PointSampler,
    ShardPool,
    SurfaceBatch,
)
from recon.priors.data.components import Components, principal_components
from recon.priors.data.dataset import HeadData, HeadPoints, SampleFolder
from recon.priors.data.lattices import Lattices, read_lattices
from recon.priors.data.scans import ScanFolder

__all__ = [
    "Band",
    "Batch",
    "Components",
    "DistanceBatch",
    "HeadData",
    "HeadPoints",
    "LatticeBatch",
    "Lattices",
    "PointSampler",
    "SampleFolder",
    "ScanFolder",
    "ShardPool",
    "SurfaceBatch",
    "find_band",
    "principal_components",
    "read_lattices",
]
