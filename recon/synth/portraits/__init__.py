"""Portraits of synthetic people with maps of what they show, for networks that look at photographs."""

from recon.synth.portraits.framing import Framing as Framing
from recon.synth.portraits.framing import draw_framing as draw_framing
from recon.synth.portraits.held import draw_things as draw_things
from recon.synth.portraits.people import Person as Person
from recon.synth.portraits.people import draw_person as draw_person
from recon.synth.portraits.people import seat as seat
from recon.synth.portraits.people import sit as sit
from recon.synth.portraits.portrait import Portrait as Portrait
from recon.synth.portraits.portrait import shoot as shoot

__all__ = [
    "Framing",
    "Person",
    "Portrait",
    "draw_framing",
    "draw_person",
    "draw_things",
    "seat",
    "shoot",
    "sit",
]
