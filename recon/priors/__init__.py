"""Priors: what is known of heads before the photographs are looked at. One interface, a file each."""

from recon.priors.deepsdf import DeepSDFPrior as DeepSDFPrior
from recon.priors.deepsdf import MeanHeadPrior as MeanHeadPrior
from recon.priors.field import PriorField as PriorField
from recon.priors.instant_start import InstantStart as InstantStart
from recon.priors.pca_prior import GridShape as GridShape
from recon.priors.pca_prior import PCAPrior as PCAPrior
from recon.priors.network import DeepSDFNetwork as DeepSDFNetwork
from recon.priors.network import FeatureGridSDFNetwork as FeatureGridSDFNetwork
from recon.priors.network import ShapeNetwork as ShapeNetwork
from recon.priors.network import fit_code as fit_code
from recon.priors.pca.shape_model import PCAShapeModel as PCAShapeModel
from recon.priors.prior import Networks as Networks
from recon.priors.prior import Prior as Prior
from recon.priors.prior import SceneObservations as SceneObservations
from recon.priors.prior import SpherePrior as SpherePrior
from recon.priors.prior import Start as Start
from recon.priors.regression import Regression as Regression
from recon.priors.regression import SDFSamples as SDFSamples
from recon.priors.regression import fit_field as fit_field
from recon.priors.regression import on_surface as on_surface
from recon.priors.weights import Canonical as Canonical
from recon.priors.weights import ShapePrior as ShapePrior
from recon.priors.weights import load_shape_prior as load_shape_prior
from recon.priors.weights import save_shape_prior as save_shape_prior
