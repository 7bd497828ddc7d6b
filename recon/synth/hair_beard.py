"""Beards, and how their parameters are drawn."""

import numpy as np

from recon.synth.hair_styles import HairStyle
from recon.synth.identity import between, split_quantile

BEARD_COVERAGE = ("full", "goatee", "moustache")


def draw_beard(rng: np.random.Generator, split: str) -> tuple[HairStyle, str]:
    """Draws a beard: its style and one of `BEARD_COVERAGE`."""
    q = split_quantile(float(rng.uniform()), split)
    coverage = str(rng.choice(BEARD_COVERAGE, p=[0.6, 0.25, 0.15]))
    length = 5.0 + (27.0 if coverage == "full" else 12.0) * q**2
    style = HairStyle(
        "beard",
        flow="beard",
        length_top_mm=length,
        length_side_mm=length,
        length_back_mm=length,
        volume_top_mm=0.45 * length,
        volume_side_mm=0.45 * length,
        rise_mm=6.0,
        lift=0.55,
        gravity=0.5,
        stiffness=0.5,
        tuck=0.3,
        clumping=between(rng, 0.2, 0.5),
        guides=260,
        children=3000,
        points=8,
        frizz_mm=between(rng, 0.4, 1.2),
        curl_radius_mm=between(rng, 0.8, 2.0) if length > 12 else 0.0,
        curl_length_mm=between(rng, 12.0, 25.0),
        fade_mm=22.0,
        thickness_mm=1.2,
    )
    return style, coverage
