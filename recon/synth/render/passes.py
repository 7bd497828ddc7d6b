"""Passes: the images that can be asked for by name. A further pass is one more entry of `PASSES`.

Each pass is a function of an `Exposure`. Depth, normals and labels are those of the surface at the pixel's
centre; masks are true coverage above one half; colours are anti-aliased.
"""

import io
from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from recon.errors import ConfigError
from recon.synth.render.photograph import Exposure
from recon.synth.render.sensor import develop, srgb
from recon.synth.render.zbuffer import EMPTY

DEPTH_STEPS_PER_MM = 50.0
Pass = Callable[[Exposure], np.ndarray]


def rgb(exposure: Exposure) -> UInt8[np.ndarray, "h w 3"]:
    """Develops the photograph, 8-bit sRGB. Its noise is seeded by the subject and the camera's place."""
    place = np.rint(exposure.camera.centre * 1000).astype(np.int64)
    seed = (exposure.prepared.subject.seed, *(int(c) & 0xFFFFFFFF for c in place))
    return develop(exposure.linear, exposure.prepared.appearance.sensor, seed)


def mask(exposure: Exposure) -> Bool[np.ndarray, "h w"]:
    """Mask of head, hair and shoulders: pixels that are more than half covered."""
    return exposure.coverage > 0.5


def hair_mask(exposure: Exposure) -> Bool[np.ndarray, "h w"]:
    """Mask of hair: pixels that it covers by more than half."""
    return exposure.hair_coverage > 0.5


def depth(exposure: Exposure) -> Float[np.ndarray, "h w"]:
    """Distance along the optical axis, mm, float32; 0 where there is nothing."""
    nearness, _ = exposure.buffers.centres()
    return np.where(nearness > 0, 1.0 / np.where(nearness > 0, nearness, 1.0), 0.0).astype(np.float32)


def normals(exposure: Exposure) -> Float[np.ndarray, "h w 3"]:
    """Unit surface normals in camera axes (x right, y down, z forward); zeros where there is nothing."""
    values = exposure.at_centres("normal")
    length = np.linalg.norm(values, axis=2, keepdims=True)
    turned = values @ exposure.camera.world_from_camera[:3, :3]
    return np.where(length > 0, turned / np.maximum(length, 1e-9), 0.0).astype(np.float32)


def labels(exposure: Exposure) -> UInt8[np.ndarray, "h w"]:
    """Labels of `recon.synth.parts`, 0 for the background."""
    _, primitive = exposure.buffers.centres()
    by_surface = np.array(exposure.prepared.labels, np.uint8)
    return np.where(primitive == EMPTY, 0, by_surface[exposure.prepared.kind[primitive]]).astype(np.uint8)


def albedo(exposure: Exposure) -> UInt8[np.ndarray, "h w 3"]:
    """Colour without light, 8-bit sRGB, black where there is nothing."""
    return np.rint(srgb(exposure.albedo) * 255.0).astype(np.uint8)


PASSES: dict[str, Pass] = {
    "rgb": rgb,
    "mask": mask,
    "hair_mask": hair_mask,
    "depth": depth,
    "normals": normals,
    "labels": labels,
    "albedo": albedo,
}


def render_passes(exposure: Exposure, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Renders the named images of one exposure.

    Args:
        exposure: Exposure of `recon.synth.render.photograph.expose`.
        names: Keys of `PASSES`.

    Returns:
        Images by name.

    Raises:
        ConfigError: Unknown name.
    """
    wanted = tuple(names)
    unknown = [name for name in wanted if name not in PASSES]
    if unknown:
        raise ConfigError(f"unknown pass {', '.join(unknown)}: known are {', '.join(sorted(PASSES))}")
    return {name: PASSES[name](exposure) for name in wanted}


def encode(image: np.ndarray) -> bytes:
    """Encodes an image of a pass as PNG, by its type: masks as 0 and 255, 8-bit images as they are.

    Depths (float, one channel) are kept in 16 bits, 1 / `DEPTH_STEPS_PER_MM` mm each, 0 for nothing; unit normals
    (float, three channels) as rint((n + 1) * 127.5), with grey 128 for nothing.

    Args:
        image: Image of shape (h, w) or (h, w, 3).

    Returns:
        The file's bytes.
    """
    if image.dtype == bool:
        stored = image.astype(np.uint8) * np.uint8(255)
    elif image.dtype == np.uint8:
        stored = image
    elif image.ndim == 2:
        stored = np.clip(np.rint(image * DEPTH_STEPS_PER_MM), 0, 65535).astype(np.uint16)
    else:
        stored = np.clip(np.rint((image + 1.0) * 127.5), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, format="PNG")
    return buffer.getvalue()
