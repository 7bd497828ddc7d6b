"""Synthetic people: `make_subject(seed)` draws identity, expression, hair and clothes and builds their surfaces."""

from recon.synth.parts import (
    BEARD,
    BROW,
    CLOTH,
    EYE,
    HAIR,
    LABEL_NAMES,
    LASH,
    MOUTH,
    SKIN,
    Part,
    Strands,
    Subject,
)

__all__ = [
    "BEARD",
    "BROW",
    "CLOTH",
    "EYE",
    "HAIR",
    "LABEL_NAMES",
    "LASH",
    "MOUTH",
    "SKIN",
    "Part",
    "Strands",
    "Subject",
]
