"""Geometry and appearance of a scene as small modules: signed distance, features and colour at points of unit space."""

from recon.fields.deformation import Deformation, HeadDeformation
from recon.fields.encoding import FrequencyEncoding
from recon.fields.feature_grid import (
    FeatureGrid,
    distance_to_box,
    rows_times,
    spline_values,
    weighted_sums,
)
from recon.fields.field import Field, FieldSample, sdf_and_gradient
from recon.fields.grid_field import DenseField, GridField, HashField
from recon.fields.level_grid import DenseGrid, GridFeature, HashGrid, LevelGrid
from recon.fields.rendering_network import FeatureNetwork, RenderingNetwork
from recon.fields.sdf import SDFNetwork

__all__ = [
    "Deformation",
    "DenseField",
    "DenseGrid",
    "FeatureGrid",
    "FeatureNetwork",
    "Field",
    "FieldSample",
    "FrequencyEncoding",
    "GridFeature",
    "GridField",
    "HashField",
    "HashGrid",
    "HeadDeformation",
    "LevelGrid",
    "RenderingNetwork",
    "SDFNetwork",
    "distance_to_box",
    "rows_times",
    "sdf_and_gradient",
    "spline_values",
    "weighted_sums",
]
