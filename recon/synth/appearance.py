"""What a subject looks like apart from its shape: every number that colour and light need, drawn from a seed.

Colours are linear sRGB albedos. The same seed gives the same look whatever the shape, and a caller may fix
any field with `dataclasses.replace` (a named subject's recipe does).
"""

from dataclasses import dataclass

from recon.synth.room import Room

HAIR_COLOURS: dict[str, tuple[float, float, float]] = {
    "black": (0.016, 0.013, 0.012),
    "dark_brown": (0.042, 0.027, 0.018),
    "brown": (0.085, 0.050, 0.030),
    "light_brown": (0.170, 0.105, 0.060),
    "blond": (0.380, 0.260, 0.140),
    "red": (0.220, 0.075, 0.030),
    "grey": (0.260, 0.255, 0.250),
    "white": (0.560, 0.550, 0.530),
}
IRIS_COLOURS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "brown": ((0.11, 0.050, 0.022), (0.045, 0.020, 0.010)),
    "hazel": ((0.17, 0.095, 0.035), (0.09, 0.085, 0.045)),
    "green": ((0.16, 0.125, 0.060), (0.11, 0.120, 0.080)),
    "blue": ((0.15, 0.170, 0.180), (0.10, 0.140, 0.180)),
    "grey": ((0.17, 0.180, 0.180), (0.10, 0.120, 0.135)),
}
"""Colour near the pupil and colour near the rim."""


@dataclass(frozen=True)
class SkinLook:
    """Pigments and surface of the skin.

    Attributes:
        melanin: 0.06 (very fair) to 1.6 (very dark).
        haemoglobin: mean blood content, about 0.2 to 0.5.
        flush: how much redder cheeks, nose and ears are.
        mottling: strength of uneven pigment.
        freckles: 0 to 1.
        stubble: 0 to 1, shaved beard.
        gloss: scale of the specular reflection.
        roughness: of the narrower specular lobe.
        lip_red: extra blood in the lips.
        age: depth of the folds, 0 to 1.
        seed: of all noise on the skin.
    """

    melanin: float
    haemoglobin: float
    flush: float
    mottling: float
    freckles: float
    stubble: float
    gloss: float
    roughness: float
    lip_red: float
    age: float
    seed: int


@dataclass(frozen=True)
class HairLook:
    """Colour of the hair.

    Attributes:
        name: key of `HAIR_COLOURS` that it started from.
        albedo: linear RGB of the lengths.
        brow: linear RGB of brows and beard.
        grey: share of white strands.
        root: factor on the albedo near the scalp.
        contrast: strength of strand-to-strand differences.
        shine: scale of the specular lobes.
        seed: of all noise on the hair.
    """

    name: str
    albedo: tuple[float, float, float]
    brow: tuple[float, float, float]
    grey: float
    root: float
    contrast: float
    shine: float
    seed: int


@dataclass(frozen=True)
class EyeLook:
    """Colour of the eyes.

    Attributes:
        name: key of `IRIS_COLOURS` that it started from.
        inner: linear RGB near the pupil.
        outer: linear RGB near the rim.
        iris_mm: radius of the iris.
        pupil_mm: radius of the pupil.
        redness: of the white towards the corners.
        seed: of fibres and vessels.
    """

    name: str
    inner: tuple[float, float, float]
    outer: tuple[float, float, float]
    iris_mm: float
    pupil_mm: float
    redness: float
    seed: int


@dataclass(frozen=True)
class ClothLook:
    """Colour of the clothes: two tones, and stripes where `stripe_mm` is above zero."""

    albedo: tuple[float, float, float]
    second: tuple[float, float, float]
    stripe_mm: float
    weave: float
    seed: int


@dataclass(frozen=True)
class SensorLook:
    """How the tablet's camera turns light into a file.

    Attributes:
        exposure: factor on linear light.
        white_balance: (red, blue) gains.
        toe: strength of the contrast curve, 0 for none.
        saturation: 1 leaves colours alone.
        blur_px: standard deviation of lens and demosaicing.
        noise: shot noise at full exposure (standard deviation, linear).
        read_noise: noise in the dark.
        vignette: darkening in the corners.
        jpeg: quality.
    """

    exposure: float
    white_balance: tuple[float, float]
    toe: float
    saturation: float
    blur_px: float
    noise: float
    read_noise: float
    vignette: float
    jpeg: int


@dataclass(frozen=True)
class Look:
    """Everything together."""

    skin: SkinLook
    hair: HairLook
    eyes: EyeLook
    cloth: ClothLook
    sensor: SensorLook
    room: Room
