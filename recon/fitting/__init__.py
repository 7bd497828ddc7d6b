"""Second-order fits of a shape prior to photographs, before any network is trained."""

from recon.fitting.contours import Contours as Contours
from recon.fitting.contours import contour_rays as contour_rays
from recon.fitting.instant import InstantFit as InstantFit
from recon.fitting.instant import solve as solve
from recon.fitting.observations import SolverSettings as SolverSettings
from recon.fitting.pose import HeadFit as HeadFit
from recon.fitting.pose import fit_head as fit_head
from recon.fitting.pose import life_size as life_size
from recon.fitting.shape_model import Shape as Shape
from recon.fitting.shape_model import ShapeModel as ShapeModel
