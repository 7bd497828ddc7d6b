"""Shading of skin: two pigments painted on the neutral head, fine relief, light that softens under the surface.

Albedo follows a two-pigment model in the manner of Donner and Jensen (2008): melanin and haemoglobin darken a
pale base by exponentials whose rates differ per colour channel. The rates were set by eye against published
mean skin colours.
"""

import numpy as np
from jaxtyping import Float

from recon.synth.model import face_map
from recon.synth.render.appearance import Appearance, HairAppearance, SkinAppearance
from recon.synth.render.light import Bake
from recon.synth.render.noise import fractal, noise
from recon.synth.render.shading import Points, Shaded, bumped, diffuse, gloss, normalised

BASE = np.array([0.74, 0.585, 0.485], np.float32)
MELANIN = np.array([0.80, 1.22, 1.66], np.float32)
BLOOD = np.array([0.12, 0.90, 0.72], np.float32)
SUBSURFACE = (0.30, 0.13, 0.08)


def paint_skin(
    canonical: Float[np.ndarray, "v 3"], appearance: SkinAppearance
) -> dict[str, Float[np.ndarray, " v"]]:
    """Paints pigments at vertices: everything on the skin that varies over more than a few millimetres.

    Args:
        canonical: Vertices on the neutral head, mm.
        appearance: Pigments.

    Returns:
        "melanin", "blood", "beard" (share of beard ground), "gloss" (factor), each (v,).
    """
    seed = appearance.seed
    broad = fractal(canonical, 38.0, seed, octaves=3, gain=0.6)
    patches = fractal(canonical, 9.0, seed + 1, octaves=2)
    flush = face_map.flushed(canonical)
    dark = face_map.shaded(canonical)
    blood = appearance.haemoglobin * (
        1.0 + 0.22 * appearance.mottling * broad + 0.30 * appearance.mottling * patches
    )
    blood += 0.20 * appearance.flush * flush + 0.10 * dark
    melanin = (
        appearance.melanin * (1.0 + 0.10 * broad + 0.08 * appearance.mottling * patches + 0.10 * dark)
        + 0.03 * dark
    )
    # The neck sees less sun than the face, the forehead's blood lies deeper.
    neck = np.clip((-70.0 - canonical[:, 1]) / 40.0, 0.0, 1.0)
    melanin *= 1.0 - 0.10 * neck
    blood -= 0.05 * face_map.blob(canonical, (0.0, 85.0, 100.0), (40.0, 20.0, 40.0))
    oil = 1.0 + 0.3 * face_map.blob(canonical, (0.0, 75.0, 105.0), (28.0, 22.0, 30.0))
    oil += 0.6 * face_map.blob(canonical, (0.0, 10.0, 125.0), (11.0, 22.0, 25.0))
    oil *= 1.0 - 0.35 * neck
    return {
        "melanin": melanin.astype(np.float32),
        "blood": np.maximum(blood, 0.05).astype(np.float32),
        "beard": (appearance.stubble * face_map.beard(canonical)).astype(np.float32),
        "gloss": (appearance.gloss * oil).astype(np.float32),
    }


def skin_albedo(points: Points, appearance: SkinAppearance, hair: HairAppearance) -> Float[np.ndarray, "n 3"]:
    """Computes the albedo, with a fine pattern on top of `paint_skin`'s pigments (in `points.scalars`)."""
    speckle = noise(points.canonical, 1.9, appearance.seed + 2)
    lip = face_map.lips(points.canonical)
    melanin = points.scalars["melanin"] * (1.0 + 0.10 * appearance.mottling * speckle)
    if appearance.freckles > 0.02:
        spots = noise(points.canonical, 3.1, appearance.seed + 3) + 0.4 * speckle
        where = np.exp(-(((points.canonical[:, 1] - 8.0) / 28.0) ** 2)) * (points.canonical[:, 2] > 50)
        melanin = melanin + 0.35 * appearance.freckles * where * np.clip((spots - 0.33) * 4.0, 0.0, 1.0)
    blood = points.scalars["blood"] * (1.0 + 0.10 * appearance.mottling * speckle)
    blood = blood + lip * (appearance.lip_red * (0.75 + 0.25 * speckle) + 0.2 * appearance.haemoglobin)
    melanin = melanin + 0.05 * lip
    albedo = BASE * np.exp(-melanin[:, None] * MELANIN - blood[:, None] * BLOOD)
    # The ground of the brows: hairs too fine to draw one by one.
    brow = 0.30 * face_map.brows(points.canonical)[0][:, None]
    albedo = (albedo * (1 - brow) + brow * np.array(hair.brow, np.float32)).astype(np.float32)
    if "scalp" in points.scalars:
        # Roots and the shade between them darken the scalp.
        roots = (
            0.8
            * points.scalars["scalp"] ** 2
            * np.clip(0.62 + 0.5 * noise(points.canonical, 1.3, appearance.seed + 6), 0, 1)
        )
        dark = 0.75 * np.array(hair.albedo, np.float32) + 0.06 * albedo
        albedo = (albedo * (1 - roots[:, None]) + dark * roots[:, None]).astype(np.float32)
    hairs = np.clip(0.55 + 0.9 * noise(points.canonical, 1.1, appearance.seed + 4), 0.0, 1.0)
    ground = (0.55 * points.scalars["beard"] * hairs)[:, None]
    below = 0.5 * albedo * np.array([0.80, 0.92, 1.0], np.float32) + 0.35 * np.array(hair.brow, np.float32)
    return (albedo * (1 - ground) + below * ground).astype(np.float32)


def _folded(
    points: Points, normal: Float[np.ndarray, "n 3"], age: float
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"]]:
    """Normals tilted by the folds of age, and the shade in them."""
    step = np.float32(0.4)
    here = face_map.folds(points.canonical)
    slope = np.zeros_like(normal)
    for axis in (0, 1):
        moved = points.canonical.copy()
        moved[:, axis] += step
        slope[:, axis] = age * (face_map.folds(moved) - here) / step
    slope -= np.einsum("ij,ij->i", slope, points.normal)[:, None] * points.normal
    return normalised(normal - slope).astype(np.float32), np.exp(0.35 * age * here)


def shade_skin(points: Points, appearance: Appearance, bake: Bake) -> Shaded:
    """Shades skin under the room's light."""
    skin, lamps = appearance.skin, appearance.room.lamps
    albedo = skin_albedo(points, skin, appearance.hair)
    lip = face_map.lips(points.canonical)
    normal = bumped(points, [(1.3, 0.055), (3.4, 0.03)], skin.seed + 10)
    shadow = np.ones(len(points), np.float32)
    if skin.age > 0.02:
        normal, shadow = _folded(points, normal, skin.age)
    light = diffuse(points, normal, bake, lamps, wrap=SUBSURFACE) * shadow[:, None]
    # Shadows on skin stay warm: light that enters beside them comes out red.
    warm = 1.0 + (1.0 - points.openness)[:, None] * np.array([0.10, 0.0, -0.04], np.float32)
    sharp = gloss(points, normal, bake, lamps, roughness=skin.roughness)
    broad = gloss(points, normal, bake, lamps, roughness=min(skin.roughness + 0.22, 0.75))
    strength = points.scalars["gloss"] * (1.0 + 0.5 * lip) * (1.0 - 0.5 * points.scalars["beard"])
    shine = (0.45 * sharp + 0.55 * broad) * strength[:, None]
    return Shaded(albedo * light * warm + shine, albedo)
