"""Shading that all surfaces share: the points, lambertian and glossy light, and cloth.

A shader takes `Points` of one kind of surface and returns linear colour and albedo. Everything it reads is
interpolated from vertices or computed from canonical coordinates, so two views of the same point agree up to
gloss.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int

from recon.synth.render.appearance import ClothAppearance
from recon.synth.render.light import Bake, harmonic_basis
from recon.synth.render.noise import fractal, noise, noise_gradient
from recon.synth.render.room import Lamp, Room


@dataclass(frozen=True)
class Points:
    """Points of one kind of surface as one camera sees them; all directions unit, canonical head frame.

    Attributes:
        canonical: Coordinates on the neutral head, mm.
        position: Position, mm.
        normal: Outward normal, towards the camera's side.
        tangent: Direction of growth (hair), zeros elsewhere.
        view: Direction towards the camera.
        ambient: Irradiance / pi from the surroundings.
        openness: Ambient visibility, 0 to 1.
        lamps: Visible share of every lamp.
        pixel_mm: Width of a pixel at the subject; relief finer than that is left out.
        scalars: Further attributes of the part.
    """

    canonical: Float[np.ndarray, "n 3"]
    position: Float[np.ndarray, "n 3"]
    normal: Float[np.ndarray, "n 3"]
    tangent: Float[np.ndarray, "n 3"]
    view: Float[np.ndarray, "n 3"]
    ambient: Float[np.ndarray, "n 3"]
    openness: Float[np.ndarray, " n"]
    lamps: Float[np.ndarray, "n l"]
    pixel_mm: float = 0.5
    scalars: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of points."""
        return len(self.position)

    def take(self, index: Int[np.ndarray, " k"]) -> "Points":
        """Returns some of the points."""
        arrays = {name: value[index] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        scalars = {name: value[index] for name, value in self.scalars.items()}
        return replace(self, **arrays, scalars=scalars)


@dataclass(frozen=True)
class Shaded:
    """Shaded points.

    Attributes:
        colour: Linear RGB that the points send to the camera.
        albedo: Linear RGB without light.
    """

    colour: Float[np.ndarray, "n 3"]
    albedo: Float[np.ndarray, "n 3"]


def normalised(vectors: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Scales vectors to unit length; zeros stay zeros."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row-wise dot product."""
    return np.einsum("ij,ij->i", a, np.broadcast_to(b, a.shape))


def bumped(points: Points, layers: Sequence[tuple[float, float]], seed: int) -> Float[np.ndarray, "n 3"]:
    """Tilts normals by noise.

    Args:
        points: Points to shade.
        layers: Wavelength in mm and slope of every layer of noise.
        seed: Seed of the noise.

    Returns:
        Unit normals.
    """
    slope = np.zeros((len(points), 3), np.float32)
    for k, (wavelength, height) in enumerate(layers):
        resolved = float(np.clip(0.8 * wavelength / points.pixel_mm - 1.0, 0.0, 1.0))
        if resolved == 0.0:
            continue
        slope += resolved * height * noise_gradient(points.canonical, wavelength, seed + 31 * k)[1]
    slope -= dot(slope, points.normal)[:, None] * points.normal
    return normalised(points.normal - slope).astype(np.float32)


def diffuse(
    points: Points,
    normal: Float[np.ndarray, "n 3"],
    bake: Bake,
    lamps: Sequence[Lamp],
    *,
    wrap: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Float[np.ndarray, "n 3"]:
    """Computes the light that a white matt surface would send back.

    Args:
        points: Points to shade.
        normal: Normals with fine detail.
        bake: Light at the subject.
        lamps: Lamps of the room.
        wrap: Half width of the soft terminator in cosine, per channel: red light travels furthest under
            skin.

    Returns:
        Linear RGB.
    """
    fine = np.maximum(harmonic_basis(normal) @ bake.harmonics, 0.02)
    smooth = np.maximum(harmonic_basis(points.normal) @ bake.harmonics, 0.02)
    total = points.ambient * np.clip(fine / smooth, 0.5, 2.0)
    width = np.maximum(np.array(wrap, np.float32), 1e-3)
    for k, lamp in enumerate(lamps):
        cosine = (normal @ lamp.direction.astype(np.float32))[:, None]
        # Clamp max(cosine, 0) with a parabola of half width `width` in place of the corner.
        soft = np.where(cosine > width, cosine, np.maximum(cosine + width, 0.0) ** 2 / (4.0 * width))
        lit = np.maximum(points.lamps[:, k : k + 1], 1e-4) ** (1.0 - 0.8 * width)
        total += soft * lit * lamp.irradiance.astype(np.float32)
    return total.astype(np.float32)


def gloss(
    points: Points,
    normal: Float[np.ndarray, "n 3"],
    bake: Bake,
    lamps: Sequence[Lamp],
    *,
    roughness: float,
    reflectance: float = 0.028,
) -> Float[np.ndarray, "n 3"]:
    """Computes the white reflection of lamps (GGX lobe, Schlick's Fresnel) and of the surroundings (irradiance)."""
    cos_view = np.clip(dot(normal, points.view), 1e-3, 1.0)
    alpha = roughness * roughness
    total = np.zeros((len(points), 3), np.float32)
    for k, lamp in enumerate(lamps):
        towards = lamp.direction.astype(np.float32)
        half = normalised(points.view + towards)
        cos_half = np.clip(dot(normal, half), 0.0, 1.0)
        cos_lamp = np.clip(normal @ towards, 0.0, 1.0)
        spread = alpha**2 / (cos_half**2 * (alpha**2 - 1.0) + 1.0) ** 2
        fresnel = reflectance + (1 - reflectance) * (1 - np.clip(half @ towards, 0, 1)) ** 5
        shadowing = 0.25 / np.maximum(0.5 * (cos_lamp + cos_view), 0.05) * np.minimum(cos_lamp * 8, 1.0)
        strength = spread * fresnel * shadowing * cos_lamp * points.lamps[:, k]
        total += strength[:, None] * lamp.irradiance.astype(np.float32)
    mirror = 2.0 * cos_view[:, None] * normal - points.view
    sky = np.maximum(harmonic_basis(mirror) @ bake.harmonics, 0.0)
    # Rough surfaces lose most of the mirror at grazing angles to their own relief.
    fresnel = reflectance + 0.4 * (1 - roughness) ** 2 * (1 - cos_view) ** 5
    return total + (fresnel * points.openness**1.5)[:, None] * sky


def shade_cloth(points: Points, appearance: ClothAppearance, bake: Bake, room: Room) -> Shaded:
    """Shades woven cloth: a tone, broad unevenness, a fine weave, stripes where the appearance has them."""
    tone = np.array(appearance.albedo, np.float32) * np.ones((len(points), 1), np.float32)
    if appearance.stripe_mm > 0:
        phase = np.sin(points.position[:, 1] * (2 * np.pi / appearance.stripe_mm))
        share = np.clip(phase * 4 + 0.5, 0, 1)[:, None].astype(np.float32)
        tone = tone * (1 - share) + share * np.array(appearance.second, np.float32)
    uneven = 0.08 * fractal(points.position, 40.0, appearance.seed) + appearance.weave * noise(
        points.position, 1.6, appearance.seed + 5
    )
    albedo = tone * np.exp(uneven)[:, None]
    layered = replace(points, canonical=points.position)
    normal = bumped(layered, [(55.0, 0.10), (1.8, 0.07)], appearance.seed)
    light = diffuse(points, normal, bake, room.lamps, wrap=(0.12, 0.12, 0.12))
    # Fibres that stand out catch light at grazing angles.
    rim = (1.0 - np.clip(dot(normal, points.view), 0, 1)) ** 3
    return Shaded(albedo * light * (1.0 + 0.5 * rim)[:, None], albedo)
