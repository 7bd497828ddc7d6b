"""Data sets of synthetic subjects: scenes in the H3DS layout, training samples, portraits, faulty and relit scenes."""

from recon.synth.datasets.batch import SceneProgress as SceneProgress
from recon.synth.datasets.batch import SceneSettings as SceneSettings
from recon.synth.datasets.batch import make_scene as make_scene
from recon.synth.datasets.batch import make_scenes as make_scenes
from recon.synth.datasets.batch import split_recipes as split_recipes
from recon.synth.datasets.cameras import Orbit as Orbit
from recon.synth.datasets.cameras import draw_orbit as draw_orbit
from recon.synth.datasets.cameras import look_at as look_at
from recon.synth.datasets.cameras import unit_sphere as unit_sphere
from recon.synth.datasets.faults import CLEAN as CLEAN
from recon.synth.datasets.faults import FAULTS as FAULTS
from recon.synth.datasets.faults import Fault as Fault
from recon.synth.datasets.faulty_scenes import write_faulty_scene as write_faulty_scene
from recon.synth.datasets.named import SET_NAME as SET_NAME
from recon.synth.datasets.named import differing_files as differing_files
from recon.synth.datasets.named import named_recipes as named_recipes
from recon.synth.datasets.portraits import FacePoints as FacePoints
from recon.synth.datasets.portraits import Portraits as Portraits
from recon.synth.datasets.portraits import make_portraits as make_portraits
from recon.synth.datasets.relighting import RelitSubject as RelitSubject
from recon.synth.datasets.sample_files import write_samples as write_samples
from recon.synth.datasets.samples import HeadSamples as HeadSamples
from recon.synth.datasets.samples import SampleCounts as SampleCounts
from recon.synth.datasets.samples import mean_landmarks as mean_landmarks
from recon.synth.datasets.samples import sample_subject as sample_subject
from recon.synth.datasets.scenes import draw_placement as draw_placement
from recon.synth.datasets.scenes import write_subject_scene as write_subject_scene

__all__ = [
    "CLEAN",
    "FAULTS",
    "SET_NAME",
    "FacePoints",
    "Fault",
    "HeadSamples",
    "Orbit",
    "Portraits",
    "RelitSubject",
    "SampleCounts",
    "SceneProgress",
    "SceneSettings",
    "differing_files",
    "draw_orbit",
    "draw_placement",
    "look_at",
    "make_portraits",
    "make_scene",
    "make_scenes",
    "mean_landmarks",
    "named_recipes",
    "sample_subject",
    "split_recipes",
    "unit_sphere",
    "write_faulty_scene",
    "write_samples",
    "write_subject_scene",
]
