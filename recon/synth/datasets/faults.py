"""Faults of photographs, masks, cameras and the world of a scene: pure functions, and a table of them.

Every draw comes from (seed, view, kind of fault), so that a fault is the same alone and together with others, and
a stronger one goes the same way as a weaker one. Pixels are those of the picture given; the levels of `FAULTS` are
meant for pictures of about 512 x 512.
"""

import io
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from scipy import ndimage
from scipy.spatial.transform import Rotation

from recon.errors import SceneError
from recon.scene import Camera
from recon.scene.images import to_uint8

JITTER_LENGTH_PX = 12.0
"""Standard deviation of the blur that makes jitter of an outline smooth along it."""
WRONG_PX = (10.0, 20.0)
"""Range of how far a wrong stretch of an outline is off."""
STRETCH_PX = (10.0, 20.0)
"""Range of half the length of a wrong stretch."""
_MASK, _CONTOUR, _CAMERA, _GAIN, _NOISE, _WORLD = range(6)

Light = Literal["as it is", "on the camera", "another in each view"]


@dataclass(frozen=True)
class Fault:
    """A fault of a scene; the defaults leave it as it is.

    Attributes:
        shows: Name in words, for tables.
        light: Place of the light; other than as it is, the subject is photographed again.
        highlights: Whether skin and hair shine; if so, the subject is photographed again.
        gain: Half width of the range about 1 of the factors of each view's channels.
        noise: Standard deviation of the noise in a photograph, of full scale.
        jpeg: Quality of a JPEG that the photograph went through; None for none.
        jitter_px: Root mean square displacement of the masks' outlines.
        wrong_contour: Share of the masks' outlines that is wrong by 10 to 20 px.
        camera_deg: Angle by which each camera is turned about its centre.
        camera_mm: Distance by which each camera's centre is moved.
        turn_deg: Angle by which the whole world is turned.
        move_mm: Distance by which the world is moved.
        scale: Factor by which the world grows.
    """

    shows: str
    light: Light = "as it is"
    highlights: bool = False
    gain: float = 0.0
    noise: float = 0.0
    jpeg: int | None = None
    jitter_px: float = 0.0
    wrong_contour: float = 0.0
    camera_deg: float = 0.0
    camera_mm: float = 0.0
    turn_deg: float = 0.0
    move_mm: float = 0.0
    scale: float = 1.0

    @property
    def relit(self) -> bool:
        """Whether the subject has to be photographed again, which takes a synthetic one."""
        return self.highlights or self.light != "as it is"


CLEAN = "clean"
FAULTS: dict[str, Fault] = {
    CLEAN: Fault("none"),
    "mask_1px": Fault("mask jitter 1 px", jitter_px=1.0),
    "mask_2px": Fault("mask jitter 2 px", jitter_px=2.0),
    "mask_3px": Fault("mask jitter 3 px", jitter_px=3.0),
    "mask_5px": Fault("mask jitter 5 px", jitter_px=5.0),
    "contour": Fault("10 % of the contour wrong by 10-20 px", wrong_contour=0.1),
    "camera_025": Fault("cameras off by 0.25° + 2 mm", camera_deg=0.25, camera_mm=2.0),
    "camera_05": Fault("cameras off by 0.5° + 2 mm", camera_deg=0.5, camera_mm=2.0),
    "camera_1": Fault("cameras off by 1° + 5 mm", camera_deg=1.0, camera_mm=5.0),
    "gain": Fault("colour gain ±20 %", gain=0.2),
    "light_on_camera": Fault("light fixed to the camera", light="on the camera"),
    "light_each_view": Fault("another light in each view", light="another in each view"),
    "highlights": Fault("strong highlights", highlights=True),
    "noise_jpeg": Fault("noise + JPEG 70", noise=0.02, jpeg=70),
    "phone": Fault(
        "all together, as from a phone",
        light="another in each view",
        highlights=True,
        gain=0.2,
        noise=0.02,
        jpeg=70,
        jitter_px=2.0,
        wrong_contour=0.1,
        camera_deg=0.5,
        camera_mm=2.0,
    ),
    "pose": Fault("world turned by 15°, moved 20 mm, scaled 8 %", turn_deg=15.0, move_mm=20.0, scale=1.08),
}


def faulty_photograph(
    image: Float[np.ndarray, "h w 3"], fault: Fault, seed: int, view: int
) -> Float[np.ndarray, "h w 3"]:
    """Gives a photograph the fault's gains, noise and compression, in this order; its light must be the fault's
    already.

    Args:
        image: sRGB in [0, 1].
        fault: The fault.
        seed: Seed of all draws.
        view: Number of the view.

    Returns:
        sRGB in [0, 1]; the photograph itself where the fault leaves photographs alone.
    """
    if fault.gain:
        image = gained(image, fault.gain, seed, view)
    if fault.noise:
        image = noisy(image, fault.noise, seed, view)
    return image if fault.jpeg is None else compressed(image, fault.jpeg)


def faulty_mask(mask: Bool[np.ndarray, "h w"], fault: Fault, seed: int, view: int) -> Bool[np.ndarray, "h w"]:
    """Gives a mask the fault's jitter and wrong contours."""
    if fault.jitter_px:
        mask = jittered(mask, fault.jitter_px, seed, view)
    return with_wrong_stretches(mask, fault.wrong_contour, seed, view) if fault.wrong_contour else mask


def faulty_camera(camera: Camera, fault: Fault, seed: int, view: int) -> Camera:
    """Gives a camera the fault's error of its pose, before the world is moved."""
    if not (fault.camera_deg or fault.camera_mm):
        return camera
    return disturbed(camera, fault.camera_deg, fault.camera_mm, seed, view)


def gained(
    image: Float[np.ndarray, "h w 3"], gain: float, seed: int, view: int
) -> Float[np.ndarray, "h w 3"]:
    """Multiplies each channel by a factor of its own, drawn evenly from 1 - gain to 1 + gain; clipped at 1."""
    factors = _generator(seed, view, _GAIN).uniform(1.0 - gain, 1.0 + gain, 3)
    return np.clip(image * factors, 0.0, 1.0).astype(np.float32)


def noisy(
    image: Float[np.ndarray, "h w 3"], deviation: float, seed: int, view: int
) -> Float[np.ndarray, "h w 3"]:
    """Adds normal noise of a standard deviation (of full scale), independent in every pixel and channel."""
    noise = _generator(seed, view, _NOISE).standard_normal(image.shape, np.float32)
    return np.clip(image + deviation * noise, 0.0, 1.0).astype(np.float32)


def compressed(image: Float[np.ndarray, "h w 3"], quality: int) -> Float[np.ndarray, "h w 3"]:
    """Returns the image after a JPEG of a quality, colour at half resolution as phones keep it."""
    buffer = io.BytesIO()
    Image.fromarray(to_uint8(image, "image")).save(buffer, format="JPEG", quality=quality, subsampling=2)
    with Image.open(buffer) as decoded:
        return np.asarray(decoded, dtype=np.float32) / np.float32(255)


def jittered(mask: Bool[np.ndarray, "h w"], rms_px: float, seed: int, view: int) -> Bool[np.ndarray, "h w"]:
    """Displaces the outline of a mask along its normal by smooth noise of a given rms over the outline."""
    noise = _generator(seed, view, _MASK).standard_normal(mask.shape)
    smooth = ndimage.gaussian_filter(noise, JITTER_LENGTH_PX, mode="nearest")
    rms = np.sqrt(np.mean(smooth[border(mask)] ** 2))
    return displaced(mask, smooth * (rms_px / rms))


def with_wrong_stretches(
    mask: Bool[np.ndarray, "h w"], share: float, seed: int, view: int
) -> Bool[np.ndarray, "h w"]:
    """Displaces a share of a mask's outline, in stretches of 20 to 40 px, by 10 to 20 px outwards or inwards."""
    rng = _generator(seed, view, _CONTOUR)
    rows, columns = np.nonzero(border(mask))
    places = np.stack([rows, columns], axis=1).astype(np.float64)
    wrong = np.zeros(len(places))
    for centre in rng.permutation(len(places)):
        missing = share * len(places) - np.count_nonzero(wrong)
        if missing <= 0:
            break
        # The border is two pixels thick, one on either side: a stretch has four for each pixel of its half length.
        reach = min(rng.uniform(*STRETCH_PX), max(missing / 4.0, 1.0))
        amount = rng.choice([-1.0, 1.0]) * rng.uniform(*WRONG_PX)
        away = np.linalg.norm(places - places[centre], axis=1)
        if not wrong[away < 2.0 * reach].any():
            wrong[away < reach] = amount
    displacement = np.zeros(mask.shape)
    displacement[rows, columns] = wrong
    return displaced(mask, displacement)


def border(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Marks the pixels on either side of a mask's outline; the picture's edge is no outline.

    Raises:
        SceneError: The mask is empty or full.
    """
    if mask.all() or not mask.any():
        raise SceneError("the mask has no outline: it is empty or full. Check the scene's mask files")
    padded = np.pad(mask, 1, mode="edge")
    around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.logical_or.reduce([neighbour != mask for neighbour in around])


def displaced(
    mask: Bool[np.ndarray, "h w"], displacement_px: Float[np.ndarray, "h w"]
) -> Bool[np.ndarray, "h w"]:
    """Displaces the outline of a mask along its normal.

    Args:
        mask: Mask that is neither empty nor full.
        displacement_px: Displacement outwards; only its values on `border(mask)` are used, each for the pixels
            nearest to it.

    Returns:
        The pixels whose signed distance from the outline is below the displacement at its nearest point.
    """
    outside, nearest_in = ndimage.distance_transform_edt(~mask, return_indices=True)
    inside, nearest_out = ndimage.distance_transform_edt(mask, return_indices=True)
    # The outline runs halfway between the centres of neighbouring pixels.
    distance = np.where(mask, 0.5 - inside, outside - 0.5)
    nearest = np.where(mask, nearest_out, nearest_in)
    return distance < displacement_px[nearest[0], nearest[1]]


def disturbed(camera: Camera, angle_deg: float, shift_mm: float, seed: int, view: int) -> Camera:
    """Turns a camera about its centre by an angle and moves it by a distance; axis and direction are drawn evenly."""
    rng = _generator(seed, view, _CAMERA)
    axis, direction = _unit(rng), _unit(rng)
    pose = camera.world_from_camera.copy()
    pose[:3, :3] = pose[:3, :3] @ Rotation.from_rotvec(axis * np.radians(angle_deg)).as_matrix()
    pose[:3, 3] += shift_mm * direction
    return replace(camera, world_from_camera=pose)


def moved_world(fault: Fault, centre: Float[np.ndarray, "3"], seed: int) -> Float[np.ndarray, "4 4"]:
    """Returns the fault's similarity: world turned and scaled about a centre (mm), then moved; the identity without."""
    rng = _generator(seed, 0, _WORLD)
    axis, direction = _unit(rng), _unit(rng)
    matrix = np.eye(4)
    matrix[:3, :3] = fault.scale * Rotation.from_rotvec(axis * np.radians(fault.turn_deg)).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + fault.move_mm * direction
    return matrix


def _generator(seed: int, view: int, kind: int) -> np.random.Generator:
    return np.random.default_rng([seed, view, kind])


def _unit(rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)
