"""Floors of the house, from the lowest: a room of recon/ imports from its own floor and from lower ones.

tests/test_house.py holds the code to it, draw_house.py draws it.
"""

LOWEST = (
    "errors", "files", "plain_yaml", "reading", "registry", "resources", "run_folders", "compiled", "threads",
    "processes", "storage", "warned", "losses", "fields", "meshing",
)  # fmt: skip
"""Rooms that need none but each other."""
FLOORS = (
    LOWEST,
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
