"""Whole synthetic subjects: recipes, shoulders and clothes, and the watertight ground truth."""

from recon.synth.body.bust import GARMENTS as GARMENTS
from recon.synth.body.bust import Bust as Bust
from recon.synth.body.bust import draw_bust as draw_bust
from recon.synth.body.bust import garment_mesh as garment_mesh
from recon.synth.body.neck import turned_on_neck as turned_on_neck
from recon.synth.body.subject import build_subject as build_subject
from recon.synth.body.subject import build_subject_without_hair as build_subject_without_hair
from recon.synth.body.subject import draw_recipe as draw_recipe
from recon.synth.body.subject import make_subject as make_subject
from recon.synth.body.subject import with_truth as with_truth
from recon.synth.body.truth import mark_regions as mark_regions
from recon.synth.body.truth import union_mesh as union_mesh

__all__ = [
    "GARMENTS",
    "Bust",
    "build_subject",
    "build_subject_without_hair",
    "draw_bust",
    "draw_recipe",
    "garment_mesh",
    "make_subject",
    "mark_regions",
    "turned_on_neck",
    "union_mesh",
    "with_truth",
]
