"""Shoulders and clothes: the head model ends at the upper shoulders; this continues it to a clothed bust.

The garment is one closed solid: the shoulders of the model, a trunk and two upper arms blended smoothly,
thickened, cut by a neckline above and by a plane below. The neck of the skin goes into it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float, Int64

from recon.geometry.distance_grid import RegularGrid, mesh_from_grid, signed_distance_grid
from recon.geometry.tidy import largest_component

GARMENTS = ("crew", "v_neck", "shirt", "turtleneck", "hoodie")
_SPACING_MM = 3.0
_BAND_MM = 3.5


@dataclass(frozen=True)
class Bust:
    """Shape of shoulders and clothes.

    Attributes:
        garment: One of `GARMENTS`.
        width: Scale of the shoulders, 1 is average.
        thickness_mm: Thickness of the cloth over the skin.
        neckline_mm: Raises the neckline.
        fold_mm: Amplitude of the folds.
        fold_phase: Moves the folds, radians.
        bottom_mm: How far below the model's lowest front point the bust is cut.
    """

    garment: str = "crew"
    width: float = 1.0
    thickness_mm: float = 3.0
    neckline_mm: float = 0.0
    fold_mm: float = 1.2
    fold_phase: float = 0.0
    bottom_mm: float = 22.0

    def recipe(self) -> dict[str, Any]:
        """Returns the parameters, ready for JSON."""
        return asdict(self)

    @staticmethod
    def from_recipe(recipe: Mapping[str, Any]) -> "Bust":
        """The inverse of `recipe`."""
        return Bust(**recipe)


def draw_bust(rng: np.random.Generator) -> Bust:
    """Draws a garment and its fit."""
    return Bust(
        garment=str(rng.choice(GARMENTS, p=[0.45, 0.12, 0.18, 0.10, 0.15])),
        width=float(rng.uniform(0.92, 1.10)),
        thickness_mm=float(rng.uniform(2.5, 4.5)),
        neckline_mm=float(rng.uniform(-5, 8)),
        fold_mm=float(rng.uniform(0.6, 2.0)),
        fold_phase=float(rng.uniform(0, 2 * np.pi)),
        bottom_mm=float(rng.uniform(16, 34)),
    )


def garment_mesh(
    bust: Bust,
    skin: Float[np.ndarray, "skin 3"],
    faces: Int64[np.ndarray, "faces 3"],
    neck_loop: Int64[np.ndarray, " loop"],
) -> trimesh.Trimesh:
    """Builds the garment of a bust around the lower skin.

    Args:
        bust: Its shape.
        skin: Closed skin vertices, mm.
        faces: Skin triangles.
        neck_loop: Skin vertices along the opening at the shoulders.

    Returns:
        A closed outward mesh, mm.
    """
    rim = skin[neck_loop]
    front, back = rim[rim[:, 2].argmax()], rim[rim[:, 2].argmin()]
    side = np.abs(rim[np.abs(rim[:, 0]).argmax()]) * [1, 0, 0]
    side[1:] = rim[np.abs(rim[:, 0]) > 0.97 * side[0], 1:].max(axis=0)
    floor = front[1] - bust.bottom_mm
    low = np.array([-side[0] * 1.75 * bust.width, floor, min(back[2], side[2]) - 45])
    high = np.array([side[0] * 1.75 * bust.width, back[1] + 90, front[2] + 40])
    grid = RegularGrid.around(low, high, _SPACING_MM, 4 * _SPACING_MM)

    near = (skin[faces, 1].min(axis=1) < high[1] + 20) & (skin[faces, 1].max(axis=1) > floor - 30)
    body = signed_distance_grid(skin, faces if near.all() else faces[near], grid, _BAND_MM, extend=True)
    x = grid.axis(0)[:, None, None]
    y = grid.axis(1)[None, :, None]
    z = grid.axis(2)[None, None, :]
    body = _smooth_min(body, _torso(bust, x, y, z, front, back, side), 44.0)
    above = y - _neckline(bust, x, z, front, back)
    from_neck = np.hypot(x, 0.9 * (z - (front[2] + back[2]) / 2))
    cloth = body - _thickness(bust, above, from_neck) - _folds(bust, x, y, z, above)
    cloth = _smooth_max(cloth, above, 4.0)
    cloth = _smooth_max(cloth, floor - y, 6.0)
    return largest_component(mesh_from_grid(cloth.astype(np.float32), grid))


def _torso(
    bust: Bust,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    front: np.ndarray,
    back: np.ndarray,
    side: np.ndarray,
) -> np.ndarray:
    """Distance to trunk and upper arms; `front`, `back`, `side` lie on the rim of the model's shoulders."""
    depth = (front[2] - back[2]) / 2
    trunk_radii = np.array([1.30 * side[0] * bust.width, 100.0, 1.12 * depth])
    # the trunk's top follows the rim, which is higher at the back
    middle = (front[2] + back[2]) / 2 - 3.0
    incline = (back[1] - front[1]) / (back[2] - front[2])
    top = (front[1] + back[1]) / 2 + 6.0 + incline * np.clip(z - middle, -1.2 * depth, 1.2 * depth)
    u, v, w = (
        np.abs(x / trunk_radii[0]),
        np.abs((y - top + 100.0) / 100.0),
        np.abs((z - middle) / trunk_radii[2]),
    )
    trunk = ((u**2.5 + w**2.5) ** (4 / 2.5) + v**4) ** 0.25
    trunk = (trunk - 1) * trunk_radii[2]

    radius = 46.0
    start = np.array([0.62 * side[0], side[1] - 44.0, side[2]])
    end = np.array([1.22 * side[0] * bust.width, side[1] - 66.0, side[2] - 3.0])
    along = end - start
    px, py, pz = np.abs(x) - start[0], y - start[1], z - start[2]
    t = np.clip((px * along[0] + py * along[1] + pz * along[2]) / (along @ along), 0, 1)
    arm = np.sqrt((px - t * along[0]) ** 2 + (py - t * along[1]) ** 2 + (pz - t * along[2]) ** 2) - radius
    drop = end - [0.0, 60.0, 0.0]
    v = np.clip((end[1] - y) / 60.0, 0, 1)
    limb = np.sqrt((np.abs(x) - drop[0]) ** 2 + (y - end[1] + 60 * v) ** 2 + (z - drop[2]) ** 2) - radius
    return _smooth_min(_smooth_min(arm, limb, 10.0), trunk, 30.0)


def _neckline(bust: Bust, x: np.ndarray, z: np.ndarray, front: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Height of the neckline over (x, z), mm."""
    raise_front, raise_back, raise_side = {
        "crew": (30.0, 24.0, 20.0),
        "v_neck": (32.0, 22.0, 16.0),
        "shirt": (40.0, 36.0, 20.0),
        "turtleneck": (76.0, 70.0, 0.0),
        "hoodie": (36.0, 30.0, 20.0),
    }[bust.garment]
    start, end = back[2] + 15.0, front[2] - 10.0
    t = np.clip((z - start) / (end - start), 0, 1)
    line = (back[1] + raise_back) * (1 - t) + (front[1] + raise_front) * t + bust.neckline_mm
    # over the shoulder muscles the neckline runs higher than the plane through its front and back
    line = line + raise_side * np.clip(np.abs(x) / 75.0, 0, 1.4) ** 2
    if bust.garment in ("v_neck", "shirt"):
        depth = 22.0 if bust.garment == "v_neck" else 26.0
        line = line - depth * np.clip(1 - np.abs(x) / 34.0, 0, 1) * (z > (start + end) / 2)
    result: np.ndarray = np.broadcast_to(line, np.broadcast_shapes(x.shape, z.shape)).copy()
    return result


def _thickness(bust: Bust, above: np.ndarray, from_neck: np.ndarray) -> np.ndarray:
    """Cloth thickness with its collar; `above` is the height over the neckline (negative on the garment)."""
    height, width = {
        "crew": (1.8, 9.0),
        "v_neck": (1.4, 7.0),
        "shirt": (5.0, 20.0),
        "turtleneck": (2.5, 28.0),
        "hoodie": (11.0, 18.0),
    }[bust.garment]
    roll = np.exp(-(((above + 0.5 * width) / (0.6 * width)) ** 2))
    # the collar goes round the neck only, not out over the shoulders
    rolled: np.ndarray = bust.thickness_mm + height * roll * np.clip((118.0 - from_neck) / 25.0, 0, 1)
    return rolled


def _folds(bust: Bust, x: np.ndarray, y: np.ndarray, z: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Slow waves over the cloth that fade towards the neckline, mm."""
    p = bust.fold_phase
    waves = (
        np.sin(0.045 * x + 0.03 * y + 0.02 * z + p)
        + 0.7 * np.sin(-0.06 * x + 0.05 * y + 0.03 * z + 2.1 * p)
        + 0.5 * np.sin(0.02 * x + 0.11 * y - 0.05 * z + 3.7 * p)
    )
    folded: np.ndarray = bust.fold_mm * waves * np.clip(-above / 40.0 - 0.2, 0, 1)
    return folded


def _smooth_min(a: np.ndarray, b: np.ndarray, radius: float) -> np.ndarray:
    """Minimum whose crease is rounded over `radius` (quadratic blend)."""
    h = np.clip(radius - np.abs(a - b), 0, None) / radius
    blended: np.ndarray = np.minimum(a, b) - h * h * radius / 4
    return blended


def _smooth_max(a: np.ndarray, b: np.ndarray, radius: float) -> np.ndarray:
    return -_smooth_min(-a, -b, radius)
