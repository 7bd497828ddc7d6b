"""Writing scenes in the H3DS layout, so that both this package and the published one read them."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float
from PIL import Image

from recon.errors import SceneError
from recon.files import save_picture
from recon.geometry.obj import write_obj
from recon.scene.camera import Camera
from recon.scene.h3ds.layout import PIXEL_CENTRE, Paths
from recon.scene.h3ds.root import check_version, enter, locked
from recon.scene.images import to_uint8


def write_scene(
    root: Path | str,
    name: str,
    *,
    images: Iterable[np.ndarray | Image.Image],
    masks: Iterable[np.ndarray],
    cameras: Sequence[Camera],
    scale_mat: Float[np.ndarray, "4 4"],
    mesh: trimesh.Trimesh | None,
    landmarks: Mapping[str, int] | None = None,
    regions: Mapping[str, np.ndarray] | None = None,
    default_views: Mapping[int, Sequence[int]] | None = None,
    ignored: Mapping[int, np.ndarray] | None = None,
    tags: Sequence[str] = (),
    version: str = "generated-1",
    jpeg_quality: int = 95,
    mask_bits: int = 8,
    mesh_decimals: int | None = 4,
    vertex_colours: bool = False,
    extras: Callable[[Path], None] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one scene below `root` and enter it in `<root>/config.toml` and `<root>/version.txt`.

    The scene is built in a hidden folder beside its place and moved there when it is complete: a run that
    is stopped leaves no half scene. The same input gives the same bytes. Several processes may write into
    one root.

    Args:
        root: Data set folder; made if need be.
        name: Scene folder below it: letters, digits, `-`, `_`.
        images: RGB pictures, (h, w, 3) uint8 or floats in [0, 1], or PIL; may be a generator.
        masks: (h, w) bool, or numbers of which those above half of their type's range are foreground; may
            be a generator.
        cameras: World cameras in mm, one for each image.
        scale_mat: (4, 4) similarity world_from_unit; the object lies inside the unit sphere.
        mesh: Ground truth in world mm, its vertex order kept; or None for a scene without truth.
        landmarks: Name to vertex index of `mesh`.
        regions: Name to vertex indices of `mesh`.
        default_views: Number of views to view indices, in order.
        ignored: View index to (h, w) bool, the pixels to ignore, for views that have such.
        tags: Data set tags of the scene.
        version: Data version of the whole root; must agree with a root that exists.
        jpeg_quality: 1 to 100; from 90 on, colour is not subsampled.
        mask_bits: 8 (values 0 and 255) or 1 per mask pixel.
        mesh_decimals: Digits behind the point in the OBJ, mm; None keeps float64 exactly.
        vertex_colours: Write the mesh's vertex colours too.
        extras: Called with the hidden folder before it is moved, to add further files to the scene.
        overwrite: Replace a scene of that name.

    Returns:
        The scene's folder.

    Raises:
        SceneError: Counts or sizes disagree, an index is out of range, the scene exists, or the root has
            another version.
    """
    root, target = Path(root), Path(root) / name
    _check_name(name)
    _check_indices(mesh, landmarks or {}, regions or {}, default_views or {}, len(cameras))
    root.mkdir(parents=True, exist_ok=True)
    if target.exists() and not overwrite:
        raise SceneError(f"{target} exists: choose another name, or overwrite=True to replace it")
    check_version(root, version)
    with _hidden_folder(root, name) as work:
        paths = Paths(work)
        _write_pictures(paths, images, masks, cameras, jpeg_quality, mask_bits)
        _write_ignored(paths, ignored or {}, cameras)
        _write_cameras(paths.cameras, cameras, scale_mat)
        if mesh is not None:
            _write_mesh(paths.mesh, mesh, mesh_decimals, vertex_colours)
        _write_places(paths, landmarks or {}, regions or {})
        if extras is not None:
            extras(work)
        with locked(root):
            move_in_place(work, target)
            enter(root, name, version, len(cameras), default_views or {}, tags)
    return target


def _check_name(name: str) -> None:
    """A scene's name is a folder's and a bare key of TOML."""
    if not name or not all(char.isalnum() or char in "-_" for char in name) or not name.isascii():
        raise SceneError(f"scene name {name!r}: use letters, digits, '-' and '_' only")


def _check_indices(
    mesh: trimesh.Trimesh | None,
    landmarks: Mapping[str, int],
    regions: Mapping[str, np.ndarray],
    default_views: Mapping[int, Sequence[int]],
    count: int,
) -> None:
    """Landmarks and regions must point into the mesh, view lists into the cameras."""
    vertices = 0 if mesh is None else len(mesh.vertices)
    lists: dict[str, list[int]] = {f"landmark {key}": [index] for key, index in landmarks.items()}
    lists |= {f"region {key}": list(indices) for key, indices in regions.items()}
    for what, indices in lists.items():
        if len(indices) and (min(indices) < 0 or max(indices) >= vertices):
            raise SceneError(
                f"{what} uses a vertex outside 0..{vertices - 1}: it must index the ground-truth mesh"
            )
    for number, views in default_views.items():
        if not len(views) or min(views) < 0 or max(views) >= count:
            raise SceneError(
                f"default list for {number} views must hold indices 0..{count - 1}, got {list(views)}"
            )


def _write_pictures(
    paths: Paths,
    images: Iterable[np.ndarray | Image.Image],
    masks: Iterable[np.ndarray],
    cameras: Sequence[Camera],
    jpeg_quality: int,
    mask_bits: int,
) -> None:
    """Write image/ and mask/, one picture in memory at a time."""
    if mask_bits not in (1, 8):
        raise SceneError(f"mask_bits must be 1 or 8, got {mask_bits}")
    paths.image(0).parent.mkdir()
    paths.mask(0).parent.mkdir()
    for index, (image, mask, camera) in enumerate(zip_longest(images, masks, cameras)):
        if image is None or mask is None or camera is None:
            raise SceneError(f"images, masks, cameras must be equally many; one of them ends at {index}")
        pixels = to_uint8(image, f"image {index}")
        foreground = np.asarray(mask)
        size = (camera.height, camera.width)
        if pixels.shape[:2] != size or foreground.shape != size:
            raise SceneError(
                f"view {index}: (h, w) differ: camera {size}, image {pixels.shape[:2]}, mask "
                f"{foreground.shape}"
            )
        if foreground.dtype != bool:
            integer = np.issubdtype(foreground.dtype, np.integer)
            foreground = foreground > (np.iinfo(foreground.dtype).max / 2 if integer else 0.5)
        subsampling = 0 if jpeg_quality >= 90 else 2
        save_picture(
            Image.fromarray(pixels), paths.image(index), quality=jpeg_quality, subsampling=subsampling
        )
        grey = Image.fromarray(foreground.astype(np.uint8) * 255)
        save_picture(grey.convert("1") if mask_bits == 1 else grey, paths.mask(index), optimize=True)


def _write_ignored(paths: Paths, ignored: Mapping[int, np.ndarray], cameras: Sequence[Camera]) -> None:
    """Write ignore/, if there is anything to ignore."""
    for index, pixels in ignored.items():
        size = (cameras[index].height, cameras[index].width) if 0 <= index < len(cameras) else None
        if pixels.dtype != bool or pixels.shape != size:
            raise SceneError(
                f"ignored pixels of view {index}: expected bool of (h, w) {size} for one of {len(cameras)} views, "
                f"got {pixels.dtype} of {pixels.shape}"
            )
        paths.ignored(index).parent.mkdir(exist_ok=True)
        save_picture(Image.fromarray(pixels.astype(np.uint8) * 255), paths.ignored(index), optimize=True)


def _write_cameras(path: Path, cameras: Sequence[Camera], scale_mat: np.ndarray) -> None:
    """Write `cameras.npz` (float64); unlike numpy's own archive it holds no clock time."""
    scale = np.asarray(scale_mat, dtype=np.float64)
    arrays: dict[str, np.ndarray] = {}
    for index, camera in enumerate(cameras):
        arrays[f"world_mat_{index}"] = np.vstack([camera.projection_for(PIXEL_CENTRE), [0.0, 0.0, 0.0, 1.0]])
        arrays[f"scale_mat_{index}"] = scale
    write_npz(path, arrays)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a numpy archive whose bytes depend on the arrays alone."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(member, buffer.getvalue())


def _write_mesh(path: Path, mesh: trimesh.Trimesh, decimals: int | None, coloured: bool) -> None:
    """Write the ground truth with its vertices in their order."""
    colours = _vertex_colours(mesh) if coloured else None
    write_obj(path, np.asarray(mesh.vertices), np.asarray(mesh.faces), colours=colours, decimals=decimals)


def _vertex_colours(mesh: trimesh.Trimesh) -> np.ndarray:
    """(n, 3) colours in [0, 1]."""
    colours = getattr(mesh.visual, "vertex_colors", None)
    if colours is None:
        raise SceneError("vertex_colours=True, but the mesh has none")
    return np.asarray(colours)[:, :3] / 255.0


def _write_places(paths: Paths, landmarks: Mapping[str, int], regions: Mapping[str, np.ndarray]) -> None:
    """Write the landmark file and regions/, as far as there are any."""
    if landmarks:
        lines = [f"{key} {int(index)}" for key, index in landmarks.items()]
        paths.landmarks.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for region, indices in regions.items():
        paths.regions.mkdir(exist_ok=True)
        paths.region(region).write_text("".join(f"{int(index)}\n" for index in indices), encoding="utf-8")


@contextlib.contextmanager
def _hidden_folder(root: Path, name: str) -> Iterator[Path]:
    """A context with a temporary folder beside a scene's place, removed at the end unless it was moved."""
    work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
    try:
        work.chmod(0o755)
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def move_in_place(work: Path, target: Path) -> None:
    """Move a finished file or folder to its place; an old folder is moved aside first, then removed."""
    if not target.is_dir():
        os.replace(work, target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
    os.replace(target, aside / target.name)
    os.replace(work, target)
    shutil.rmtree(aside, ignore_errors=True)
