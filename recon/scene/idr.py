"""Reader of the IDR / DTU layout: `cameras.npz`, a folder of images, a folder of masks, names of any pattern.

Files are paired by the rule of `recon.scene.pairing`.
"""

from __future__ import annotations

from pathlib import Path

from recon.scene.cameras_npz import CAMERA_FILE, IMAGE_FOLDERS, CameraFile, views_of
from recon.scene.scene import Scene

PIXEL_CENTRE = 0.0


class IDRReader:
    """The reader of the layout of IDR, NeuS and their DTU scans."""

    name = "IDR, DTU"
    looked_for = (CAMERA_FILE, "image*/")

    def matches(self, folder: Path) -> bool:
        """Whether a folder has cameras and a folder of images."""
        return (folder / CAMERA_FILE).is_file() and any((folder / name).is_dir() for name in IMAGE_FOLDERS)

    def read(self, folder: Path, *, pixel_centre: float | None = None) -> Scene:
        """Read one scene; images and masks are opened when they are asked for.

        Args:
            folder: The scene's folder.
            pixel_centre: Coordinate of the centre of the first pixel in its cameras; None for 0, since the published
                IDR code shoots rays through integer coordinates.

        Raises:
            SceneError: Images or cameras are missing, or it is open which files belong together.
        """
        centre = PIXEL_CENTRE if pixel_centre is None else pixel_centre
        cameras = CameraFile(folder / CAMERA_FILE)
        views = views_of(folder, cameras, centre)
        return Scene(folder.name, folder, views, cameras.scale_mat(), camera_source=cameras.source)
