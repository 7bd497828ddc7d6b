"""The camera path: somebody walks around a seated person with a tablet, 60 to 100 cm away.

Poses are in the canonical head frame (mm, +Y up, +Z out of the face); azimuth 0 is in front, positive to the
subject's left. Views are numbered along the path, from behind over the right side, the front and the left
side to behind again.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from recon.scene import Camera

VIEW_COUNTS = (1, 3, 4, 6, 8, 16, 32)
SIZE = 512
DEFAULT_AZIMUTHS: dict[int, tuple[float, ...]] = {
    1: (0.0,),
    3: (0.0, -45.0, 45.0),
    4: (-45.0, 45.0, -135.0, 135.0),
    6: (0.0, -60.0, 60.0, -120.0, 120.0, 180.0),
    8: (-45.0, 45.0, -135.0, 135.0, 0.0, -90.0, 90.0, 180.0),
}
"""Where the default lists look from, as in the data set: one in front; three in front and to both sides; more
spread all round, four within eight within sixteen within thirty-two."""


@dataclass(frozen=True)
class Orbit:
    """A camera path around the head and the default lists of its views.

    Attributes:
        cameras: One camera per view, canonical head frame.
        azimuth_deg: Azimuth of each camera, degrees.
        default_views: View indices by number of views.
    """

    cameras: tuple[Camera, ...]
    azimuth_deg: Float[np.ndarray, " n"]
    default_views: dict[int, tuple[int, ...]]


def draw_orbit(
    count: int,
    points: Float[np.ndarray, "v 3"],
    rng: np.random.Generator,
    *,
    size: int = SIZE,
    shake: float = 1.0,
    margin: float = 0.02,
) -> Orbit:
    """Draws a camera path around `points` that keeps all of them in every picture.

    Args:
        count: Number of views.
        points: Points of the subject's surface, mm.
        rng: Generator, consumed.
        size: Side of the square pictures, pixels.
        shake: Scale of the hand's shake; 0 for a turntable.
        margin: Share of the picture left free around the subject in the tightest view.

    Returns:
        The path. All cameras share their intrinsics, as one locked tablet camera has them.
    """
    azimuth = path_azimuths(count, rng, shake)
    turn = np.radians(azimuth)
    distance = rng.uniform(740, 860) + shake * (45 * _sway(rng, turn) + 12 * rng.standard_normal(count))
    distance = np.clip(distance, 600, 1000)
    elevation = rng.uniform(-2, 6) + shake * (7.0 * _sway(rng, turn) + 1.0 * rng.standard_normal(count))
    roll = shake * (1.2 * _sway(rng, turn) + 0.8 * rng.standard_normal(count))
    centre = 0.5 * (points.min(axis=0) + points.max(axis=0))
    aim = centre + shake * np.stack(
        [4 * _sway(rng, turn) + 2.5 * rng.standard_normal(count) for _ in range(3)], axis=1
    )
    poses = [look_at(aim[i], azimuth[i], elevation[i], distance[i], roll[i]) for i in range(count)]
    focal = min(_widest_focal(pose, points, size, margin) for pose in poses)
    intrinsics = np.array([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])
    cameras = tuple(Camera(intrinsics, pose, size, size) for pose in poses)
    return Orbit(cameras, azimuth, default_views(azimuth))


def path_azimuths(count: int, rng: np.random.Generator, shake: float) -> Float[np.ndarray, " count"]:
    """Draws azimuths from -180 to 180 degrees, about twice as dense in front as behind, one of them in front."""
    u = (np.arange(count) - count // 2) / count * 2.0
    azimuth = 180.0 * (0.62 * u + 0.38 * np.sign(u) * np.abs(u) ** 2.2)
    spacing = np.gradient(azimuth) if count > 1 else np.zeros(1)
    jitter = shake * 0.22 * rng.uniform(-1, 1, count) * spacing
    azimuth = azimuth + jitter
    return azimuth - azimuth[count // 2] * (1.0 - 0.02)


def default_views(azimuth_deg: Float[np.ndarray, " n"]) -> dict[int, tuple[int, ...]]:
    """Picks the default lists for the usual numbers of views, by the nearest azimuth; numbers above `n` get none."""
    lists: dict[int, tuple[int, ...]] = {}
    for number in VIEW_COUNTS:
        if number > len(azimuth_deg):
            continue
        targets = DEFAULT_AZIMUTHS.get(number)
        if targets is None:
            before = lists[number // 2]
            lists[number] = (*before, *_fill(azimuth_deg, before, number))
        else:
            lists[number] = _nearest(azimuth_deg, targets, ())
    return lists


def look_at(
    aim: Float[np.ndarray, "3"],
    azimuth_deg: float,
    elevation_deg: float,
    distance: float,
    roll_deg: float = 0.0,
) -> Float[np.ndarray, "4 4"]:
    """Returns world_from_camera of an OpenCV camera that looks at `aim` from an azimuth, elevation and distance."""
    a, e, r = np.radians([azimuth_deg, elevation_deg, roll_deg])
    outward = np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
    forward = -outward
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    pose = np.eye(4)
    pose[:3, 0] = np.cos(r) * right + np.sin(r) * down
    pose[:3, 1] = np.cos(r) * down - np.sin(r) * right
    pose[:3, 2] = forward
    pose[:3, 3] = aim + distance * outward
    return pose


def unit_sphere(points: Float[np.ndarray, "v 3"], *, margin: float = 1.05) -> Float[np.ndarray, "4 4"]:
    """Returns scale_mat: it takes the unit sphere to the sphere around all points, `margin` times larger.

    The centre is that of the bounding box, the radius that of the farthest point from it.
    """
    centre = 0.5 * (points.min(axis=0) + points.max(axis=0))
    matrix = np.eye(4)
    matrix[:3, :3] *= margin * float(np.linalg.norm(points - centre, axis=1).max())
    matrix[:3, 3] = centre
    return matrix


def _sway(rng: np.random.Generator, turn: np.ndarray) -> np.ndarray:
    """Slow drift along the path, about unit height: three waves of random phase."""
    total = np.zeros_like(turn)
    for wave, height in ((0.7, 0.7), (1.6, 0.5), (3.1, 0.3)):
        total += height * np.sin(wave * turn + rng.uniform(0, 2 * np.pi))
    return total


def _widest_focal(pose: np.ndarray, points: np.ndarray, size: int, margin: float) -> float:
    """Largest focal length in pixels that keeps all points inside the picture."""
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    reach = np.abs(local[:, :2] / local[:, 2:]).max()
    return float(size * (0.5 - margin) / reach)


def _nearest(azimuth: np.ndarray, targets: tuple[float, ...], taken: tuple[int, ...]) -> tuple[int, ...]:
    chosen: list[int] = []
    for target in targets:
        away = np.abs((azimuth - target + 180) % 360 - 180)
        away[[*taken, *chosen]] = np.inf
        chosen.append(int(np.argmin(away)))
    return tuple(chosen)


def _fill(azimuth: np.ndarray, before: tuple[int, ...], number: int) -> tuple[int, ...]:
    """Further views, each in the widest gap that is left (in order of the path, by angle)."""
    chosen = list(before)
    while len(chosen) < number:
        away = np.abs((azimuth[:, None] - azimuth[chosen][None] + 180) % 360 - 180).min(axis=1)
        away[chosen] = -1.0
        chosen.append(int(np.argmax(away)))
    return tuple(chosen[len(before) :])
