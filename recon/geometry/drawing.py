"""Orthographic pictures of meshes under a light at the viewer, for heat maps, comparison sheets and overlays."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from PIL import Image, ImageDraw, ImageFont

from recon.geometry.raster import rasterise

_BACKGROUND = 1.0
_DARK, _PALE = np.array([0.20, 0.26, 0.36]), np.array([0.92, 0.94, 1.0])  # of stripes
_SAMPLES = 2  # a picture is drawn so many times as large and averaged


@dataclass(frozen=True, eq=False)
class OrthographicView:
    """The visible surface of a mesh from one side, to be coloured as often as wanted; everything is per sub-pixel.

    Attributes:
        hit: Where the mesh is.
        corners: Vertices of the triangle in front, for each hit.
        weights: Barycentric coordinates within it.
        light: Brightness.
    """

    hit: Bool[np.ndarray, "rows columns"]
    corners: Int[np.ndarray, "hits 3"]
    weights: Float[np.ndarray, "hits 3"]
    light: Float[np.ndarray, " hits"]

    def at_hits(self, values: Float[np.ndarray, "vertices ..."]) -> Float[np.ndarray, "hits ..."]:
        """Vertex values interpolated at the hits."""
        return np.einsum("pk,pk...->p...", self.weights, values[self.corners])

    def picture(self, colours: Float[np.ndarray, "hits 3"]) -> Float[np.ndarray, "h w 3"]:
        """The mesh in these colours (sRGB in [0, 1]), lit, on white."""
        large = np.full((*self.hit.shape, 3), _BACKGROUND)
        large[self.hit] = colours * self.light[:, None]
        rows, columns = (side // _SAMPLES for side in self.hit.shape)
        return large.reshape(rows, _SAMPLES, columns, _SAMPLES, 3).mean(axis=(1, 3))


def orthographic_view(
    mesh: trimesh.Trimesh,
    normals: Float[np.ndarray, "vertices 3"],
    frame: Float[np.ndarray, "3 3"],
    centre: Float[np.ndarray, "3"],
    radius_mm: float,
    size: int,
    *,
    closed: bool = False,
) -> OrthographicView:
    """Renders the visible surface of a mesh from one side.

    Args:
        mesh: The mesh, mm.
        normals: Unit vectors, one per vertex.
        frame: Rows right, down and away from the viewer.
        centre: What is in the middle, mm.
        radius_mm: Half the height of the picture.
        size: Height and width of the picture, pixels.
        closed: Whether the mesh has an inside, so that triangles that face away need not be drawn.
    """
    pixels = _SAMPLES * size
    faces = np.asarray(mesh.faces)
    if closed:
        front = normals @ frame[2] < 0
        a, b, c = faces.T
        faces = faces[front[a] | front[b] | front[c]]
    points = (np.asarray(mesh.vertices, float) - centre) @ frame.T
    points[:, :2] = (points[:, :2] / radius_mm + 1) * pixels / 2
    drawn = rasterise(points, faces, pixels, pixels)
    hit = drawn.face >= 0
    corners, weights = faces[drawn.face[hit]], drawn.weights[hit]
    facing = np.abs(np.einsum("pk,pk->p", weights, (normals @ frame[2])[corners]))
    return OrthographicView(hit, corners, weights, 0.35 + 0.65 * np.clip(facing, 0, 1))


def draw(
    mesh: trimesh.Trimesh,
    colours: Float[np.ndarray, "vertices 3"],
    frame: Float[np.ndarray, "3 3"],
    centre: Float[np.ndarray, "3"],
    radius_mm: float,
    size: int,
) -> Float[np.ndarray, "size size 3"]:
    """Draws a mesh with coloured vertices; arguments as for `orthographic_view`."""
    vertices, faces = np.asarray(mesh.vertices, float), np.asarray(mesh.faces)
    seen = orthographic_view(mesh, vertex_normals(vertices, faces), frame, centre, radius_mm, size)
    return seen.picture(seen.at_hits(colours))


def turned(frame: Float[np.ndarray, "3 3"], degrees: float) -> Float[np.ndarray, "3 3"]:
    """The frame of a viewer who has walked round the head, about the vertical; 90 is the subject's left."""
    angle = np.radians(degrees)
    right, down, away = frame
    return np.stack(
        [np.cos(angle) * right + np.sin(angle) * away, down, np.cos(angle) * away - np.sin(angle) * right]
    )


def above(frame: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """The frame of a viewer who looks down on the head, the face at the bottom of the picture."""
    right, down, away = frame
    return np.stack([right, -away, down])


def vertex_normals(
    vertices: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"]
) -> Float[np.ndarray, "vertices 3"]:
    """Area-weighted unit vertex normals.

    Rounded differently from `recon.geometry.tidy.vertex_normals`, which sums in another order.
    """
    a, b, c = vertices[faces].transpose(1, 0, 2)
    cross = np.cross(b - a, c - a)
    normals = np.stack(
        [sum(np.bincount(faces[:, k], cross[:, axis], len(vertices)) for k in range(3)) for axis in range(3)],
        axis=1,
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)


def marked_bar(
    height: int,
    high_mm: float,
    colours: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, "n 3"]],
) -> Image.Image:
    """A colour scale: a bar from 0 to `high_mm`, with marks."""
    values = np.linspace(high_mm, 0, height)
    bar = np.repeat(np.rint(colours(values) * 255).astype(np.uint8)[:, None], 24, axis=1)
    image = Image.new("RGB", (100, height + 20), "white")
    image.paste(Image.fromarray(bar), (0, 10))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = 10 + round((1 - share) * (height - 1))
        pen.line((24, y, 29, y), fill="black")
        text = f"{'+' if share == 1 else ''}{share * high_mm:g}{' mm' if share in (0, 1) else ''}"
        pen.text((33, y - 9), text, fill="black", font=font)
    return image


def hatched(
    colours: Float[np.ndarray, "pixels 3"],
    marked: Bool[np.ndarray, " pixels"],
    rows: Int[np.ndarray, " pixels"],
    columns: Int[np.ndarray, " pixels"],
    spacing_px: int,
) -> Float[np.ndarray, "pixels 3"]:
    """Colours with diagonal stripes over marked pixels: dark on pale colours, pale on dark ones.

    Args:
        colours: In [0, 1].
        marked: Which pixels are hatched.
        rows: Of the pixels.
        columns: Of the pixels.
        spacing_px: From stripe to stripe, along rows and columns.
    """
    stripe = marked & ((rows + columns) % spacing_px < spacing_px // 3)
    pale = colours.mean(axis=1, keepdims=True) > 0.45
    return np.where(stripe[:, None], 0.35 * colours + 0.65 * np.where(pale, _DARK, _PALE), colours)


def hatched_page(page: Image.Image, marked: Bool[np.ndarray, "height width"], spacing_px: int) -> Image.Image:
    """A picture with diagonal stripes where a mask of another size, but of the same proportions, is set."""
    small = np.asarray(Image.fromarray(marked).resize(page.size, Image.Resampling.NEAREST))
    rows, columns = np.nonzero(small)
    pixels = np.asarray(page).copy()
    colours = pixels[rows, columns] / 255.0
    every = np.ones(len(rows), bool)
    pixels[rows, columns] = np.rint(hatched(colours, every, rows, columns, spacing_px) * 255)
    return Image.fromarray(pixels)
