"""The head model that synthetic subjects are drawn from, and their identities: shapes of heads and expressions."""

from recon.synth.model.defects import TOLERANCE_MM3 as TOLERANCE_MM3
from recon.synth.model.defects import visible_defects_mm3 as visible_defects_mm3
from recon.synth.model.head_model import H3DS_LANDMARKS as H3DS_LANDMARKS
from recon.synth.model.head_model import HeadModel as HeadModel
from recon.synth.model.head_model import default_path as default_path
from recon.synth.model.head_model import load_head_model as load_head_model
from recon.synth.model.identity import ADULT_RANGES_MM as ADULT_RANGES_MM
from recon.synth.model.identity import SPLITS as SPLITS
from recon.synth.model.identity import HeadShape as HeadShape
from recon.synth.model.identity import Identity as Identity
from recon.synth.model.identity import anatomy as anatomy
from recon.synth.model.identity import draw_identity as draw_identity
from recon.synth.model.identity import generator as generator
from recon.synth.model.identity import shape_head as shape_head
from recon.synth.model.identity import split_quantile as split_quantile

__all__ = [
    "ADULT_RANGES_MM",
    "H3DS_LANDMARKS",
    "SPLITS",
    "TOLERANCE_MM3",
    "HeadModel",
    "HeadShape",
    "Identity",
    "anatomy",
    "default_path",
    "draw_identity",
    "generator",
    "load_head_model",
    "shape_head",
    "split_quantile",
    "visible_defects_mm3",
]
