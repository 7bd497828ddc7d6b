"""Hair styles: the families of hair and beards, and the draw of one for a subject.

The length of a style is drawn through `split_quantile`, so that no style of one split occurs in another.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from recon.errors import ConfigError
from recon.synth.hair.parameters import TIED, HairStyle
from recon.synth.hair.wide_styles import WIDE_DRAWS
from recon.synth.model.identity import between, split_quantile

SHARES = {
    "bald": 0.07,
    "buzz": 0.09,
    "short": 0.13,
    "side_parted": 0.12,
    "swept_back": 0.09,
    "curly": 0.09,
    "afro": 0.06,
    "fringe": 0.08,
    "bob": 0.08,
    "long": 0.09,
    "ponytail": 0.06,
    "bun": 0.04,
}
"""How often each family is drawn; the first five are short and make up half."""

FAMILIES = tuple(SHARES)
SHORT_FAMILIES = FAMILIES[:5]

_NEW_SHARES = {"topknot": 0.13, "bun": 0.07, "low_bun": 0.09, "undercut": 0.13, "receding": 0.13}
_KEPT = (1.0 - sum(_NEW_SHARES.values())) / (1.0 - SHARES["bun"])
WIDE_SHARES = {**{family: _KEPT * share for family, share in SHARES.items()}, **_NEW_SHARES}
"""How often each family is drawn for wider people: more than half has what `SHARES` lacks or hardly has."""


def draw_style(
    rng: np.random.Generator, split: str, family: str | None = None, *, wide: bool = False
) -> HairStyle | None:
    """Draws a style of a family (drawn too by default); None for a bald head.

    Args:
        rng: Source of randomness.
        split: Split that the style belongs to.
        family: One of `WIDE_SHARES`.
        wide: Draw the family from `WIDE_SHARES` instead of `SHARES`.

    Raises:
        ConfigError: Unknown family or split.
    """
    if family is None:
        shares = WIDE_SHARES if wide else SHARES
        family = str(rng.choice(tuple(shares), p=list(shares.values())))
    if family not in WIDE_SHARES:
        raise ConfigError(f"hair style must be one of {', '.join(WIDE_SHARES)}, got {family!r}")
    if family == "bald":
        return None
    q = split_quantile(float(rng.uniform()), split)
    return replace(_DRAWS[family](rng, q), family=family)


def _buzz(rng: np.random.Generator, q: float) -> HairStyle:
    length = 4.0 + 7.0 * q
    return HairStyle(
        "buzz",
        length_top_mm=length,
        length_side_mm=0.8 * length,
        length_back_mm=0.8 * length,
        volume_top_mm=0.7 * length,
        volume_side_mm=0.5 * length,
        rise_mm=3.0,
        lift=0.75,
        swirl=between(rng, -0.9, 0.9),
        clumping=0.15,
        children=9000,
        points=5,
        thickness_mm=1.3,
        frizz_mm=0.3,
        fade_mm=8.0,
    )


def _short(rng: np.random.Generator, q: float) -> HairStyle:
    sides = between(rng, 8.0, 18.0)
    return HairStyle(
        "short",
        length_top_mm=18.0 + 27.0 * q,
        length_side_mm=sides,
        length_back_mm=sides,
        volume_top_mm=between(rng, 8.0, 14.0),
        volume_side_mm=between(rng, 3.5, 6.0),
        lift=between(rng, 0.4, 0.75),
        swirl=between(rng, -0.9, 0.9),
        clumping=between(rng, 0.3, 0.6),
        children=8000,
        points=10,
        thickness_mm=1.4,
        frizz_mm=between(rng, 0.4, 1.2),
    )


def _side_parted(rng: np.random.Generator, q: float) -> HairStyle:
    sides = between(rng, 14.0, 34.0)
    return HairStyle(
        "side_parted",
        flow="part",
        parting_mm=float(rng.choice([-1, 1])) * between(rng, 18.0, 38.0),
        length_top_mm=70.0 + 50.0 * q,
        length_side_mm=sides,
        length_back_mm=sides,
        volume_top_mm=between(rng, 13.0, 24.0),
        volume_side_mm=between(rng, 5.0, 9.0),
        lift=between(rng, 0.4, 0.65),
        slant=between(rng, 0.35, 0.75),
        clumping=between(rng, 0.4, 0.7),
        frizz_mm=between(rng, 0.4, 1.2),
    )


def _swept_back(rng: np.random.Generator, q: float) -> HairStyle:
    sides = between(rng, 14.0, 45.0)
    return HairStyle(
        "swept_back",
        flow="back",
        slant=between(rng, -0.12, 0.12),
        length_top_mm=75.0 + 60.0 * q,
        length_side_mm=sides,
        length_back_mm=sides,
        volume_top_mm=between(rng, 10.0, 25.0),
        volume_side_mm=between(rng, 5.0, 9.0),
        rise_mm=between(rng, 9.0, 16.0),
        lift=between(rng, 0.5, 0.75),
        clumping=between(rng, 0.4, 0.7),
        frizz_mm=between(rng, 0.4, 1.2),
    )


def _curly(rng: np.random.Generator, q: float) -> HairStyle:
    length = 55.0 + 85.0 * q
    return HairStyle(
        "curly",
        flow="loose",
        length_top_mm=length,
        length_front_mm=0.6 * length,
        length_side_mm=0.7 * length,
        length_back_mm=0.7 * length,
        volume_top_mm=between(rng, 22.0, 36.0),
        volume_side_mm=between(rng, 14.0, 24.0),
        rise_mm=25.0,
        lift=0.8,
        gravity=0.3,
        tuck=0.2,
        curl_radius_mm=between(rng, 3.5, 7.0),
        curl_length_mm=between(rng, 18.0, 34.0),
        clumping=between(rng, 0.55, 0.8),
        guides=420,
        children=5000,
        points=36,
        frizz_mm=between(rng, 1.0, 2.5),
        thickness_mm=1.8,
        closing_mm=4.0,
    )


def _afro(rng: np.random.Generator, q: float) -> HairStyle:
    length = 22.0 + 55.0 * q
    side = length * between(rng, 0.55, 1.0)
    return HairStyle(
        "afro",
        flow="out",
        length_top_mm=1.25 * length,
        length_side_mm=1.25 * side,
        length_back_mm=1.25 * side,
        volume_top_mm=length,
        volume_side_mm=side,
        rise_mm=0.6 * length,
        lift=0.95,
        gravity=0.0,
        stiffness=0.8,
        layering=1.6,
        tuck=0.0,
        curl_radius_mm=between(rng, 2.0, 3.2),
        curl_length_mm=between(rng, 8.0, 13.0),
        clumping=between(rng, 0.2, 0.4),
        guides=900,
        children=7000,
        points=24,
        frizz_mm=between(rng, 1.5, 3.0),
        raggedness=0.15,
        fade_mm=20.0,
        thickness_mm=2.0,
    )


def _fringe(rng: np.random.Generator, q: float) -> HairStyle:
    sides = between(rng, 25.0, 60.0)
    return HairStyle(
        "fringe",
        flow="fringe",
        length_top_mm=70.0 + 20.0 * q,
        length_front_mm=45.0 + 25.0 * q,
        length_side_mm=sides,
        length_back_mm=sides,
        volume_top_mm=between(rng, 9.0, 16.0),
        volume_side_mm=between(rng, 6.0, 11.0),
        lift=between(rng, 0.3, 0.5),
        gravity=0.6,
        clumping=between(rng, 0.4, 0.7),
        frizz_mm=between(rng, 0.5, 1.5),
        swirl=between(rng, -0.6, 0.6),
    )


def _bob(rng: np.random.Generator, q: float) -> HairStyle:
    return HairStyle(
        "bob",
        flow="down",
        parting_mm=between(rng, -35.0, 35.0),
        length_top_mm=340.0,
        length_side_mm=260.0,
        length_back_mm=260.0,
        cut_mm=-35.0 - 70.0 * q,
        volume_top_mm=between(rng, 10.0, 17.0),
        volume_side_mm=between(rng, 12.0, 20.0),
        rise_mm=20.0,
        lift=0.45,
        slant=between(rng, 0.1, 0.9),
        gravity=1.0,
        tuck=between(rng, 0.0, 0.5),
        clumping=between(rng, 0.3, 0.6),
        curl_radius_mm=between(rng, 2.0, 5.0) if rng.uniform() < 0.4 else 0.0,
        curl_length_mm=between(rng, 45.0, 80.0),
        points=34,
        children=6000,
        frizz_mm=between(rng, 0.6, 1.6),
        raggedness=0.25,
        thickness_mm=1.9,
    )


def _long(rng: np.random.Generator, q: float) -> HairStyle:
    return replace(
        _bob(rng, q),
        parted_z_mm=between(rng, -10.0, 40.0) if rng.uniform() < 0.6 else 200.0,
        length_top_mm=520.0,
        length_side_mm=460.0,
        length_back_mm=460.0,
        cut_mm=-120.0 - 75.0 * q,
        curl_radius_mm=between(rng, 2.0, 5.5) if rng.uniform() < 0.5 else 0.0,
        curl_length_mm=between(rng, 50.0, 100.0),
        tuck=0.2,
        points=48,
        raggedness=0.5,
    )


def _ponytail(rng: np.random.Generator, q: float) -> HairStyle:
    height = between(rng, 0.0, 1.0)
    return HairStyle(
        "ponytail",
        **TIED,
        tie_mm=(0.0, 20.0 + 85.0 * height, -104.0 + 14.0 * height),
        tail_mm=130.0 + 140.0 * q,
        volume_top_mm=between(rng, 5.0, 9.0),
        volume_side_mm=between(rng, 4.0, 6.0),
        clumping=between(rng, 0.2, 0.4),
        curl_radius_mm=between(rng, 2.0, 6.0) if rng.uniform() < 0.4 else 0.0,
        curl_length_mm=between(rng, 50.0, 100.0),
        points=44,
        frizz_mm=between(rng, 0.8, 2.0),
    )


def _bun(rng: np.random.Generator, q: float) -> HairStyle:
    height = between(rng, 0.0, 1.0)
    return replace(
        _ponytail(rng, q),
        tie_mm=(0.0, 45.0 + 75.0 * height, -100.0 + 20.0 * height),
        tail_mm=0.0,
        bun_mm=20.0 + 14.0 * q,
        curl_radius_mm=0.0,
        points=48,
        frizz_mm=between(rng, 0.4, 1.0),
    )


_DRAWS: dict[str, Callable[[np.random.Generator, float], HairStyle]] = {
    "buzz": _buzz,
    "short": _short,
    "side_parted": _side_parted,
    "swept_back": _swept_back,
    "curly": _curly,
    "afro": _afro,
    "fringe": _fringe,
    "bob": _bob,
    "long": _long,
    "ponytail": _ponytail,
    "bun": _bun,
    **WIDE_DRAWS,
}


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
