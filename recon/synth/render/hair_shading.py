"""Shading of hair: light on fibres rather than on a surface.

Two reflections along the fibre after Marschner et al. (2003) in the form of Kajiya and Kay (1989): a white
one shifted to the root by the cuticle's tilt, and a broader one in the hair's own colour shifted to the tip.
The surface carries streaks along the direction of growth in place of single hairs.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from recon.synth.render.appearance import Appearance, HairAppearance
from recon.synth.render.light import Bake, harmonic_basis
from recon.synth.render.noise import fractal, streaks
from recon.synth.render.room import Lamp
from recon.synth.render.shading import Points, Shaded, dot, normalised

STRAND_MM, LOCK_MM = 0.42, 2.2
GREY = np.array([0.43, 0.425, 0.42], np.float32)


def shade_hair(points: Points, appearance: Appearance, bake: Bake) -> Shaded:
    """Shades a hair surface under the room's light."""
    hair = appearance.hair
    fine = streaks(points.position, points.tangent, STRAND_MM, 5.0, hair.seed)
    lock = streaks(points.position, points.tangent, LOCK_MM, 9.0, hair.seed + 1)
    albedo = hair_albedo(points, fine, lock, hair)
    tangent = normalised(
        points.tangent + 0.10 * fine[:, None] * points.normal + 0.06 * lock[:, None] * points.normal
    )
    light = fibre_light(points, tangent, albedo, bake, appearance.room.lamps, shine=hair.shine, wobble=fine)
    # Between strands and locks one looks into the dark: deep streaks get less light.
    depth = np.exp(hair.contrast * (0.22 * np.minimum(fine, 1.5) + 0.18 * np.minimum(lock, 1.5)) - 0.34)
    return Shaded(light * depth[:, None], albedo)


def shade_strands(points: Points, appearance: Appearance, bake: Bake) -> Shaded:
    """Shades single strands under the room's light: the surface's fibres with a tone and a depth of their own."""
    hair = appearance.hair
    strand, lock = points.scalars["strand"], points.scalars["lock"]
    albedo = hair_albedo(points, strand, lock, hair)
    tilt = (0.06 * strand)[:, None] * points.normal
    tangent = normalised(points.tangent + tilt)
    light = fibre_light(points, tangent, albedo, bake, appearance.room.lamps, shine=hair.shine, wobble=strand)
    # Strands of the lower layer lie in the shade of those above.
    depth = 0.52 + 0.43 * points.scalars["layer"]
    return Shaded(light * depth[:, None], albedo)


def hair_albedo(
    points: Points, fine: Float[np.ndarray, " n"], lock: Float[np.ndarray, " n"], appearance: HairAppearance
) -> Float[np.ndarray, "n 3"]:
    """Albedo: base colour, differences between strands and locks, darker roots, single white strands."""
    broad = fractal(points.position, 30.0, appearance.seed + 2, octaves=2)
    root = np.exp(-4.0 * points.scalars["along"])
    shade = appearance.contrast * (0.16 * fine + 0.16 * lock) + 0.20 * broad + np.log(appearance.root) * root
    albedo = np.array(appearance.albedo, np.float32) * np.exp(shade)[:, None]
    if appearance.grey > 0.0:
        # `grey` of the strands are white: the quantile of a logistic stand-in for the normal distribution.
        cut = np.log(max(1.0 - appearance.grey, 1e-3) / max(appearance.grey, 1e-3)) / 1.7
        white = 1.0 / (1.0 + np.exp(np.clip(-3.0 * (0.8 * fine + 0.6 * lock - cut), -30, 30)))
        # Single white hairs are thinner than what is drawn for them.
        white = 0.55 * appearance.grey**1.4 + 0.45 * white * min(1.0, 3.0 * appearance.grey)
        albedo = albedo * (1 - white[:, None]) + GREY * white[:, None]
    return np.minimum(albedo, 0.9).astype(np.float32)


def fibre_light(
    points: Points,
    tangent: Float[np.ndarray, "n 3"],
    albedo: Float[np.ndarray, "n 3"],
    bake: Bake,
    lamps: Sequence[Lamp],
    *,
    shine: float,
    wobble: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "n 3"]:
    """Computes the light that fibres send to the camera.

    Args:
        points: Points to shade.
        tangent: Unit direction of the fibres, with fine variation.
        albedo: Colour of the fibres.
        bake: Light at the subject.
        lamps: Lamps of the room.
        shine: Scale of the reflections.
        wobble: Noise of about unit variance that breaks the highlight up.

    Returns:
        Linear RGB.
    """
    body = points.ambient * (0.65 + 0.35 * points.openness)[:, None]
    total = albedo * body * 1.15
    tinted = np.sqrt(np.clip(albedo, 0.0, 1.0))
    across_view = normalised(points.view - dot(points.view, tangent)[:, None] * tangent)
    sky = np.maximum(harmonic_basis(across_view) @ bake.harmonics, 0.0)
    total += shine * (points.openness**1.5)[:, None] * sky * (0.010 + 0.12 * albedo)
    view_angle = np.arcsin(np.clip(dot(tangent, points.view), -1.0, 1.0))
    for k, lamp in enumerate(lamps):
        towards = lamp.direction.astype(np.float32)
        along = np.clip(tangent @ towards, -1.0, 1.0)
        lamp_angle = np.arcsin(along)
        half = 0.5 * (view_angle + lamp_angle)
        facing = np.clip(points.normal @ towards * 0.75 + 0.30, 0.0, 1.0)
        lit = points.lamps[:, k] * facing
        white = _lobe(half + np.radians(5.0 + 2.0 * wobble), 7.0)
        own = _lobe(half - np.radians(8.0 - 3.0 * wobble), 14.0)
        scatter = albedo * (np.sqrt(1.0 - along**2) * 0.85)[:, None]
        glint = shine * (0.05 * white[:, None] + 0.42 * own[:, None] * tinted * albedo**0.5)
        total += (scatter + glint) * lit[:, None] * lamp.irradiance.astype(np.float32)
    return total.astype(np.float32)


def _lobe(angle: np.ndarray, width_deg: float) -> np.ndarray:
    return np.exp(-0.5 * (angle / np.radians(width_deg)) ** 2).astype(np.float32)
