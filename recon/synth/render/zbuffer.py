"""A multi-sample rasteriser: triangles and thin curves into one z-buffer, then into fragments for shading.

Everything is drawn on a grid of `samples` x `samples` sub-pixels. `Buffers.resolve` then groups the
sub-pixels of one pixel that show the same surface into one fragment, so that shading costs once per pixel
inside a surface and still weighs every surface by its true coverage at silhouettes (multi-sample
anti-aliasing). `samples` is odd: the middle sub-pixel is the pixel's centre, and "more than half covered" is
never a tie.

Depths are kept as *nearness*, a number that is linear on the screen and grows towards the camera: the inverse depth in
a perspective view, the negative depth in an orthographic one. Curves are drawn one sub-pixel wide; a curve
thinner than that covers a sub-pixel with the probability of its width (stochastic transparency), from a hash
that does not depend on the view.

For one front triangle a pixel in double precision, without curves, see `recon.geometry.raster`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from recon.scene import Camera
from recon.synth.render.zbuffer_kernels import (
    accumulate,
    barycentric_weights,
    draw_nearness,
    draw_segments,
    draw_triangles,
    interpolate_values,
    merge_samples,
)

NEAREST_MM = 10.0
EMPTY = -1


@dataclass(frozen=True)
class Fragments:
    """Surface samples to shade, sorted by pixel.

    Attributes:
        pixel: Row-major index of the pixel.
        primitive: Index of the triangle, or `triangles + segment index` for curves.
        weights: Perspective-correct barycentric weights; a segment uses the first two.
        coverage: Share of the pixel's area.
    """

    pixel: Int[np.ndarray, " n"]
    primitive: Int[np.ndarray, " n"]
    weights: Float[np.ndarray, "n 3"]
    coverage: Float[np.ndarray, " n"]

    def __len__(self) -> int:
        """Number of fragments."""
        return len(self.pixel)

    def where(self, keep: Bool[np.ndarray, " n"]) -> "Fragments":
        """The fragments where `keep` is true."""
        return Fragments(self.pixel[keep], self.primitive[keep], self.weights[keep], self.coverage[keep])


@dataclass(frozen=True)
class Buffers:
    """The z-buffer that `draw` fills: nearness and primitive of every sub-pixel.

    Attributes:
        nearness: Nearness, float32, 1/mm, 0 where nothing was drawn.
        primitive: Index of the primitive, int32, -1 where nothing was drawn.
        samples: Sub-pixels per pixel along one axis.
        screen: Sub-pixel column and row, and nearness of every vertex.
        faces: Vertex indices of the triangles.
        segments: Vertex indices of the curve segments.
    """

    nearness: Float[np.ndarray, "rows columns"]
    primitive: Int[np.ndarray, "rows columns"]
    samples: int
    screen: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    segments: Int[np.ndarray, "s 2"]

    def coverage(self) -> Float[np.ndarray, "h w"]:
        """Share of every pixel that is covered by anything, in steps of 1 / samples²."""
        return _block_mean(self.primitive != EMPTY, self.samples)

    def centres(self) -> tuple[Float[np.ndarray, "h w"], Int[np.ndarray, "h w"]]:
        """Nearness and primitive at the pixel centres."""
        half, step = self.samples // 2, self.samples
        return self.nearness[half::step, half::step], self.primitive[half::step, half::step]

    def resolve(self, group: Int[np.ndarray, " primitives"], *, gap: float = 0.004) -> Fragments:
        """Groups sub-pixels into fragments.

        Args:
            group: Number of each primitive (triangles, then segments). Sub-pixels of one pixel are merged when
                their groups are equal and not negative; a negative group merges only with the very same
                primitive.
            gap: Relative difference in nearness above which sub-pixels are never merged (a nose before a
                cheek).

        Returns:
            Fragments of all covered pixels; coverages of a pixel sum to its coverage.
        """
        pixel, primitive, where, count = merge_samples(
            self.nearness, self.primitive, group, self.samples, gap
        )
        weights = barycentric_weights(
            where, primitive, self.screen, self.faces, self.segments, self.primitive.shape[1]
        )
        return Fragments(pixel, primitive, weights, count.astype(np.float32) / self.samples**2)


def draw(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    camera: Camera,
    *,
    segments: Int[np.ndarray, "s 2"] | None = None,
    segment_width_mm: Float[np.ndarray, " s"] | None = None,
    samples: int = 3,
) -> Buffers:
    """Draws triangles (both sides) and curve segments as `camera` sees them.

    Args:
        vertices: Positions, world mm.
        faces: Triangles.
        camera: Perspective camera; primitives nearer than 10 mm are left out whole.
        segments: Pairs of vertices, drawn as thin lines.
        segment_width_mm: Width of the segments; where it is less than a sub-pixel, sub-pixels are left out at random in
            proportion.
        samples: Sub-pixels per pixel along one axis, odd.

    Returns:
        The z-buffer.
    """
    if samples % 2 == 0:
        raise ValueError(f"samples must be odd so that one sub-pixel is the pixel centre, not {samples}")
    pose = np.linalg.inv(camera.world_from_camera)
    local = vertices @ pose[:3, :3].T + pose[:3, 3]
    depth = local[:, 2]
    visible = depth > NEAREST_MM
    nearness = np.where(visible, 1.0 / np.where(visible, depth, 1.0), -1.0)
    pixels = (local @ camera.intrinsics.T)[:, :2] * nearness[:, None]
    screen = np.concatenate([pixels * samples, nearness[:, None]], axis=1)
    shape = (camera.height * samples, camera.width * samples)
    buffer = np.zeros(shape, np.float32)
    primitive = np.full(shape, EMPTY, np.int32)
    faces32 = np.ascontiguousarray(faces, np.int32)
    draw_triangles(screen, faces32, buffer, primitive)
    segments32 = np.zeros((0, 2), np.int32) if segments is None else np.ascontiguousarray(segments, np.int32)
    if len(segments32):
        width = np.full(len(segments32), 1.0) if segment_width_mm is None else segment_width_mm
        focal = float(camera.intrinsics[0, 0]) * samples
        draw_segments(screen, segments32, width.astype(np.float64) * focal, len(faces32), buffer, primitive)
    return Buffers(buffer, primitive, samples, screen, faces32, segments32)


def draw_depth(
    screen: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], height: int, width: int
) -> Float[np.ndarray, "h w"]:
    """Draws the nearness of the nearest triangle at every pixel centre, -inf where there is none.

    Args:
        screen: Column, row and nearness of every vertex (any units, larger is nearer).
        faces: Triangles.
        height: Rows of the map.
        width: Columns of the map.

    Returns:
        float32 map: a shadow map, when the "camera" is a lamp.
    """
    buffer = np.full((height, width), -np.inf, np.float32)
    draw_nearness(screen, faces, buffer)
    return buffer


def interpolate(
    fragments: Fragments,
    corners: Int[np.ndarray, "p k"],
    values: Float[np.ndarray, "v c"],
    first: int = 0,
) -> Float[np.ndarray, "n c"]:
    """Interpolates vertex attributes at fragments.

    Args:
        fragments: Fragments of one kind, triangles (k = 3) or segments (k = 2).
        corners: Vertex indices of the primitives.
        values: One row per vertex.
        first: Number of the first primitive of `corners`.

    Returns:
        float32 values.
    """
    return interpolate_values(
        fragments.primitive - first, fragments.weights, corners, values.astype(np.float32, copy=False)
    )


def sample(
    buffers: Buffers,
    rows: Int[np.ndarray, " h"],
    columns: Int[np.ndarray, " w"],
    values: Float[np.ndarray, "v c"],
) -> Float[np.ndarray, "h w c"]:
    """Interpolates vertex attributes at a grid of sub-pixels; zeros where nothing was drawn."""
    primitive = buffers.primitive[np.ix_(rows, columns)].ravel()
    where = (rows[:, None] * buffers.primitive.shape[1] + columns).ravel()
    out = np.zeros((len(where), values.shape[1]), np.float32)
    triangles = len(buffers.faces)
    for corners, first, chosen in (
        (buffers.faces, 0, (primitive >= 0) & (primitive < triangles)),
        (buffers.segments, triangles, primitive >= triangles),
    ):
        weights = barycentric_weights(
            where[chosen], primitive[chosen].astype(np.int64), buffers.screen, buffers.faces,
            buffers.segments, buffers.primitive.shape[1],
        )  # fmt: skip
        local = primitive[chosen].astype(np.int64) - first
        out[chosen] = interpolate_values(local, weights, corners, values.astype(np.float32, copy=False))
    return out.reshape(len(rows), len(columns), -1)


def splat(
    fragments: Fragments, values: Float[np.ndarray, "n c"], height: int, width: int
) -> Float[np.ndarray, "h w c"]:
    """Sums values weighted by coverage, per pixel."""
    image = np.zeros((height * width, values.shape[1]), np.float32)
    accumulate(fragments.pixel, fragments.coverage, values.astype(np.float32, copy=False), image)
    return image.reshape(height, width, -1)


def _block_mean(mask: Bool[np.ndarray, "rows columns"], samples: int) -> Float[np.ndarray, "h w"]:
    rows, columns = mask.shape
    blocks = mask.reshape(rows // samples, samples, columns // samples, samples)
    return blocks.mean(axis=(1, 3), dtype=np.float32)
