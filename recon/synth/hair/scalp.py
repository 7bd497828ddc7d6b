"""The scalp: the hairline on the neutral head, and area-uniform roots inside it."""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64

from recon.synth.hair.flow import CROWN_MM

HEAD_CENTRE_MM = np.array([0.0, 30.0, 0.0])
_MM_PER_DEGREE = 85.0 * np.pi / 180

# The hairline of a neutral adult as (azimuth from the face, elevation) in degrees around HEAD_CENTRE_MM:
# forehead, temple, sideburn, round the ear, nape.
_HAIRLINE = np.array(
    [
        (0.0, 41.0),
        (22.0, 42.5),
        (36.0, 40.5),
        (49.0, 30.0),
        (57.5, 15.0),
        (63.0, 1.0),
        (66.5, -20.0),
        (73.5, -21.0),
        (75.5, 0.0),
        (81.0, 8.5),
        (98.0, 8.0),
        (106.0, -8.0),
        (114.0, -34.0),
        (132.0, -50.0),
        (158.0, -54.0),
        (180.0, -54.0),
    ]
)
_FRONT, _RECESS, _SIDEBURN, _NAPE = (0, 1), (2, 3), (6, 7), (12, 13, 14, 15)


@dataclass(frozen=True)
class Hairline:
    """Deviations of a person's hairline from the neutral one.

    Attributes:
        front_mm: Moves the forehead line back (positive) or forward.
        recess_mm: Moves the corners over the temples back.
        peak_mm: A widow's peak in the middle of the forehead, downward.
        sideburn_mm: Lengthens the sideburns.
        nape_mm: Moves the line at the nape down.
        crown_mm: Radius of a bald spot on the crown, 0 for none.
    """

    front_mm: float = 0.0
    recess_mm: float = 0.0
    peak_mm: float = 0.0
    sideburn_mm: float = 0.0
    nape_mm: float = 0.0
    crown_mm: float = 0.0

    def recipe(self) -> dict[str, float]:
        """Returns the deviations, ready for JSON; a bald crown only where there is one."""
        fields = asdict(self)
        if self.crown_mm == 0.0:
            del fields["crown_mm"]  # recipes written before the field existed stay as they are
        return fields

    def distance_mm(self, canonical: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
        """Distance to the hairline along the neutral head, positive where hair grows.

        Args:
            canonical: Points on the neutral head, mm.
        """
        line = _HAIRLINE.copy()
        for indices, shift in (
            (_FRONT, self.front_mm),
            (_RECESS, self.front_mm + self.recess_mm),
            (_SIDEBURN, -self.sideburn_mm),
            (_NAPE, -self.nape_mm),
        ):
            line[list(indices), 1] += shift / _MM_PER_DEGREE
        line[0, 1] -= self.peak_mm / _MM_PER_DEGREE
        local = canonical - HEAD_CENTRE_MM
        azimuth = np.degrees(np.arctan2(np.abs(local[:, 0]), local[:, 2]))
        elevation = np.degrees(np.arctan2(local[:, 1], np.hypot(local[:, 0], local[:, 2])))
        inside = elevation > np.interp(azimuth, line[:, 0], line[:, 1])

        # meridians converge towards the vertex: scale azimuth by the cosine of the elevation at each point
        stretch = np.cos(np.radians(np.clip(elevation, -60, 60)))[:, None]
        start, end = line[:-1], line[1:]
        ux, uy = (azimuth[:, None] - start[:, 0]) * stretch, elevation[:, None] - start[:, 1]
        vx, vy = (end[:, 0] - start[:, 0]) * stretch, end[:, 1] - start[:, 1]
        t = np.clip((ux * vx + uy * vy) / (vx * vx + vy * vy), 0, 1)
        distance = np.hypot(ux - t * vx, uy - t * vy).min(axis=1) * _MM_PER_DEGREE
        result: np.ndarray = np.where(inside, distance, -distance)
        if self.crown_mm > 0.0:
            result = np.minimum(result, np.linalg.norm(canonical - CROWN_MM, axis=1) - self.crown_mm)
        return result


def draw_hairline(rng: np.random.Generator, receding: float = 0.3) -> Hairline:
    """Draws a hairline; `receding` is the chance of receded temples."""
    recedes = rng.uniform() < receding
    return Hairline(
        front_mm=float(rng.uniform(-5, 5) + (rng.uniform(0, 10) if recedes else 0.0)),
        recess_mm=float(rng.uniform(8, 24) if recedes else rng.uniform(-2, 6)),
        peak_mm=float(rng.uniform(0, 6) if rng.uniform() < 0.3 else 0.0),
        sideburn_mm=float(rng.uniform(-10, 14)),
        nape_mm=float(rng.uniform(-6, 6)),
    )


@dataclass(frozen=True)
class Roots:
    """Points of the scalp from which strands grow.

    Attributes:
        positions: On the subject's skin, mm.
        normals: Unit outward normals of the skin.
        canonical: The same points on the neutral head, mm.
        faces: Index of the skin triangle.
        inside_mm: Distance from the hairline.
    """

    positions: Float[np.ndarray, "roots 3"]
    normals: Float[np.ndarray, "roots 3"]
    canonical: Float[np.ndarray, "roots 3"]
    faces: Int64[np.ndarray, " roots"]
    inside_mm: Float[np.ndarray, " roots"]

    def __len__(self) -> int:
        return len(self.positions)


def sample_roots(
    rng: np.random.Generator,
    count: int,
    vertices: Float[np.ndarray, "vertices 3"],
    normals: Float[np.ndarray, "vertices 3"],
    canonical: Float[np.ndarray, "vertices 3"],
    faces: Int64[np.ndarray, "faces 3"],
    inside_mm: Float[np.ndarray, " vertices"],
    soft_mm: float = 4.0,
) -> Roots:
    """Draws roots uniformly over the area of the scalp, stratified over the triangles.

    The density falls to zero over `soft_mm` at the hairline, as hair thins out there.

    Args:
        rng: Source of randomness.
        count: Number of roots.
        vertices: Skin vertices, mm.
        normals: Their unit normals.
        canonical: The same vertices on the neutral head, mm.
        inside_mm: Their distance from the hairline.
        faces: Skin triangles that may carry hair.
        soft_mm: Width of the thinning border.
    """
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    density = np.clip(inside_mm[faces].mean(axis=1) / soft_mm, 0, 1)
    mass = np.cumsum(area * density)
    # one draw in each of `count` equal shares of the scalp's area
    chosen = np.searchsorted(mass, (np.arange(count) + rng.uniform(size=count)) / count * mass[-1])
    chosen = np.minimum(chosen, len(faces) - 1)
    r, t = np.sqrt(rng.uniform(size=count)), rng.uniform(size=count)
    weights = np.stack([1 - r, r * (1 - t), r * t], axis=1)

    def blend(values: np.ndarray) -> np.ndarray:
        return np.einsum("nk,nk...->n...", weights, values[faces[chosen]])

    normal = blend(normals)
    return Roots(
        blend(vertices),
        normal / np.linalg.norm(normal, axis=1, keepdims=True),
        blend(canonical),
        chosen.astype(np.int64),
        blend(inside_mm),
    )


def scalp_mask(
    inside_mm: Float[np.ndarray, " points"], width_mm: float = 8.0
) -> Float32[np.ndarray, " points"]:
    """Soft mask of the scalp, 0.5 at the hairline, for tinting the skin under the hair."""
    t = np.clip(inside_mm / width_mm + 0.5, 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
