"""Pictures of a run: photo | render | normals | error."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from recon.files import replacing, save_picture
from recon.rendering import CameraBundle, SurfaceBounds, render_view
from recon.rendering.surface import Colour
from recon.scene import View
from recon.systems.reconstruction import Reconstruction

ERROR_FULL_SCALE = 0.25  # mean absolute colour difference that is drawn brightest


@dataclass(frozen=True)
class Comparison:
    """A photograph and what the field shows instead, at the same resolution.

    Attributes:
        photo: sRGB in [0, 1].
        mask: of the photograph.
        render: sRGB in [0, 1], white where nothing is hit.
        hit: where the surface is.
        normal: unit normals in camera coordinates.
        counted: pixels that are compared; what is ignored is grey in the picture of errors.
    """

    photo: Float[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"]
    render: Float[np.ndarray, "h w 3"]
    hit: Bool[np.ndarray, "h w"]
    normal: Float[np.ndarray, "h w 3"]
    counted: Bool[np.ndarray, "h w"]

    def sheet(self) -> Float[np.ndarray, "h w4 3"]:
        """The four pictures side by side. Normals: x right red, y up green, towards the camera blue. Error:
        black to yellow inside the masks; where only the photograph's mask has the head cyan, where only the
        render has it magenta.
        """
        towards = self.normal * np.array([1.0, -1.0, -1.0])
        normals = np.where(self.hit[..., None], towards / 2 + 0.5, 1.0)
        level = np.clip(np.abs(self.render - self.photo).mean(-1) / ERROR_FULL_SCALE, 0, 1)[..., None]
        error = np.clip(np.concatenate([level * 2, level * 2 - 0.7, level * 0.2], axis=-1), 0, 1)
        error[~self.mask & ~self.hit] = 1.0
        error[self.mask & ~self.hit] = (0.0, 0.8, 0.9)
        error[~self.mask & self.hit] = (0.9, 0.0, 0.8)
        error[~self.counted] = 0.7
        return np.concatenate([self.photo, self.render, normals, error], axis=1)


def compare(
    system: Reconstruction,
    cameras: CameraBundle,
    index: int,
    view: View,
    *,
    step: int,
    bounds: SurfaceBounds | None = None,
    colour: Colour | None = None,
) -> Comparison:
    """Render a view as its photograph was taken, every `step`-th pixel.

    Args:
        system: the field and its colours.
        cameras: bundle that holds the view's camera.
        index: its place in the bundle.
        view: photograph and mask.
        step: the photograph is averaged over blocks of this many pixels squared; the mask by majority.
        bounds: where the surface can be; without it the rays are searched from end to end.
        colour: what gives the colours; None for the system's rendering network.
    """
    camera = view.camera
    rendered = render_view(
        system.sdf,
        colour or system.colour,
        cameras,
        index,
        camera.width,
        camera.height,
        step=step,
        settings=system.tracing,
        bounds=bounds,
    )
    mask = _blocks(view.mask()[..., None].astype(np.float64), step)[..., 0] > 0.5
    render, hit, normal = (
        t.cpu().numpy() for t in (rendered.colour.double(), rendered.mask, rendered.normal.double())
    )
    counted = _blocks(view.ignored()[..., None].astype(np.float64), step)[..., 0] == 0
    return Comparison(_blocks(view.image().astype(np.float64), step), mask, render, hit, normal, counted)


def _blocks(image: Float[np.ndarray, "h w c"], step: int) -> Float[np.ndarray, "rows columns c"]:
    rows, columns = image.shape[0] // step, image.shape[1] // step
    cut = image[: rows * step, : columns * step]
    return cut.reshape(rows, step, columns, step, -1).mean((1, 3))


def write_png(path: Path, image: Float[np.ndarray, "h w 3"]) -> None:
    """Write sRGB in [0, 1] as an 8-bit PNG."""
    with replacing(path) as temporary:
        save_picture(Image.fromarray((np.clip(image, 0, 1) * 255).round().astype(np.uint8)), temporary)
