"""View-independent light, baked once per subject at its vertices.

The surroundings are cut into directions spread over the sphere; a depth map per direction says which vertices
see out that way. The sums give ambient irradiance with soft shadows and ambient occlusion; lamps get several
finer maps each, jittered over the lamp's disc, for shadows with soft edges. Room and subject stand still, so
one bake serves all views.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from recon.compiled import compiled
from recon.synth.render.room import Lamp, Room, sphere_directions
from recon.synth.render.zbuffer import draw_depth

AMBIENT_DIRECTIONS, AMBIENT_MAP = 80, 192
LAMP_SAMPLES, LAMP_MAP = 8, 640
BOUNCE = np.array([0.34, 0.22, 0.17], np.float32)
"""Mean colour that blocked directions send back: light between skin, hair and clothes."""


@dataclass(frozen=True)
class Bake:
    """Baked light at vertices.

    Attributes:
        ambient: Irradiance / pi from the surroundings, shadowed: the light that a white surface sends back.
        openness: Cosine-weighted share of the sky that each vertex sees (ambient occlusion).
        lamps: Visible share of every lamp's disc.
        harmonics: Irradiance / pi of the unshadowed surroundings in second-order spherical harmonics.
    """

    ambient: Float[np.ndarray, "v 3"]
    openness: Float[np.ndarray, " v"]
    lamps: Float[np.ndarray, "v l"]
    harmonics: Float[np.ndarray, "9 3"]


@dataclass(frozen=True)
class ShadowCasters:
    """Triangles that cast shadows, and a ball around them, mm."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    centre: Float[np.ndarray, "3"]
    radius: float

    @classmethod
    def from_mesh(cls, vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> "ShadowCasters":
        """Takes all triangles of a mesh."""
        centre = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
        radius = float(np.linalg.norm(vertices - centre, axis=1).max()) * 1.01
        return cls(vertices, np.ascontiguousarray(faces, np.int32), centre, radius)

    def coarse(self, cell_mm: float) -> "ShadowCasters":
        """Returns the same shape with all vertices of a cubic cell merged into one: cheap, for blurred shadows."""
        cells = np.floor(self.vertices / cell_mm).astype(np.int64)
        cells -= cells.min(axis=0)
        span = cells.max(axis=0) + 1
        key = (cells[:, 0] * span[1] + cells[:, 1]) * span[2] + cells[:, 2]
        _, merged = np.unique(key, return_inverse=True)
        count = np.bincount(merged)
        means = np.stack([np.bincount(merged, column) / count for column in self.vertices.T], axis=1)
        faces = merged[self.faces]
        a, b, c = faces.T
        faces = faces[(a != b) & (b != c) & (a != c)].astype(np.int32)
        return ShadowCasters(means, np.unique(faces, axis=0), self.centre, self.radius)


def bake(
    vertices: Float[np.ndarray, "v 3"],
    normals: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    room: Room,
) -> Bake:
    """Bakes the light of a room at every vertex.

    Args:
        vertices: Positions, mm, the frame of the room.
        normals: Unit outward normals.
        faces: Triangles of everything that casts shadows.
        room: Ambient light and lamps.

    Returns:
        Light at the vertices.
    """
    casters = ShadowCasters.from_mesh(vertices, faces)
    blurred = casters.coarse(2.0 * casters.radius / AMBIENT_MAP)
    directions = sphere_directions(AMBIENT_DIRECTIONS)
    radiance = room.radiance(directions)
    ambient = np.zeros((len(vertices), 3), np.float32)
    seen = np.zeros(len(vertices), np.float32)
    total = np.zeros(len(vertices), np.float32)
    for direction, colour in zip(directions, radiance, strict=True):
        cosine = np.maximum(normals @ direction, 0.0).astype(np.float32)
        visible = cosine * visibility(vertices, normals, blurred, direction, AMBIENT_MAP)
        seen += visible
        total += cosine
        ambient += visible[:, None] * colour
    ambient *= 4.0 / AMBIENT_DIRECTIONS
    openness = seen / np.maximum(total, 1e-6)
    ambient += (1.0 - openness)[:, None] * BOUNCE * ambient.mean(axis=0)
    lamps = np.stack([_lamp_visibility(vertices, normals, casters, lamp) for lamp in room.lamps], axis=1)
    return Bake(ambient, openness, lamps, irradiance_harmonics(room))


def visibility(
    vertices: Float[np.ndarray, "v 3"],
    normals: Float[np.ndarray, "v 3"],
    casters: ShadowCasters,
    direction: Float[np.ndarray, "3"],
    size: int,
) -> Float[np.ndarray, " v"]:
    """Computes which vertices see out along `direction`, by an orthographic shadow map of size x size.

    Returns:
        0 to 1 (the four texels around a vertex are compared and weighted bilinearly).
    """
    helper = np.array([0.0, 0.0, 1.0]) if abs(direction[1]) > 0.9 else np.array([0.0, 1.0, 0.0])
    across = np.cross(helper, direction)
    across /= np.linalg.norm(across)
    texel = 2 * casters.radius / size
    axes = np.stack([across / texel, np.cross(direction, across) / texel, direction])
    offset = np.array([size / 2, size / 2, 0.0]) - axes @ casters.centre
    depth = draw_depth(casters.vertices @ axes.T + offset, casters.faces, size, size)
    # Moved off the surface by about a texel, or a surface would shadow itself.
    return _seen(depth, vertices, normals, axes, offset, texel)


def harmonic_basis(normals: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 9"]:
    """Real spherical harmonics up to the second order, orthonormal."""
    x, y, z = normals[:, 0], normals[:, 1], normals[:, 2]
    one = np.ones_like(x)
    return np.stack(
        [
            0.282095 * one,
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.315392 * (3 * z * z - one),
            1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ],
        axis=1,
    ).astype(np.float32)


def irradiance_harmonics(room: Room) -> Float[np.ndarray, "9 3"]:
    """Coefficients of irradiance / pi from the panorama (Ramamoorthi and Hanrahan 2001, eq. 8)."""
    directions = sphere_directions(2048)
    basis = harmonic_basis(directions)
    coefficients = basis.T @ room.radiance(directions) * (4 * np.pi / len(directions))
    lobe = np.array([1.0] + [2 / 3] * 3 + [1 / 4] * 5, np.float32)
    return (coefficients * lobe[:, None]).astype(np.float32)


def diffuse_over(
    values: Float[np.ndarray, "v c"], faces: Int[np.ndarray, "f 3"], rounds: int
) -> Float[np.ndarray, "v c"]:
    """Averages vertex values with their neighbours `rounds` times: light that spreads under the skin."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    ones = np.ones(len(edges), np.float32)
    adjacency = sparse.csr_matrix((ones, (edges[:, 0], edges[:, 1])), shape=(len(values), len(values)))
    adjacency = ((adjacency + adjacency.T) > 0).astype(np.float32)
    degree = np.maximum(np.asarray(adjacency.sum(axis=1)).ravel(), 1.0)
    step = sparse.diags(1.0 / degree).astype(np.float32) @ adjacency
    out = values.astype(np.float32)
    for _ in range(rounds):
        out = 0.5 * out + 0.5 * (step @ out)
    return out


def _lamp_visibility(
    vertices: np.ndarray, normals: np.ndarray, casters: ShadowCasters, lamp: Lamp
) -> np.ndarray:
    helper = np.array([0.0, 1.0, 0.0]) if abs(lamp.direction[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    across = np.cross(lamp.direction, helper)
    across /= np.linalg.norm(across)
    along = np.cross(lamp.direction, across)
    total = np.zeros(len(vertices), np.float32)
    for k in range(LAMP_SAMPLES):
        spread = np.tan(np.radians(lamp.radius_deg)) * np.sqrt((k + 0.5) / LAMP_SAMPLES)
        turn = k * np.pi * (3 - np.sqrt(5))
        towards = lamp.direction + spread * (np.cos(turn) * across + np.sin(turn) * along)
        towards /= np.linalg.norm(towards)
        total += visibility(vertices, normals, casters, towards, LAMP_MAP)
    return total / LAMP_SAMPLES


@compiled
def _seen(depth, vertices, normals, axes, offset, texel):  # type: ignore[no-untyped-def]
    rows, columns = depth.shape
    out = np.empty(len(vertices), np.float32)
    for i in range(len(vertices)):
        px = vertices[i, 0] + 1.1 * texel * normals[i, 0]
        py = vertices[i, 1] + 1.1 * texel * normals[i, 1]
        pz = vertices[i, 2] + 1.1 * texel * normals[i, 2]
        x = axes[0, 0] * px + axes[0, 1] * py + axes[0, 2] * pz + offset[0] - 0.5
        y = axes[1, 0] * px + axes[1, 1] * py + axes[1, 2] * pz + offset[1] - 0.5
        near = axes[2, 0] * px + axes[2, 1] * py + axes[2, 2] * pz + offset[2] + 0.4 * texel
        x0, y0 = int(np.floor(x)), int(np.floor(y))
        fx, fy = x - x0, y - y0
        total = 0.0
        for corner in range(4):
            ox, oy = corner & 1, corner >> 1
            column, row = x0 + ox, y0 + oy
            inside = 0 <= column < columns and 0 <= row < rows
            if not inside or near >= depth[row, column]:
                total += (fx if ox else 1 - fx) * (fy if oy else 1 - fy)
        out[i] = total
    return out
