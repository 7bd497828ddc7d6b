"""A contact sheet of a scene's views, to judge masks and cameras by eye."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw

from recon.geometry.drawing import hatched_page
from recon.scene.camera import Camera
from recon.scene.scene import Scene
from recon.scene.view import View

MASK_COLOUR = (255, 64, 200)
IGNORED_COLOUR = (255, 200, 0)
SPHERE_COLOUR = (64, 220, 255)
HATCH_PX = 9


def contact_sheet(scene: Scene, view_ids: Sequence[int], tile: int = 256, columns: int = 6) -> Image.Image:
    """A sheet of photographs with the outlines of mask (pink) and unit sphere (blue).

    The background is darkened, and ignored pixels are tinted yellow and hatched.

    Args:
        scene: The scene.
        view_ids: Views to show, in this order.
        tile: Side of a tile in pixels.
        columns: Tiles per row.

    Raises:
        SceneError: A view cannot be read.
    """
    columns = min(columns, len(view_ids))
    rows = -(-len(view_ids) // columns)
    sheet = Image.new("RGB", (columns * tile, rows * tile))
    for number, index in enumerate(view_ids):
        picture = _tile(scene, scene.views[index], tile)
        sheet.paste(picture, ((number % columns) * tile, (number // columns) * tile))
    return sheet


def _tile(scene: Scene, view: View, tile: int) -> Image.Image:
    """One view, fitted into a square."""
    image, mask = view.image(), view.mask()
    scale = tile / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    photograph = Image.fromarray((image * 255).astype(np.uint8)).resize(size, Image.Resampling.BOX)
    small, unknown = (
        np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST))
        for pixels in (mask, view.ignored())
    )
    pixels = np.asarray(photograph).copy()
    pixels[~small] = pixels[~small] // 2
    pixels[_outline(small)] = MASK_COLOUR
    pixels[unknown] = pixels[unknown] // 2 + np.array(IGNORED_COLOUR, dtype=np.uint8) // 2
    picture = Image.new("RGB", (tile, tile))
    picture.paste(hatched_page(Image.fromarray(pixels), unknown, HATCH_PX), (0, 0))
    draw = ImageDraw.Draw(picture)
    camera = view.camera.transformed(scene.unit_from_world).resized_to(*size)
    draw.line([tuple(point) for point in _sphere_outline(camera)], fill=SPHERE_COLOUR, width=1)
    draw.text(
        (4, 4), f"{view.index}: {view.name}", fill=(255, 255, 255), stroke_width=1, stroke_fill=(0, 0, 0)
    )
    return picture


def _outline(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Mask pixels with a neighbour outside."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _sphere_outline(camera: Camera, count: int = 96) -> Float[np.ndarray, "points 2"]:
    """Pixels of the circle on which the unit sphere's tangent cone from the camera touches it."""
    distance = float(np.linalg.norm(camera.centre))
    towards = camera.centre / distance
    side = np.cross(towards, np.eye(3)[int(np.abs(towards).argmin())])
    side /= np.linalg.norm(side)
    other = np.cross(towards, side)
    # The touching circle lies at 1/d from the centre, on the camera's side.
    height = 1 / max(distance, 1.0)
    radius = np.sqrt(1 - height**2)
    angle = np.linspace(0, 2 * np.pi, count)[:, None]
    circle = height * towards + radius * (np.cos(angle) * side + np.sin(angle) * other)
    return camera.project(circle)[0]
