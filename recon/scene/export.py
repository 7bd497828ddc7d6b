"""Writers of scenes in other programs' layouts: IDR / NeuS, COLMAP text models, nerfstudio.

What differs between them: where the centre of the first pixel lies (IDR, NeuS: 0; COLMAP, nerfstudio: 0.5),
which way cameras look (nerfstudio: OpenGL axes, y up and z backward), and how poses are stored (IDR:
projection matrices; COLMAP: camera_from_world as a quaternion; nerfstudio: world_from_camera).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image
from scipy.spatial.transform import Rotation

from recon.errors import SceneError
from recon.files import save_picture
from recon.scene.annotations import IGNORE_FOLDER, LANDMARKS_FOLDER, write_pixels
from recon.scene.camera import Camera
from recon.scene.cameras_npz import CAMERA_FILE, IMAGE_FOLDERS, MASK_FOLDERS
from recon.scene.h3ds.writer import move_in_place, write_npz
from recon.scene.images import to_uint8
from recon.scene.scene import Scene
from recon.scene.view import View

# COLMAP and nerfstudio know no skew; this much of a shift at the picture's edge may be dropped.
SKEW_PX = 0.1
_OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


def export_idr(scene: Scene, folder: Path | str, views: Sequence[int] | None = None) -> Path:
    """Write the IDR / NeuS layout: `cameras.npz`, `image/000.png`, `mask/000.png`.

    Views with ignored pixels or landmarks get `ignore/000.png` and `landmarks/000.json` too, which this package reads
    and the published code passes over. The cameras are in `cameras_sphere.npz` too, which is where NeuS looks. World
    stays mm; `scale_mat_<i>` is the scene's for every view. Pixel centres are at integers, as that code shoots its
    rays.

    Args:
        scene: The scene.
        folder: New or empty folder.
        views: View indices, exported under the numbers 0, 1, … in this order; None for all that are available.

    Returns:
        The folder.

    Raises:
        SceneError: The folder is in use or a view cannot be read.
    """

    def fill(work: Path, chosen: list[View]) -> None:
        arrays: dict[str, np.ndarray] = {}
        for number, view in enumerate(chosen):
            image = work / IMAGE_FOLDERS[0] / f"{number:03d}.png"
            image.parent.mkdir(exist_ok=True)
            save_picture(Image.fromarray(to_uint8(view.image(), str(view.image_path))), image)
            _write_mask(view.mask(), work / MASK_FOLDERS[0] / image.name)
            if (ignored := view.ignored()).any():
                _write_mask(ignored, work / IGNORE_FOLDER / image.name)
            if landmarks := view.landmarks():
                write_pixels(landmarks, work / LANDMARKS_FOLDER / f"{image.stem}.json")
            world = np.vstack([view.camera.projection_for(0.0), [0.0, 0.0, 0.0, 1.0]])
            arrays[f"world_mat_{number}"] = world
            arrays[f"scale_mat_{number}"] = np.asarray(scene.scale_mat)
        write_npz(work / CAMERA_FILE, arrays)
        shutil.copyfile(work / CAMERA_FILE, work / "cameras_sphere.npz")

    return _export(scene, folder, views, fill)


def export_colmap(
    scene: Scene, folder: Path | str, views: Sequence[int] | None = None, *, unit: bool = False
) -> Path:
    """Write a COLMAP text model without points: `sparse/0/{cameras,images,points3D}.txt`, `images/`, `masks/`.

    Each photograph has a PINHOLE camera of its own. Masks are named as COLMAP's feature extraction expects,
    `masks/<image name>.png`. Ignored pixels are masked out too, since COLMAP does not use what its masks exclude.

    Args:
        scene: The scene.
        folder: New or empty folder.
        views: View indices; None for all that are available.
        unit: Put the world into the unit sphere instead of mm.

    Returns:
        The folder.

    Raises:
        SceneError: The folder is in use, a view cannot be read, or a camera has skew, which COLMAP lacks.
    """

    def fill(work: Path, chosen: list[View]) -> None:
        model = work / "sparse" / "0"
        model.mkdir(parents=True)
        (work / "images").mkdir()
        cameras = ["# CAMERA_ID MODEL WIDTH HEIGHT fx fy cx cy"]
        images = [
            "# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME",
            "# (no points: every second line is empty)",
        ]
        for number, view in enumerate(chosen, start=1):
            camera = _without_skew(view, scene, unit)
            fx, fy, cx, cy = _pinhole(camera)
            cameras.append(f"{number} PINHOLE {camera.width} {camera.height} {fx!r} {fy!r} {cx!r} {cy!r}")
            pose = camera.camera_from_world
            x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat(canonical=True).tolist()
            numbers = " ".join(repr(value) for value in [w, x, y, z, *pose[:3, 3].tolist()])
            images += [f"{number} {numbers} {number} {view.image_path.name}", ""]
            shutil.copyfile(view.image_path, work / "images" / view.image_path.name)
            _write_mask(_used(view), work / "masks" / f"{view.image_path.name}.png")
        (model / "cameras.txt").write_text("\n".join(cameras) + "\n", encoding="utf-8")
        (model / "images.txt").write_text("\n".join(images) + "\n", encoding="utf-8")
        (model / "points3D.txt").write_text("# POINT3D_ID X Y Z R G B ERROR TRACK[]\n", encoding="utf-8")

    return _export(scene, folder, views, fill)


def export_nerfstudio(
    scene: Scene, folder: Path | str, views: Sequence[int] | None = None, *, unit: bool = False
) -> Path:
    """Write the nerfstudio layout: `transforms.json`, `images/`, `masks/`.

    Ignored pixels are masked out, since nerfstudio does not train on what its masks exclude.

    Args:
        scene: The scene.
        folder: New or empty folder.
        views: View indices; None for all that are available.
        unit: Put the world into the unit sphere instead of mm. With mm leave nerfstudio's automatic scaling
            on.

    Returns:
        The folder.

    Raises:
        SceneError: The folder is in use, a view cannot be read, or a camera has skew, which nerfstudio lacks.
    """

    def fill(work: Path, chosen: list[View]) -> None:
        frames = []
        (work / "images").mkdir()
        for view in chosen:
            camera = _without_skew(view, scene, unit)
            fx, fy, cx, cy = _pinhole(camera)
            mask = f"masks/{view.image_path.stem}.png"
            frames.append(
                {
                    "file_path": f"images/{view.image_path.name}",
                    "mask_path": mask,
                    "w": camera.width, "h": camera.height,
                    "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy,
                    "transform_matrix": (camera.world_from_camera @ _OPENGL_FROM_OPENCV).tolist(),
                }
            )  # fmt: skip
            shutil.copyfile(view.image_path, work / "images" / view.image_path.name)
            _write_mask(_used(view), work / mask)
        description = {"camera_model": "OPENCV", "frames": frames}
        (work / "transforms.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")

    return _export(scene, folder, views, fill)


def _export(
    scene: Scene,
    folder: Path | str,
    views: Sequence[int] | None,
    fill: Callable[[Path, list[View]], None],
) -> Path:
    """Fill a temporary folder beside the target and move it in place when it is complete."""
    folder = Path(folder).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SceneError(f"{folder} exists and is not an empty folder: export to a new one")
    indices = scene.available() if views is None else scene.select(list(dict.fromkeys(views)))
    if not indices:
        raise SceneError(f"{scene.root} has no view with image and mask to export")
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        work.chmod(0o755)
        fill(work, [scene.views[index] for index in indices])
        move_in_place(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _used(view: View) -> Bool[np.ndarray, "h w"]:
    """The foreground without ignored pixels."""
    return view.mask() & ~view.ignored()


def _write_mask(mask: Bool[np.ndarray, "h w"], path: Path) -> None:
    """A mask as an 8-bit grey PNG of 0 and 255."""
    path.parent.mkdir(exist_ok=True)
    save_picture(Image.fromarray(mask.astype(np.uint8) * 255), path, optimize=True)


def _pinhole(camera: Camera) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy with pixel centres at +0.5, as COLMAP and nerfstudio have them."""
    K = camera.intrinsics
    return float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])


def _without_skew(view: View, scene: Scene, unit: bool) -> Camera:
    """The view's camera for a format without skew."""
    camera = view.camera.transformed(scene.unit_from_world) if unit else view.camera
    shift = abs(camera.intrinsics[0, 1]) * camera.height / (2 * camera.intrinsics[1, 1])
    if shift > SKEW_PX:
        raise SceneError(
            f"{view.image_path}: its camera's skew moves pixels by {shift:.2f} at the edge, and this format "
            "has no skew: undistort the photograph first, or export to the IDR layout"
        )
    return camera
