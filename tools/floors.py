"""Floors of the house, from the lowest: a room of recon/ imports from its own floor and from lower ones.

tests/test_house.py holds the code to it, draw_house.py draws it.
"""

FLOORS = (
    (
        "errors",
        "files",
        "reading",
        "resources",
        "compiled",
        "threads",
        "warned",
        "losses",
        "fields",
        "meshing",
    ),
    ("geometry",),
    ("evaluation",),
    ("scene",),
    ("perception", "fitting", "rendering", "synth"),
    ("priors",),
    ("calibration", "morphable", "hair", "appearance"),
    ("systems",),
    ("commands",),
)
"""Names of rooms: folders and modules of recon/. Some are not built yet."""
