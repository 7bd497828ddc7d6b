"""Synthetic heads of people that never lived: shape, hair, clothes, skin, light, photographs, data sets.

Names are imported on first use: the compiled renderer is loaded only by those who photograph. Rooms import
only what stands before them in this order: parts, model, hair, body, render, datasets.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recon.synth.body import build_subject as build_subject
    from recon.synth.body import draw_recipe as draw_recipe
    from recon.synth.body import make_subject as make_subject
    from recon.synth.body import with_truth as with_truth
    from recon.synth.datasets import SampleCounts as SampleCounts
    from recon.synth.datasets import SceneSettings as SceneSettings
    from recon.synth.datasets import draw_orbit as draw_orbit
    from recon.synth.datasets import make_scene as make_scene
    from recon.synth.datasets import make_scenes as make_scenes
    from recon.synth.datasets import named_recipes as named_recipes
    from recon.synth.datasets import sample_subject as sample_subject
    from recon.synth.datasets import write_samples as write_samples
    from recon.synth.datasets import write_subject_scene as write_subject_scene
    from recon.synth.hair import FAMILIES as FAMILIES
    from recon.synth.model import SPLITS as SPLITS
    from recon.synth.model import HeadModel as HeadModel
    from recon.synth.model import default_path as default_path
    from recon.synth.model import draw_identity as draw_identity
    from recon.synth.model import generator as generator
    from recon.synth.model import load_head_model as load_head_model
    from recon.synth.model import shape_head as shape_head
    from recon.synth.parts import LABEL_NAMES as LABEL_NAMES
    from recon.synth.parts import Part as Part
    from recon.synth.parts import Strands as Strands
    from recon.synth.parts import Subject as Subject
    from recon.synth.render import PASSES as PASSES
    from recon.synth.render import appearance_of as appearance_of
    from recon.synth.render import draw_appearance as draw_appearance
    from recon.synth.render import expose as expose
    from recon.synth.render import prepare as prepare
    from recon.synth.render import render_passes as render_passes

_NAMES = {
    "body": "build_subject draw_recipe make_subject with_truth",
    "datasets": (
        "SampleCounts SceneSettings draw_orbit make_scene make_scenes named_recipes "
        "sample_subject write_samples write_subject_scene"
    ),
    "hair": "FAMILIES",
    "model": "HeadModel SPLITS default_path draw_identity generator load_head_model shape_head",
    "parts": "LABEL_NAMES Part Strands Subject",
    "render": "PASSES appearance_of draw_appearance expose prepare render_passes",
}
"""Public names by the module that has them; the imports above say the same to type checkers."""

_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    """Imports the module of a public name when the name is first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
