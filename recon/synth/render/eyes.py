"""Shading of eyes: white, iris, pupil and the wet reflection, painted on the eyeball by the distance from its axis.

The iris lies behind the cornea, so its colour is looked up where the refracted view ray meets the iris plane;
normals are those of an ideal eyeball with a corneal bulge, whatever the mesh underneath.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from recon.synth.model.face_map import EYE_CENTRE
from recon.synth.parts import Part
from recon.synth.render.appearance import Appearance, EyeAppearance
from recon.synth.render.light import Bake
from recon.synth.render.noise import fractal, noise
from recon.synth.render.room import Lamp, Room
from recon.synth.render.shading import Points, Shaded, diffuse, dot, normalised

IRIS_DEPTH_MM = 2.4
CORNEA_MM = 8.2
WHITE = np.array([0.63, 0.575, 0.535], np.float32)


def shade_eye(points: Points, appearance: Appearance, bake: Bake) -> Shaded:
    """Shades an eyeball under the room's light, with its lids' shadow."""
    eyes = appearance.eyes
    turn = gaze_rotation(np.where(points.tangent[:, 2:] > 0, points.tangent, np.array([0, 0, 1], np.float32)))
    own_normal, offset = eye_normal(points.canonical)
    own_view = np.einsum("nji,nj->ni", turn, points.view)
    iris_offset = _refracted_offset(own_view, own_normal, offset)
    normal = np.einsum("nij,nj->ni", turn, own_normal)
    albedo = eye_albedo(points.canonical, offset, iris_offset, eyes)
    radius = np.linalg.norm(offset[:, :2], axis=1)
    in_iris = _step(eyes.iris_mm + 0.5, eyes.iris_mm - 0.5, radius)
    facing = replace(points, normal=normal)
    light = diffuse(facing, normal, bake, appearance.room.lamps, wrap=(0.25, 0.15, 0.12))
    # The upper lid and its lashes shade the top of the eye more than the baked shadows resolve.
    lid = np.clip((points.canonical[:, 1] - EYE_CENTRE[1] + 1.5) / 6.5, 0.0, 1.0)
    light *= (1.0 - 0.45 * lid**1.5)[:, None]
    # Light that enters through the cornea gathers on the iris's far side.
    caustic = 1.0 + 0.5 * in_iris * np.clip(-_lamp_side(iris_offset, appearance.room), -0.3, 1.0)
    wet = _reflection(points, normal, appearance.room) * (0.3 + 0.7 * points.openness)[:, None]
    wet *= (0.35 + 0.65 * in_iris)[:, None]
    return Shaded(albedo * light * caustic[:, None] + wet, albedo)


def eye_frame(part: Part) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "3"]]:
    """Returns the points of an eyeball in its own frame, and its gaze.

    Args:
        part: Eyeball, with the scalar "gaze_mm", the distance along the ball from the point it looks out of; without
            it the eye looks straight ahead.

    Returns:
        Canonical coordinates of an eye of the neutral head that looks along +Z, turned so that its axis meets
        the part's gaze; and the gaze, a unit vector.
    """
    if "gaze_mm" not in part.scalars:
        return part.canonical, np.array([0.0, 0.0, 1.0])
    back = part.scalars["gaze_mm"] > 9.0
    centre = _ball_centre(part.vertices[back])
    front = part.vertices[np.argmin(part.scalars["gaze_mm"])]
    gaze = (front - centre) / np.linalg.norm(front - centre)
    local = (part.vertices - centre) @ gaze_rotation(gaze[None].astype(np.float32))[0]
    side = np.sign(part.canonical[:, 0].mean())
    home = EYE_CENTRE * np.array([side, 1.0, 1.0])
    return (local + home).astype(np.float32), gaze


def gaze_rotation(gaze: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3 3"]:
    """Rotations whose third column is the gaze and whose first is horizontal."""
    across = normalised(np.stack([gaze[:, 2], np.zeros(len(gaze), gaze.dtype), -gaze[:, 0]], axis=1))
    return np.stack([across, np.cross(gaze, across), gaze], axis=2)


def _ball_centre(points: np.ndarray) -> np.ndarray:
    """Centre of the sphere nearest to points, by linear least squares."""
    system = np.concatenate([2.0 * points, np.ones((len(points), 1))], axis=1)
    solution, *_ = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)
    return solution[:3]


def eye_normal(
    canonical: Float[np.ndarray, "n 3"],
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Normals of an ideal eyeball, and positions relative to its centre (mm)."""
    centre = EYE_CENTRE * np.stack(
        [np.sign(canonical[:, 0]), np.ones(len(canonical)), np.ones(len(canonical))], 1
    )
    offset = (canonical - centre).astype(np.float32)
    ball = normalised(offset)
    radius = np.linalg.norm(offset[:, :2], axis=1)
    slope = np.minimum(radius / CORNEA_MM, 0.95)
    bulge = np.concatenate(
        [
            offset[:, :2] / np.maximum(radius, 1e-6)[:, None] * slope[:, None],
            np.sqrt(1 - slope**2)[:, None],
        ],
        axis=1,
    )
    share = _step(6.9, 5.4, radius)[:, None]
    return normalised(ball * (1 - share) + bulge * share).astype(np.float32), offset


def eye_albedo(
    canonical: Float[np.ndarray, "n 3"],
    offset: Float[np.ndarray, "n 3"],
    iris_offset: Float[np.ndarray, "n 2"],
    appearance: EyeAppearance,
) -> Float[np.ndarray, "n 3"]:
    """Colours of white, vessels, iris, its rim and the pupil."""
    radius = np.linalg.norm(offset[:, :2], axis=1)
    corner = np.clip((np.abs(offset[:, 0]) - 5.5) / 7.5, 0.0, 1.0)
    vessels = np.abs(noise(canonical * np.array([0.45, 1.0, 1.0], np.float32), 1.4, appearance.seed))
    red = appearance.redness * (0.22 * corner**1.5 + 0.16 * corner * np.exp(-(vessels * 9.0)))
    white = WHITE * np.exp(-red[:, None] * np.array([0.35, 1.5, 1.4], np.float32))

    inner_radius = np.linalg.norm(iris_offset, axis=1)
    angle = np.arctan2(iris_offset[:, 1], iris_offset[:, 0])
    fibre_at = np.stack(
        [np.cos(angle) * 5.0, np.sin(angle) * 5.0, inner_radius * 0.35 + 20 * np.sign(canonical[:, 0])], 1
    )
    fibres = fractal(fibre_at.astype(np.float32), 0.9, appearance.seed + 1, octaves=2)
    span = np.clip(
        (inner_radius - appearance.pupil_mm) / (appearance.iris_mm - appearance.pupil_mm), 0.0, 1.0
    )
    mix = np.clip(span * 1.15 + 0.25 * fibres, 0.0, 1.0)[:, None]
    iris = np.array(appearance.inner, np.float32) * (1 - mix) + np.array(appearance.outer, np.float32) * mix
    iris = iris * np.exp(0.9 * fibres)[:, None]
    iris = iris * (1.0 - 0.72 * _step(0.72, 1.0, span))[:, None]
    iris = iris * _step(appearance.pupil_mm - 0.25, appearance.pupil_mm + 0.25, inner_radius)[:, None] + 0.003
    share = _step(appearance.iris_mm + 0.45, appearance.iris_mm - 0.35, radius)[:, None]
    return (white * (1 - share) + iris * share).astype(np.float32)


def _refracted_offset(view: np.ndarray, normal: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Where the view ray, bent into the eye (ratio 1 / 1.336), meets the plane of the iris: x and y, mm."""
    cosine = np.clip(dot(normal, view), 0.0, 1.0)
    ratio = 1.0 / 1.336
    inside = ratio * cosine - np.sqrt(1.0 - ratio**2 * (1.0 - cosine**2))
    bent = inside[:, None] * normal - ratio * view
    radius = np.linalg.norm(offset[:, :2], axis=1)
    depth = IRIS_DEPTH_MM * np.clip(1.0 - (radius / 6.6) ** 2, 0.0, 1.0)
    travel = np.minimum(depth / np.maximum(-bent[:, 2], 0.25), 4.0)
    return (offset[:, :2] + bent[:, :2] * travel[:, None]).astype(np.float32)


def _lamp_side(iris_offset: np.ndarray, room: Room) -> np.ndarray:
    """-1 on the side of the iris away from the strongest lamp, 1 towards it."""
    lamp = max(room.lamps, key=_power)
    side = lamp.direction[:2] / max(float(np.linalg.norm(lamp.direction[:2])), 1e-6)
    return np.clip(iris_offset @ side.astype(np.float32) / 5.0, -1.0, 1.0)


def _power(lamp: Lamp) -> float:
    return float(lamp.irradiance.sum())


def _reflection(points: Points, normal: np.ndarray, room: Room) -> np.ndarray:
    """The room in the tear film: the panorama and the lamps' discs, by Schlick's Fresnel."""
    cosine = np.clip(dot(normal, points.view), 0.0, 1.0)[:, None]
    mirror = 2.0 * cosine * normal - points.view
    total = room.radiance(mirror)
    for k, lamp in enumerate(room.lamps):
        edge = np.cos(np.radians(lamp.radius_deg * 0.8))
        disc = _step(edge - 0.006, edge + 0.002, mirror @ lamp.direction.astype(np.float32))
        bright = lamp.irradiance / (1.0 - edge**2)
        total = total + (disc * points.lamps[:, k])[:, None] * bright.astype(np.float32)
    return (0.025 + 0.975 * (1.0 - cosine) ** 5 * 0.5) * total


def _step(low: float, high: float, value: np.ndarray) -> np.ndarray:
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)
