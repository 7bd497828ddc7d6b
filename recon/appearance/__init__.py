"""Colours of a head's surface: photographs projected onto it, networks where they show nothing."""

from recon.appearance.projection import ProjectedColour as ProjectedColour
from recon.appearance.projection import ProjectedPhotograph as ProjectedPhotograph
from recon.appearance.projection import balanced as balanced
