"""Pictures that say how far a reconstruction can be trusted: outlines over photographs, and uncertainty."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from recon.evaluation.heatmap import error_colours
from recon.files import replacing, save_picture
from recon.geometry.drawing import (
    OrthographicView,
    above,
    hatched,
    hatched_page,
    marked_bar,
    orthographic_view,
    turned,
)
from recon.geometry.outlines import mask_outlines
from recon.threads import mapped

MASK_COLOUR = (0, 215, 255)
FIT_COLOUR = (255, 95, 0)
_LONG_SIDE = 1024  # of the photograph in an overlay, pixels
_BAND = 56
_FINE = 2  # lines are drawn so many times as large and averaged

_CLAY = np.array([0.80, 0.78, 0.76])
_UNSEEN = np.array([0.62, 0.67, 0.75])
_HATCH_PX = 12  # from stripe to stripe, in sub-pixels
_TILE = 320
_SIDES = (("front", 0.0), ("left side", 90.0), ("back", 180.0), ("right side", -90.0))
_SCALES_MM = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


def write_overlay(
    path: Path,
    photograph: Float[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
    silhouette: Bool[np.ndarray, "h w"],
    lines: Sequence[str],
    ignored: Bool[np.ndarray, "h w"] | None = None,
) -> None:
    """Writes a photograph with the outlines of its mask (blue) and of the fitted surface (orange); what is ignored is
    hatched.

    Args:
        path: Of the PNG; replaced in one step.
        photograph: sRGB in [0, 1].
        mask: Of the photograph.
        silhouette: Of the fitted surface, as the same camera sees it.
        lines: Two lines of text for the band below.
        ignored: Pixels that say nothing of the head.
    """
    height, width = mask.shape
    scale = _LONG_SIDE / max(height, width)
    size = (round(width * scale), round(height * scale))
    page = Image.fromarray(np.rint(np.clip(photograph, 0, 1) * 255).astype(np.uint8))
    page = page.resize(size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX)
    ignores = ignored is not None and bool(ignored.any())
    if ignored is not None and ignores:
        page = hatched_page(page, ignored, _HATCH_PX)
    # The mask's line is wider and lies below: where both agree, its rims show on either side.
    for shown, colour, wide in ((mask, MASK_COLOUR, 3.5), (silhouette, FIT_COLOUR, 1.5)):
        stencil = Image.new("L", (size[0] * _FINE, size[1] * _FINE))
        pen = ImageDraw.Draw(stencil)
        for curve in mask_outlines(shown):
            points = [tuple(point) for point in (curve * scale * _FINE).tolist()]
            pen.line(points, fill=255, width=round(wide * _FINE), joint="curve")
        page.paste(colour, (0, 0), stencil.resize(size, Image.Resampling.BOX))
    _save(path, _with_band(page, lines, ignores))


def _with_band(page: Image.Image, lines: Sequence[str], ignores: bool) -> Image.Image:
    """The page with a legend and text below."""
    result = Image.new("RGB", (page.width, page.height + _BAND), "white")
    result.paste(page, (0, 0))
    pen, font = ImageDraw.Draw(result), ImageFont.load_default(17)
    x, first, second = 12, page.height + 5, page.height + 30
    for colour, label in (
        (MASK_COLOUR, "outline of the mask"),
        (FIT_COLOUR, "of the fitted surface"),
    ):
        pen.line((x, first + 11, x + 34, first + 11), fill=colour, width=4)
        pen.text((x + 42, first), label, fill="black", font=font)
        x += 42 + round(pen.textlength(label, font=font)) + 28
    if ignores:
        swatch = Image.new("RGB", (34, 16), (150, 150, 150))
        result.paste(hatched_page(swatch, np.ones((16, 34), bool), _HATCH_PX), (x, first + 3))
        pen.text((x + 42, first), "ignored: a guess", fill="black", font=font)
        x += 42 + round(pen.textlength("ignored: a guess", font=font)) + 28
    for text, at in zip(lines, ((x, first), (12, second)), strict=False):
        pen.text(at, text, fill="black", font=font)
    return result


def write_uncertainty(
    path: Path,
    mesh: trimesh.Trimesh,
    normals: Float[np.ndarray, "vertices 3"],
    seen: UInt8[np.ndarray, " vertices"],
    std_mm: Float[np.ndarray, " vertices"] | None,
    frame: Float[np.ndarray, "3 3"],
) -> None:
    """Writes the mesh from four sides and from above: coloured by standard deviation, and plain.

    Hatching marks what no input photograph shows, but for pixels that are ignored. Without a standard deviation the
    first row shows only that.

    Args:
        path: Of the PNG; replaced in one step.
        mesh: World mm.
        normals: Of its vertices.
        seen: Number of input photographs that show each vertex in a pixel that counts.
        std_mm: Standard deviation along the normal.
        frame: Rows right, down and away of a viewer who looks at the face, in the world.
    """
    high = 1.0 if std_mm is None else _scale(std_mm)
    vertices = np.asarray(mesh.vertices, float)
    across = vertices @ frame.T
    middle = (across.min(axis=0) + across.max(axis=0)) / 2 @ frame
    radius = float(np.abs(across - frame @ middle).max()) * 1.03
    frames = [(name, turned(frame, angle)) for name, angle in _SIDES] + [("above", above(frame))]

    def column(axes: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "h w 3"]:
        view = orthographic_view(mesh, normals, axes, middle, radius, _TILE, closed=True)
        colour = np.tile(_CLAY, (len(view.light), 1))
        unseen = view.at_hits((seen == 0).astype(float)) > 0.5
        if std_mm is None:
            measured = np.where(unseen[:, None], _UNSEEN, colour)
        else:
            measured = error_colours(view.at_hits(std_mm), high)
        return np.concatenate([view.picture(_hatched(view, measured, unseen)), view.picture(colour)])

    columns = list(mapped(column, [axes for _, axes in frames]))
    sheet = Image.fromarray(np.rint(np.concatenate(columns, axis=1) * 255).astype(np.uint8))
    bar = 0 if std_mm is None else 110
    page = Image.new("RGB", (sheet.width + bar, sheet.height + 66), "white")
    page.paste(sheet, (0, 66))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(17)
    hatching = "Hatched: in no input photograph, or ignored there: a guess."
    if std_mm is None:
        title = f"{hatching}   This method does not know its standard deviation."
    else:
        page.paste(marked_bar(_TILE - 40, high, lambda mm: error_colours(mm, high)), (sheet.width + 8, 76))
        title = f"Colour: standard deviation of the surface.   {hatching}"
    pen.text((12, 8), title, fill="black", font=font)
    for index, (name, _) in enumerate(frames):
        pen.text((index * _TILE + _TILE // 2, 38), name, fill=(90, 90, 90), font=font, anchor="ma")
    _save(path, page)


def _hatched(
    view: OrthographicView, colours: Float[np.ndarray, "hits 3"], unseen: Bool[np.ndarray, " hits"]
) -> Float[np.ndarray, "hits 3"]:
    """Colours of hits with stripes over what is unseen."""
    rows, columns = np.nonzero(view.hit)
    return hatched(colours, unseen, rows, columns, _HATCH_PX)


def _scale(std_mm: Float[np.ndarray, " vertices"]) -> float:
    """Upper end of the colour scale: the first round number that holds 95 % of the surface."""
    most = float(np.percentile(std_mm, 95))
    return next((scale for scale in _SCALES_MM if scale >= most), _SCALES_MM[-1])


def _save(path: Path, page: Image.Image) -> None:
    with replacing(path) as temporary:
        save_picture(page, temporary, compress_level=4)
