"""Photographs of synthetic subjects: materials, light, rasteriser, sensor, and passes such as depth and labels."""

from recon.synth.render.appearance import Appearance as Appearance
from recon.synth.render.appearance import appearance_of as appearance_of
from recon.synth.render.appearance import draw_appearance as draw_appearance
from recon.synth.render.passes import PASSES as PASSES
from recon.synth.render.passes import encode as encode
from recon.synth.render.passes import render_passes as render_passes
from recon.synth.render.passes import rgb as rgb
from recon.synth.render.photograph import Exposure as Exposure
from recon.synth.render.photograph import expose as expose
from recon.synth.render.prepared import PreparedSubject as PreparedSubject
from recon.synth.render.prepared import prepare as prepare
from recon.synth.render.room import Lamp as Lamp
from recon.synth.render.room import Room as Room
from recon.synth.render.room import draw_room as draw_room

__all__ = [
    "PASSES",
    "Appearance",
    "Exposure",
    "Lamp",
    "PreparedSubject",
    "Room",
    "appearance_of",
    "draw_appearance",
    "draw_room",
    "encode",
    "expose",
    "prepare",
    "render_passes",
    "rgb",
]
