"""Second-order fits of a shape model to photographs, before any network is trained."""

from recon.fitting.brightness import BrightnessModel
from recon.fitting.contours import Contours, contour_rays
from recon.fitting.instant import InitialHead, InstantFit, initial_head, solve
from recon.fitting.observations import SolverSettings
from recon.fitting.pose import HeadFit, fit_head, life_size, up_of_pose
from recon.fitting.sdf_offset import SDFOffset, SDFOffsetSettings, fit_sdf_offset
from recon.fitting.shape_model import Shape, ShapeModel

__all__ = [
    "BrightnessModel",
    "Contours",
    "HeadFit",
    "InitialHead",
    "InstantFit",
    "SDFOffset",
    "SDFOffsetSettings",
    "Shape",
    "ShapeModel",
    "SolverSettings",
    "contour_rays",
    "fit_head",
    "fit_sdf_offset",
    "initial_head",
    "life_size",
    "solve",
    "up_of_pose",
]
