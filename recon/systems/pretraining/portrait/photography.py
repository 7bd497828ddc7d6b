"""From linear light to a photograph as people have them: exposure, colour, blur, noise, tone, compression.

Each effect is drawn for each picture; most are mild, some pictures are bad.
"""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Bool, Float32
from PIL import Image
from scipy import ndimage

Picture = Float32[np.ndarray, "h w 3"]
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
GAMMA = 2.2


def photographed(light: Picture, skin: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Picture:
    """Takes a photograph.

    Args:
        light: Linear light, bright skin near 0.6.
        skin: Where there is skin, which beauty filters smooth.
        rng: Generator, consumed.

    Returns:
        sRGB in [0, 1].
    """
    light = _lit(light, rng)
    light = _blurred(light, skin, rng)
    light = light + _grain(light, rng)
    return _developed(light, rng)


def plainly_photographed(light: Picture) -> Picture:
    """A photograph without faults or chance, for validation."""
    return np.clip(light, 0.0, 1.0) ** np.float32(1 / GAMMA)


def before(light: Picture, cover: Float32[np.ndarray, "h w"], backdrop: Picture) -> Picture:
    """Light of a person, weighted by cover, before a background."""
    result: Picture = light + (1 - cover[..., None]) * backdrop
    return result


def varied_backdrop(
    backdrop: Picture, light: Picture, hair: Bool[np.ndarray, "h w"], rng: np.random.Generator
) -> Picture:
    """A background as it was drawn, mirrored, of another brightness, or of the colour of the person's hair."""
    if rng.uniform() < 0.5:
        backdrop = backdrop[:, ::-1]
    if rng.uniform() < 0.15:
        backdrop = backdrop[::-1]
    backdrop = backdrop * np.float32(np.exp(rng.normal(0.0, 0.5)))
    if rng.uniform() < 0.12 and hair.sum() > 60:
        colour = light[hair].mean(axis=0) * rng.uniform(0.7, 1.3)
        flat = rng.uniform(0.1, 0.6)
        backdrop = backdrop / max(float(backdrop.mean()), 1e-4) * flat + (1 - flat)
        backdrop = backdrop * colour
    return backdrop.astype(np.float32)


def _lit(light: Picture, rng: np.random.Generator) -> Picture:
    """Exposure, white balance and vignetting."""
    gain = np.exp(rng.normal(-0.05, 0.33)) * np.exp(rng.normal(0.0, [0.10, 0.03, 0.12]))
    if rng.uniform() < 0.12:
        gain = gain * rng.uniform(0.12, 0.5)
    light = light * gain.astype(np.float32)
    if rng.uniform() < 0.35:
        height, width = light.shape[:2]
        y, x = np.ogrid[:height, :width]
        away = ((y / height - rng.uniform(0.3, 0.7)) ** 2 + (x / width - rng.uniform(0.3, 0.7)) ** 2) * 2
        light = light * (1 - rng.uniform(0.1, 0.8) * np.minimum(away, 1)).astype(np.float32)[..., None]
    return light


def _blurred(light: Picture, skin: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Picture:
    """Defocus, the hand's motion, a small picture that was made larger, or a beauty filter."""
    kind = rng.uniform()
    size = light.shape[0]
    if kind < 0.22:
        sigma = float(np.exp(rng.uniform(np.log(0.4), np.log(2.0)))) * size / 256
        return ndimage.gaussian_filter(light, (sigma, sigma, 0), truncate=2.5)
    if kind < 0.30:
        length, turn = rng.uniform(2.0, 9.0) * size / 256, rng.uniform(0, np.pi)
        steps = 6
        total = np.zeros_like(light)
        for share in np.linspace(-0.5, 0.5, steps):
            move = np.rint(share * length * np.array([np.sin(turn), np.cos(turn)])).astype(int)
            total += np.roll(light, tuple(move), (0, 1))
        return total / steps
    if kind < 0.42:
        small = int(rng.uniform(0.25, 0.8) * size)
        return _resized(_resized(light, small), size)
    if kind < 0.50:
        sigma = rng.uniform(1.0, 3.0) * size / 256
        smooth = ndimage.gaussian_filter(light, (sigma, sigma, 0), truncate=2.0)
        share = np.float32(rng.uniform(0.4, 0.9)) * skin[..., None]
        result: Picture = light + share * (smooth - light)
        return result
    return light


def _resized(light: Picture, size: int) -> Float32[np.ndarray, "size size 3"]:
    bands = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(light[..., k])).resize(
                (size, size), Image.Resampling.BILINEAR
            )
        )
        for k in range(3)
    ]
    return np.stack(bands, axis=2)


def _grain(light: Picture, rng: np.random.Generator) -> Picture:
    """Shot noise and read noise; in one picture of five, much of it."""
    much = rng.uniform() < 0.2
    shot, read = rng.uniform(0.02, 0.07) if much else rng.uniform(0.0, 0.02), rng.uniform(0.0, 0.004)
    noise = rng.standard_normal(light.shape, np.float32)
    result: Picture = noise * np.sqrt(np.maximum(light, 0) * np.float32(shot**2) + np.float32(read**2))
    return result


def _developed(light: Picture, rng: np.random.Generator) -> Picture:
    """Saturation, tone, black and white, and JPEG."""
    grey = (light @ LUMINANCE)[..., None]
    if rng.uniform() < 0.07:
        light = np.repeat(grey, 3, axis=2) * (
            1 + rng.uniform(0, 0.12) * np.array([1.0, 0.3, -1.0], np.float32)
        )
    else:
        light = grey + np.float32(rng.uniform(0.7, 1.3)) * (light - grey)
    tone = np.clip(light, 0.0, 1.0) ** np.float32(1 / rng.uniform(1.9, 2.6))
    curve = np.float32(rng.uniform(-0.15, 0.5))
    tone = tone + curve * (tone * tone * (3 - 2 * tone) - tone)
    coded = np.rint(np.clip(tone, 0, 1) * 255).astype(np.uint8)
    if rng.uniform() < 0.45:
        buffer = io.BytesIO()
        quality, sampling = int(rng.integers(25, 95)), int(rng.choice([0, 2]))
        Image.fromarray(coded).save(buffer, format="JPEG", quality=quality, subsampling=sampling)
        coded = np.asarray(Image.open(buffer))
    return coded.astype(np.float32) / np.float32(255)
