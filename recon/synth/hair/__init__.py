"""Hair of synthetic subjects: styles, growth of strands, the closed surface about them, brows and lashes."""

from recon.synth.hair.build import Growth as Growth
from recon.synth.hair.build import Skin as Skin
from recon.synth.hair.build import build_hair as build_hair
from recon.synth.hair.build import collision_field as collision_field
from recon.synth.hair.curves import Curves as Curves
from recon.synth.hair.face_hair import grow_brows as grow_brows
from recon.synth.hair.face_hair import grow_lashes as grow_lashes
from recon.synth.hair.parameters import HairStyle as HairStyle
from recon.synth.hair.scalp import Hairline as Hairline
from recon.synth.hair.scalp import draw_hairline as draw_hairline
from recon.synth.hair.styles import BEARD_COVERAGE as BEARD_COVERAGE
from recon.synth.hair.styles import FAMILIES as FAMILIES
from recon.synth.hair.styles import SHORT_FAMILIES as SHORT_FAMILIES
from recon.synth.hair.styles import WIDE_SHARES as WIDE_SHARES
from recon.synth.hair.styles import draw_beard as draw_beard
from recon.synth.hair.styles import draw_style as draw_style
from recon.synth.hair.wide_styles import draw_long_beard as draw_long_beard
from recon.synth.hair.wide_styles import draw_receded_hairline as draw_receded_hairline

__all__ = [
    "BEARD_COVERAGE",
    "FAMILIES",
    "SHORT_FAMILIES",
    "WIDE_SHARES",
    "Curves",
    "Growth",
    "HairStyle",
    "Hairline",
    "Skin",
    "build_hair",
    "collision_field",
    "draw_beard",
    "draw_hairline",
    "draw_long_beard",
    "draw_receded_hairline",
    "draw_style",
    "grow_brows",
    "grow_lashes",
]
