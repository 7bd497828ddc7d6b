"""Comparison sheets: a row for each subject, with its photograph, its truth, and every method's head and errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from recon.evaluation.heatmap import error_colours, face_frame, scale_bar
from recon.files import replacing, save_picture
from recon.geometry.drawing import draw, turned

_ANGLE_DEG = -30.0
_TILE = 300
_MARGIN = 26
_CLAY = np.array([0.80, 0.78, 0.76])


@dataclass(frozen=True, eq=False)
class Result:
    """The reconstruction of a subject by one method.

    Attributes:
        mesh: Mesh aligned to the truth, mm.
        truth_errors_mm: Distance of each vertex of the truth to it.
        caption: Text under its tiles.
    """

    mesh: trimesh.Trimesh
    truth_errors_mm: Float[np.ndarray, " truth_vertices"]
    caption: str


@dataclass(frozen=True, eq=False)
class Subject:
    """The subject of one row.

    Attributes:
        name: Text under the photograph.
        photograph: sRGB in [0, 1].
        truth: Ground truth, mm.
        landmarks: Vertex indices of the truth by name, which say where the face looks.
    """

    name: str
    photograph: Float[np.ndarray, "h w 3"]
    truth: trimesh.Trimesh
    landmarks: Mapping[str, int]


Row = UInt8[np.ndarray, "height width 3"]


def draw_row(
    subject: Subject, results: Mapping[str, Result | None], methods: Sequence[str], clip_mm: float
) -> Row:
    """Draws a subject's tiles: photograph, truth, the methods' heads, the truth in the colours of their errors.

    Args:
        subject: The subject.
        results: Reconstructions by method; None or nothing leaves the tile white.
        methods: Columns.
        clip_mm: Upper end of the colour scale.
    """
    vertices = np.asarray(subject.truth.vertices, float)
    frame = face_frame(vertices, subject.landmarks)
    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    radius = float(np.abs((vertices - middle) @ frame.T)[:, :2].max()) * 1.03
    frame = turned(frame, _ANGLE_DEG)

    def head(mesh: trimesh.Trimesh, colours: Float[np.ndarray, "vertices 3"]) -> Image.Image:
        picture = draw(mesh, colours, frame, middle, radius, _TILE)
        return Image.fromarray(np.rint(picture * 255).astype(np.uint8))

    def clay(mesh: trimesh.Trimesh) -> Image.Image:
        return head(mesh, np.tile(_CLAY, (len(mesh.vertices), 1)))

    photograph = Image.fromarray(np.rint(subject.photograph * 255).astype(np.uint8))
    photograph.thumbnail((_TILE, _TILE))
    tiles: list[tuple[Image.Image | None, str]] = [(photograph, subject.name), (clay(subject.truth), "")]
    shown = [results.get(method) for method in methods]
    tiles += [(clay(r.mesh), "") if r else (None, "no result") for r in shown]
    tiles += [
        (head(subject.truth, error_colours(r.truth_errors_mm, clip_mm)), r.caption) if r else (None, "")
        for r in shown
    ]
    row = Image.new("RGB", (_TILE * len(tiles), _TILE + _MARGIN), "white")
    pen, font = ImageDraw.Draw(row), ImageFont.load_default(14)
    for column, (tile, caption) in enumerate(tiles):
        if tile is not None:
            row.paste(tile, (column * _TILE + (_TILE - tile.width) // 2, (_TILE - tile.height) // 2))
        pen.text((column * _TILE + 8, _TILE + 4), caption, fill="black", font=font)
    return np.asarray(row)


def write_grid(
    path: Path, rows: Sequence[Row], methods: Sequence[str], *, title: str, clip_mm: float
) -> None:
    """Writes the rows under one another as a PNG, with headings and the scale of the errors.

    Args:
        path: The picture's file; replaced in one step.
        rows: Rows as `draw_row` gives them.
        methods: Columns, as in the rows.
        title: Text above.
        clip_mm: Upper end of the colour scale.
    """
    body = Image.fromarray(np.concatenate(rows))
    top = 2 * _MARGIN + 8
    page = Image.new("RGB", (body.width + 110, body.height + top), "white")
    page.paste(body, (0, top))
    page.paste(scale_bar(_TILE - 40, clip_mm), (body.width + 10, top + 10))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(16)
    pen.text((8, 6), title, fill="black", font=font)
    headings = [
        "one of the photographs",
        "ground truth",
        *methods,
        *(f"{method}: error" for method in methods),
    ]
    for column, heading in enumerate(headings):
        pen.text((column * _TILE + 8, _MARGIN + 6), heading, fill="black", font=font)
    with replacing(path) as temporary:
        save_picture(page, temporary)
