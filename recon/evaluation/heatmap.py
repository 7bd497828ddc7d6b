"""Heat maps of a reconstruction's errors: both meshes coloured by distance, with a scale in mm."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from recon.files import replacing, save_picture
from recon.geometry.drawing import draw, marked_bar, turned
from recon.geometry.surface import Surface

# from good to bad: lightness falls steadily, so that the map reads in grey and for the colour blind
_STOPS = np.array(
    [[0.96, 0.96, 0.86], [0.98, 0.80, 0.36], [0.93, 0.45, 0.15], [0.70, 0.11, 0.25], [0.22, 0.02, 0.25]]
)
_TILE = 420


def error_colours(errors_mm: Float[np.ndarray, "*any"], clip_mm: float) -> Float[np.ndarray, "*any 3"]:
    """Colours (sRGB in [0, 1]) of distances: pale at 0, dark at `clip_mm` and beyond."""
    position = np.clip(errors_mm / clip_mm, 0, 1) * (len(_STOPS) - 1)
    index = np.minimum(position.astype(np.int64), len(_STOPS) - 2)
    share = (position - index)[..., None]
    return _STOPS[index] * (1 - share) + _STOPS[index + 1] * share


def face_frame(
    vertices: Float[np.ndarray, "vertices 3"], landmarks: Mapping[str, int]
) -> Float[np.ndarray, "3 3"]:
    """Axes of a picture that looks at the face: rows right, down and away from the viewer, in the world.

    Args:
        vertices: Vertices of the ground truth, mm.
        landmarks: Vertex indices; with eyes and lips they give the frame. Without them it is the axes of the
            H3DS scenes whose face looks along -z with y down.
    """
    names = ("right_eye", "left_eye", "right_lips", "left_lips")
    if not all(name in landmarks for name in names):
        return np.eye(3)
    right_eye, left_eye, right_lips, left_lips = (vertices[landmarks[name]] for name in names)
    right = left_eye - right_eye  # the subject's left is on the right of the picture
    right = right / np.linalg.norm(right)
    down = (right_lips + left_lips - right_eye - left_eye) / 2
    down = down - right * (down @ right)
    down = down / np.linalg.norm(down)
    return np.stack([right, down, np.cross(right, down)])


def error_sheet(
    truth: trimesh.Trimesh,
    prediction: trimesh.Trimesh,
    landmarks: Mapping[str, int],
    path: Path,
    *,
    title: str,
    clip_mm: float = 5.0,
) -> None:
    """Writes a PNG: ground truth above, prediction below, from the front, the sides and the back; a scale.

    Colours are distances to the surface. The official protocol measures to the nearest vertex, which on a mesh with
    few of them would show how far they are apart.

    Args:
        truth: Ground truth, mm.
        prediction: Aligned prediction, mm.
        landmarks: Vertex indices of the ground truth by name.
        path: The picture's file; replaced in one step.
        title: Text above.
        clip_mm: Upper end of the scale.
    """
    vertices = np.asarray(truth.vertices, float)
    frame = face_frame(vertices, landmarks)
    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    radius = float(np.abs((vertices - middle) @ frame.T).max()) * 1.03
    rows = []
    for mesh, other in ((truth, prediction), (prediction, truth)):
        errors = Surface(other).closest(np.asarray(mesh.vertices, float)).distances
        colours = error_colours(errors, clip_mm)
        tiles = [
            draw(mesh, colours, turned(frame, angle), middle, radius, _TILE)
            for angle in (0.0, -60.0, 60.0, 180.0)
        ]
        rows.append(np.concatenate(tiles, axis=1))
    sheet = Image.fromarray(np.rint(np.concatenate(rows) * 255).astype(np.uint8))
    page = Image.new("RGB", (sheet.width + 110, sheet.height + 70), "white")
    page.paste(sheet, (0, 40))
    page.paste(scale_bar(sheet.height - 60, clip_mm), (sheet.width + 10, 70))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(16)
    pen.text((10, 10), title, fill="black", font=font)
    for row, label in enumerate(
        ("ground truth: distance to the prediction", "prediction: distance to the ground truth")
    ):
        pen.text((10, 46 + row * _TILE), label, fill="black", font=font)
    caption = f"Colours: distance to the other surface in mm after the alignment; {clip_mm:g} mm and more are darkest."
    pen.text((10, page.height - 26), caption, fill="black", font=font)
    with replacing(path) as temporary:
        save_picture(page, temporary)


def scale_bar(height: int, clip_mm: float) -> Image.Image:
    """The legend of `error_colours`: a bar with marks in mm."""
    return marked_bar(height, clip_mm, lambda values: error_colours(values, clip_mm))
