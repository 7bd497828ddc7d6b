"""Second-order fits of a shape prior to photographs, before any network is trained."""

from recon.fitting.contours import Contours as Contours
from recon.fitting.contours import contour_rays as contour_rays
from recon.fitting.expected import life_size as life_size
from recon.fitting.family import Family as Family
from recon.fitting.family import Member as Member
from recon.fitting.head import HeadFit as HeadFit
from recon.fitting.head import fit_head as fit_head
from recon.fitting.instant import InstantFit as InstantFit
from recon.fitting.instant import solve as solve
from recon.fitting.prepared import SolverSettings as SolverSettings
