"""The check sheet: what calibration found, drawn over every photograph, and the cameras from above."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw, ImageFont

from recon.calibration.observing import ObservedPhotograph
from recon.files import replacing, save_picture
from recon.geometry.drawing import hatched_page
from recon.geometry.outlines import mask_outlines
from recon.scene import Camera

MASK_COLOUR, HEAD_COLOUR, LANDMARK_COLOUR = (0, 215, 255), (255, 95, 0), (120, 255, 90)
TILE, COLUMNS = 480, 3
HATCH_PX = 9
LEGEND = (
    (LANDMARK_COLOUR, "landmarks"),
    (MASK_COLOUR, "outline of the mask"),
    (HEAD_COLOUR, "fitted head, cameras"),
    (None, "ignored: the head is a guess there"),
)
"""Colours and what they mean; None is hatching."""


def write_check_sheet(
    path: Path,
    photographs: Sequence[ObservedPhotograph],
    cameras: Sequence[Camera],
    mesh: trimesh.Trimesh,
    heads: Sequence[Bool[np.ndarray, "_ _"]],
    lines: Sequence[str],
) -> None:
    """Writes a PNG with a tile for each photograph (landmarks green, mask blue, fitted head orange, what is ignored
    hatched) and one of the cameras from above, with a legend and text below.

    Args:
        path: Of the picture.
        photographs: Those of the scene.
        cameras: Of them, canonical mm.
        mesh: The fitted head, canonical mm.
        heads: Where each camera sees it.
        lines: Of text.
    """
    tiles = [_photograph(photograph, head) for photograph, head in zip(photographs, heads, strict=True)]
    tiles.append(_from_above(cameras, mesh))
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    wrapped = [part for line in lines for part in textwrap.wrap(line, columns * TILE // 9)]
    legend = _legend(columns * TILE)
    sheet = Image.new("RGB", (columns * TILE, rows * TILE + 22 * (len(wrapped) + len(legend)) + 16), "white")
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % columns * TILE, number // columns * TILE))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for number, entries in enumerate(legend):
        for x, colour, label in entries:
            y = rows * TILE + 8 + 22 * number
            sheet.paste(_swatch(colour), (x, y + 2))
            pen.text((x + 36, y), label, fill="black", font=font)
    for number, line in enumerate(wrapped, len(legend)):
        pen.text((10, rows * TILE + 8 + 22 * number), line, fill="black", font=font)
    with replacing(path) as temporary:
        save_picture(sheet, temporary)


def _legend(width: int) -> list[list[tuple[int, tuple[int, int, int] | None, str]]]:
    """Lines of the legend: place from the left, colour and label of each entry."""
    font, x = ImageFont.load_default(15), 10
    lines: list[list[tuple[int, tuple[int, int, int] | None, str]]] = [[]]
    for colour, label in LEGEND:
        wide = 36 + round(font.getlength(label)) + 24
        if lines[-1] and x + wide > width:
            lines.append([])
            x = 10
        lines[-1].append((x, colour, label))
        x += wide
    return lines


def _swatch(colour: tuple[int, int, int] | None) -> Image.Image:
    """A sample of a line's colour, or of hatching."""
    if colour is None:
        return hatched_page(Image.new("RGB", (28, 14), (150, 150, 150)), np.ones((14, 28), bool), HATCH_PX)
    sample = Image.new("RGB", (28, 14), "white")
    ImageDraw.Draw(sample).line((0, 7, 28, 7), fill=colour, width=4)
    return sample


def _photograph(photograph: ObservedPhotograph, head: Bool[np.ndarray, "height width"]) -> Image.Image:
    width, height = photograph.size
    scale = TILE / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    pixels = np.rint(np.clip(photograph.image, 0, 1) * 255).astype(np.uint8)
    page = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)
    if photograph.ignored is not None:
        page = hatched_page(page, photograph.ignored, HATCH_PX)
    pen = ImageDraw.Draw(page)
    for shown, colour, wide in (
        (photograph.mask, MASK_COLOUR, 3),
        (head, HEAD_COLOUR, 1),
    ):
        for curve in mask_outlines(shown):
            pen.line([tuple(point) for point in (curve * scale).tolist()], fill=colour, width=wide)
    if photograph.landmarks is not None:
        for x, y in photograph.landmarks.points * scale:
            pen.point((x, y), fill=LANDMARK_COLOUR)
    tile = Image.new("RGB", (TILE, TILE), "black")
    tile.paste(page, (0, 0))
    ImageDraw.Draw(tile).text((6, TILE - 22), photograph.name, fill="white", font=ImageFont.load_default(15))
    return tile


def _from_above(cameras: Sequence[Camera], mesh: trimesh.Trimesh) -> Image.Image:
    """Head and cameras from above, the face downwards."""
    tile = Image.new("RGB", (TILE, TILE), "white")
    pen, font = ImageDraw.Draw(tile), ImageFont.load_default(13)
    places = np.stack([camera.centre for camera in cameras])
    reach = 1.15 * max(float(np.abs(places[:, [0, 2]]).max()), 300.0)

    def at(points: Float[np.ndarray, "points 3"]) -> list[tuple[float, float]]:
        flat = points[:, [0, 2]] / reach * TILE / 2 + TILE / 2
        return [(float(x), float(y)) for x, y in flat]

    for x, y in at(np.asarray(mesh.vertices)[::7]):
        pen.point((x, y), fill=(190, 190, 190))
    for number, camera in enumerate(cameras):
        ahead = camera.centre + 0.25 * reach * camera.world_from_camera[:3, 2]
        (x, y), end = at(np.stack([camera.centre, ahead]))
        pen.line([(x, y), end], fill=HEAD_COLOUR, width=2)
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=HEAD_COLOUR)
        pen.text((x + 7, y - 7), f"{number}: {np.linalg.norm(camera.centre):.0f} mm", fill="black", font=font)
    return tile
