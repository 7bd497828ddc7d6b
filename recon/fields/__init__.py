"""Fields: what a point in unit space is worth. Signed distance, features and colour, as small modules."""

from recon.fields.encoding import FrequencyEncoding as FrequencyEncoding
from recon.fields.feature_grid import FeatureGrid as FeatureGrid
from recon.fields.feature_grid import distance_to_box as distance_to_box
from recon.fields.field import Field as Field
from recon.fields.field import FieldSample as FieldSample
from recon.fields.field import sdf_and_gradient as sdf_and_gradient
from recon.fields.grid_field import DenseField as DenseField
from recon.fields.grid_field import GridField as GridField
from recon.fields.grid_field import HashField as HashField
from recon.fields.level_grid import DenseGrid as DenseGrid
from recon.fields.level_grid import GridFeature as GridFeature
from recon.fields.level_grid import HashGrid as HashGrid
from recon.fields.level_grid import LevelGrid as LevelGrid
from recon.fields.rendering_network import FeatureNetwork as FeatureNetwork
from recon.fields.rendering_network import RenderingNetwork as RenderingNetwork
from recon.fields.sdf import SDFNetwork as SDFNetwork
