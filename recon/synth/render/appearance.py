"""The appearance of a subject: colours and gloss of skin, hair, eyes and clothes, the room and the camera's sensor.

`draw_appearance` draws one from a seed, `appearance_of` that of the person that a recipe describes. In recipes the seed
of the appearance is called "look".
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recon.synth.model.identity import generator, split_quantile
from recon.synth.render.room import Room, draw_room

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
class SkinAppearance:
    """Pigments and surface of the skin.

    Attributes:
        melanin: Amount of melanin, 0.06 (very fair) to 1.6 (very dark).
        haemoglobin: Mean blood content, about 0.2 to 0.5.
        flush: Additional redness of cheeks, nose and ears.
        mottling: Strength of uneven pigment.
        freckles: Density of freckles, 0 to 1.
        stubble: Density of the shaved beard, 0 to 1.
        gloss: Scale of the specular reflection.
        roughness: Roughness of the narrower specular lobe.
        lip_red: Additional blood in the lips.
        age: Depth of the folds, 0 to 1.
        seed: Seed of all noise on the skin.
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
class HairAppearance:
    """Colour of the hair.

    Attributes:
        name: Key of `HAIR_COLOURS` that it started from.
        albedo: Linear RGB of the lengths.
        brow: Linear RGB of brows and beard.
        grey: Share of white strands.
        root: Factor on the albedo near the scalp.
        contrast: Strength of strand-to-strand differences.
        shine: Scale of the specular lobes.
        seed: Seed of all noise on the hair.
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
class EyeAppearance:
    """Colour of the eyes.

    Attributes:
        name: Key of `IRIS_COLOURS` that it started from.
        inner: Linear RGB near the pupil.
        outer: Linear RGB near the rim.
        iris_mm: Radius of the iris.
        pupil_mm: Radius of the pupil.
        redness: Redness of the white towards the corners.
        seed: Seed of fibres and vessels.
    """

    name: str
    inner: tuple[float, float, float]
    outer: tuple[float, float, float]
    iris_mm: float
    pupil_mm: float
    redness: float
    seed: int


@dataclass(frozen=True)
class ClothAppearance:
    """Colour of the clothes.

    Attributes:
        albedo: Linear RGB.
        second: Linear RGB of the stripes.
        stripe_mm: Wavelength of the stripes; 0 for none.
        weave: Strength of the fine unevenness.
        seed: Seed of all noise on the cloth.
    """

    albedo: tuple[float, float, float]
    second: tuple[float, float, float]
    stripe_mm: float
    weave: float
    seed: int


@dataclass(frozen=True)
class SensorAppearance:
    """The tablet's camera, which turns light into a file.

    Attributes:
        exposure: Factor on linear light.
        white_balance: Gains of red and blue.
        toe: Strength of the contrast curve, 0 for none.
        saturation: Factor on the distance from grey; 1 leaves colours alone.
        blur_px: Standard deviation of the blur of lens and demosaicing.
        noise: Shot noise at full exposure (standard deviation, linear).
        read_noise: Noise in the dark.
        vignette: Darkening in the corners.
        jpeg: Quality of the JPEG file.
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
class Appearance:
    """The appearance of a subject, its room and the camera.

    Attributes:
        skin: Pigments and surface of the skin.
        hair: Colour of hair, brows and beard.
        eyes: Colour of the eyes.
        cloth: Colour of the clothes.
        sensor: The camera.
        room: Lamps and surroundings.
    """

    skin: SkinAppearance
    hair: HairAppearance
    eyes: EyeAppearance
    cloth: ClothAppearance
    sensor: SensorAppearance
    room: Room


_PURPOSE = 16


def draw_appearance(seed: int, split: str = "train") -> Appearance:
    """Draws an appearance.

    Args:
        seed: Any non-negative number; each group has a stream of its own, so adding a draw to one leaves the
            others alone.
        split: "train", "val" or "test"; no direction of the light occurs in two of them.

    Returns:
        The appearance.

    Raises:
        ConfigError: Unknown split or negative seed.
    """
    skin_rng, hair_rng, eye_rng, cloth_rng, sensor_rng, room_rng = (
        generator(seed, split, purpose=_PURPOSE + stream) for stream in range(6)
    )
    skin = _draw_skin(skin_rng)
    return Appearance(
        skin=skin,
        hair=_draw_hair(hair_rng, skin),
        eyes=_draw_eyes(eye_rng, skin),
        cloth=_draw_cloth(cloth_rng),
        sensor=_draw_sensor(sensor_rng),
        room=draw_room(room_rng, split_quantile(float(room_rng.uniform()), split)),
    )


def appearance_of(recipe: Mapping[str, Any], seed: int | None = None) -> Appearance:
    """Draws the appearance of the person that a recipe describes.

    Args:
        recipe: Recipe of `recon.synth.body.subject.draw_recipe`; its "person" gives melanin, redness, hair_melanin,
            hair_redness, hair_grey and stubble in [0, 1] and age_years. Without "person" everything is drawn.
        seed: Seed of all that the recipe leaves open; by default the recipe's "look", or else its "seed".

    Returns:
        The appearance.
    """
    split = str(recipe.get("split", "train"))
    seed = int(recipe.get("look", recipe.get("seed", 0))) if seed is None else seed
    appearance = draw_appearance(seed, split)
    person = recipe.get("person")
    if person is None:
        return appearance
    melanin = float(0.07 * (1.5 / 0.07) ** person["melanin"])
    fair = float(np.clip(1.2 - 1.6 * melanin, 0.0, 1.0))
    young = float(np.clip((60.0 - person["age_years"]) / 35.0, 0.0, 1.0))
    skin = replace(
        appearance.skin,
        melanin=melanin,
        haemoglobin=0.16 + 0.18 * float(person["redness"]),
        freckles=appearance.skin.freckles * fair * young,
        stubble=float(person["stubble"]) if _may_have_stubble(recipe) else 0.0,
        mottling=appearance.skin.mottling * (1.15 - 0.3 * young),
        age=float(np.clip((person["age_years"] - 28.0) / 50.0, 0.0, 1.0)),
    )
    hair_rng, eye_rng = (generator(seed, split, purpose=_PURPOSE + stream) for stream in (6, 7))
    hair = _hair_from_pigment(hair_rng, appearance.hair, person, melanin)
    return replace(appearance, skin=skin, hair=hair, eyes=_draw_eyes(eye_rng, skin))


def _may_have_stubble(recipe: Mapping[str, Any]) -> bool:
    """Long and tied hair mostly belongs to people who do not shave their faces."""
    hair = recipe.get("hair")
    family = hair["style"]["family"] if hair else "bald"
    return recipe.get("beard") is not None or family not in ("bob", "long", "ponytail", "bun", "fringe")


def _hair_from_pigment(
    rng: np.random.Generator, drawn: HairAppearance, person: Mapping[str, float], skin_melanin: float
) -> HairAppearance:
    """Hair colour between blond and black by eumelanin, redder by pheomelanin; dark skin, dark hair."""
    scale = [HAIR_COLOURS[name] for name in ("blond", "light_brown", "brown", "dark_brown", "black")]
    least = np.clip((skin_melanin - 0.15) / 0.35, 0.0, 1.0) * 0.85
    amount = float(np.clip(person["hair_melanin"], least, 1.0))
    at = amount * (len(scale) - 1)
    logs = np.log(np.array(scale))
    albedo = np.exp([np.interp(at, np.arange(len(scale)), logs[:, c]) for c in range(3)])
    red = float(np.clip(person["hair_redness"], 0.0, 1.0)) * (1.0 - 0.9 * least)
    albedo = np.exp((1 - red) * np.log(albedo) + red * np.log(np.array(HAIR_COLOURS["red"]) * (1.2 - amount)))
    albedo = albedo * np.exp(rng.normal(0.0, 0.04, 3))
    names = ("blond", "light_brown", "brown", "dark_brown", "black")
    return replace(
        drawn,
        name="red" if red > 0.6 else names[round(at)],
        albedo=_triple(albedo),
        brow=_greying(_brow(albedo, rng), 0.6 * float(person["hair_grey"])),
        grey=float(person["hair_grey"]),
    )


def _brow(albedo: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """Brows are darker than hair and never light."""
    return _triple(albedo * min(1.0, 0.14 / albedo.max()) * rng.uniform(0.55, 0.9))


def _greying(colour: tuple[float, float, float], share: float) -> tuple[float, float, float]:
    """Mixed with white hairs, which look grey where they are sparse."""
    return _triple((1.0 - share) * np.array(colour) + share * np.full(3, 0.22))


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 30))


def _draw_skin(rng: np.random.Generator) -> SkinAppearance:
    melanin = float(np.exp(rng.uniform(np.log(0.07), np.log(1.5))))
    fair = np.clip(1.2 - 1.6 * melanin, 0.0, 1.0)
    return SkinAppearance(
        melanin=melanin,
        haemoglobin=float(rng.uniform(0.16, 0.34)),
        flush=float(rng.uniform(0.5, 1.3)),
        mottling=float(rng.uniform(0.6, 1.4)),
        freckles=float(fair * max(0.0, rng.uniform(-1.2, 1.0))),
        stubble=float(max(0.0, rng.uniform(-0.8, 0.9))),
        gloss=float(rng.uniform(0.7, 1.35)),
        roughness=float(rng.uniform(0.30, 0.42)),
        lip_red=float(rng.uniform(0.25, 0.7)),
        age=float(rng.uniform() ** 2),
        seed=_seed(rng),
    )


def _draw_hair(rng: np.random.Generator, skin: SkinAppearance) -> HairAppearance:
    names = list(HAIR_COLOURS)
    fair = np.array([0.10, 0.24, 0.22, 0.16, 0.12, 0.05, 0.08, 0.03])
    dark = np.array([0.66, 0.22, 0.03, 0.0, 0.0, 0.0, 0.07, 0.02])
    mix = np.clip((skin.melanin - 0.15) / 0.5, 0.0, 1.0)
    name = str(rng.choice(names, p=(1 - mix) * fair + mix * dark))
    albedo = np.array(HAIR_COLOURS[name]) * np.exp(rng.normal(0.0, 0.15)) * np.exp(rng.normal(0.0, 0.06, 3))
    old = name in ("grey", "white")
    return HairAppearance(
        name=name,
        albedo=_triple(albedo),
        brow=_brow(albedo, rng),
        grey=float(rng.uniform(0.2, 0.5) if old else max(0.0, rng.uniform(-0.3, 0.15))),
        root=float(rng.uniform(0.5, 0.85)),
        contrast=float(rng.uniform(0.7, 1.2)),
        shine=float(rng.uniform(0.6, 1.3)),
        seed=_seed(rng),
    )


def _draw_eyes(rng: np.random.Generator, skin: SkinAppearance) -> EyeAppearance:
    names = list(IRIS_COLOURS)
    fair = np.array([0.34, 0.16, 0.13, 0.27, 0.10])
    dark = np.array([0.94, 0.06, 0.0, 0.0, 0.0])
    mix = np.clip((skin.melanin - 0.12) / 0.3, 0.0, 1.0)
    name = str(rng.choice(names, p=(1 - mix) * fair + mix * dark))
    inner, outer = (np.array(c) * np.exp(rng.normal(0.0, 0.12, 3)) for c in IRIS_COLOURS[name])
    return EyeAppearance(
        name=name,
        inner=_triple(inner),
        outer=_triple(outer),
        iris_mm=float(rng.uniform(5.7, 6.1)),
        pupil_mm=float(rng.uniform(1.6, 2.4)),
        redness=float(rng.uniform(0.5, 1.2)),
        seed=_seed(rng),
    )


def _draw_cloth(rng: np.random.Generator) -> ClothAppearance:
    value = float(np.exp(rng.uniform(np.log(0.03), np.log(0.6))))
    hue = rng.uniform(0, 2 * np.pi) + np.array([0.0, -2 * np.pi / 3, 2 * np.pi / 3])
    strength = max(0.0, rng.uniform(-0.3, 0.75))
    albedo = value * (1 + strength * np.cos(hue)) / (1 + 0.3 * strength)
    second = albedo * rng.uniform(0.35, 1.9)
    return ClothAppearance(
        albedo=_triple(np.clip(albedo, 0.01, 0.75)),
        second=_triple(np.clip(second, 0.01, 0.75)),
        stripe_mm=float(rng.uniform(8, 30) if rng.uniform() < 0.25 else 0.0),
        weave=float(rng.uniform(0.05, 0.2)),
        seed=_seed(rng),
    )


def _draw_sensor(rng: np.random.Generator) -> SensorAppearance:
    return SensorAppearance(
        exposure=float(np.exp(rng.normal(0.0, 0.10))),
        white_balance=(float(rng.uniform(0.95, 1.06)), float(rng.uniform(0.94, 1.05))),
        toe=float(rng.uniform(0.05, 0.35)),
        saturation=float(rng.uniform(0.92, 1.12)),
        blur_px=float(rng.uniform(0.35, 0.65)),
        noise=float(rng.uniform(0.004, 0.012)),
        read_noise=float(rng.uniform(0.0005, 0.002)),
        vignette=float(rng.uniform(0.0, 0.12)),
        jpeg=int(rng.integers(88, 95)),
    )
