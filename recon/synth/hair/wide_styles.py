"""Hair families of wider people: hair tied on the crown or at the nape, undercuts, receded hair and long beards.

They stand in a table of their own, so that the draws of `recon.synth.hair.styles` give what they always gave.
"""

from collections.abc import Callable

import numpy as np

from recon.synth.hair.parameters import TIED, HairStyle
from recon.synth.hair.scalp import Hairline
from recon.synth.model.identity import between, split_quantile

_CROWN_TIES_MM = np.array([(120.0, -80.0), (135.0, -67.0), (147.0, -52.0), (155.0, -36.0), (158.0, -20.0)])
_NAPE_TIES_MM = np.array([(-30.0, -76.0), (0.0, -88.0), (30.0, -99.0)])
"""Height and depth of ties about 14 mm off the neutral head, in the middle plane."""

_CHIN_MM, _MOUTH_MM = -76.0, -38.0
"""Heights on the neutral head."""


def _tied(rng: np.random.Generator, family: str, ties: np.ndarray, radius_mm: float) -> HairStyle:
    shaved = family == "topknot" and rng.uniform() < 0.35
    place = between(rng, 0.0, len(ties) - 1.0)
    steps = np.arange(len(ties))
    return HairStyle(
        family,
        **TIED,
        tie_mm=(0.0, float(np.interp(place, steps, ties[:, 0])), float(np.interp(place, steps, ties[:, 1]))),
        bun_mm=radius_mm,
        edge_mm=between(rng, 62.0, 88.0) if shaved else None,
        length_side_mm=between(rng, 1.5, 4.0),
        length_back_mm=between(rng, 1.5, 4.0),
        volume_top_mm=between(rng, 4.0, 9.0),
        volume_side_mm=between(rng, 3.5, 6.0),
        clumping=between(rng, 0.2, 0.4),
        points=48,
        frizz_mm=between(rng, 0.4, 1.2),
    )


def _topknot(rng: np.random.Generator, q: float) -> HairStyle:
    return _tied(rng, "topknot", _CROWN_TIES_MM, 15.0 + 19.0 * q)


def _low_bun(rng: np.random.Generator, q: float) -> HairStyle:
    return _tied(rng, "low_bun", _NAPE_TIES_MM, 18.0 + 17.0 * q)


def _undercut(rng: np.random.Generator, q: float) -> HairStyle:
    shaved = between(rng, 1.0, 3.0)
    return HairStyle(
        "undercut",
        flow=str(rng.choice(["back", "part", "fringe", "loose"], p=[0.4, 0.3, 0.15, 0.15])),
        parting_mm=float(rng.choice([-1, 1])) * between(rng, 25.0, 45.0),
        slant=between(rng, -0.12, 0.5),
        length_top_mm=55.0 + 75.0 * q,
        length_side_mm=shaved,
        length_back_mm=shaved,
        edge_mm=between(rng, 82.0, 104.0),
        volume_top_mm=between(rng, 14.0, 34.0),
        volume_side_mm=0.5 * shaved,
        rise_mm=between(rng, 8.0, 15.0),
        lift=between(rng, 0.5, 0.8),
        clumping=between(rng, 0.4, 0.7),
        children=8000,
        frizz_mm=between(rng, 0.4, 1.2),
    )


def _receding(rng: np.random.Generator, q: float) -> HairStyle:
    length = 7.0 + 28.0 * q
    sides = length * between(rng, 0.5, 1.0)
    return HairStyle(
        "receding",
        length_top_mm=length,
        length_side_mm=sides,
        length_back_mm=sides,
        volume_top_mm=min(0.5 * length, between(rng, 3.0, 9.0)),
        volume_side_mm=between(rng, 2.5, 5.0),
        rise_mm=8.0,
        lift=between(rng, 0.35, 0.7),
        swirl=between(rng, -0.9, 0.9),
        clumping=between(rng, 0.2, 0.5),
        children=6500,
        points=8,
        thickness_mm=1.3,
        frizz_mm=between(rng, 0.3, 1.0),
        fade_mm=between(rng, 18.0, 32.0),
    )


def draw_receded_hairline(rng: np.random.Generator) -> Hairline:
    """Draws a hairline receded as far as the top of the head, and the bald spot on the crown."""
    front = between(rng, 10.0, 38.0)
    return Hairline(
        front_mm=front,
        recess_mm=between(rng, 8.0, 52.0 - front),
        peak_mm=between(rng, 0.0, 8.0) if front < 20.0 else 0.0,
        sideburn_mm=between(rng, -10.0, 14.0),
        nape_mm=between(rng, -6.0, 6.0),
        crown_mm=between(rng, 14.0, 46.0) if rng.uniform() < 0.7 else 0.0,
    )


def draw_long_beard(rng: np.random.Generator, split: str) -> tuple[HairStyle, str]:
    """Draws a full beard that hangs 40 to 110 mm below the chin, and its coverage."""
    length = 40.0 + 70.0 * split_quantile(float(rng.uniform()), split)
    style = HairStyle(
        "beard",
        flow="beard",
        # moustache and sideburns are trimmed, the rest hangs
        edge_mm=_MOUTH_MM,
        length_top_mm=between(rng, 9.0, 22.0),
        length_side_mm=1.15 * length + 25.0,
        length_back_mm=1.15 * length + 25.0,
        cut_mm=_CHIN_MM - length,
        volume_top_mm=between(rng, 5.0, 9.0),
        volume_side_mm=between(rng, 10.0, 20.0),
        rise_mm=12.0,
        lift=between(rng, 0.35, 0.55),
        gravity=1.0,
        stiffness=0.5,
        tuck=between(rng, 0.1, 0.4),
        clumping=between(rng, 0.3, 0.6),
        guides=320,
        children=4500,
        points=26,
        frizz_mm=between(rng, 0.8, 2.2),
        curl_radius_mm=between(rng, 1.2, 3.5) if rng.uniform() < 0.7 else 0.0,
        curl_length_mm=between(rng, 18.0, 45.0),
        raggedness=between(rng, 0.4, 1.0),
        fade_mm=38.0,
        thickness_mm=1.6,
    )
    return style, "full"


WIDE_DRAWS: dict[str, Callable[[np.random.Generator, float], HairStyle]] = {
    "topknot": _topknot,
    "low_bun": _low_bun,
    "undercut": _undercut,
    "receding": _receding,
}
