"""Checks of a scene before it is used: every problem is one error that names the file and the remedy.

Pictures come first (readable, of one size, masks neither missing nor empty nor full, enough of the head not ignored),
then each camera by itself (finite, rigid, focal length in pixels, looking at the object), then all of them together:
the unit sphere must hold what the masks show, and the visual hull of all masks must cover each of them. The names of
files are those of the scene's format: paths of its views and truth, and its `CameraSource`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from recon.errors import ReconError, SceneError
from recon.scene.camera import Camera
from recon.scene.carving import TYPICAL_MM, Silhouette, agreement, inconsistent_views, unit_by_size
from recon.scene.consistency import (
    LANDMARKS_MM,
    ODD_MM,
    MaskedView,
    disagreement_mm,
    exchanged,
    exchanged_by_landmarks,
    landmark_distances_mm,
    odd_one_out,
)
from recon.scene.images import is_blurred, read_image_and_orientation, upright
from recon.scene.scene import MASKS_REMEDY, Scene
from recon.scene.view import View, check_sizes

# Focal lengths outside this range of image widths are in other units: no lens for heads is that wide or long.
FOCAL_WIDTHS = (0.1, 100.0)
# A mask may reach out of the unit sphere a little (shoulders cut by it); beyond this the sphere is wrong.
OUTSIDE_WARN, OUTSIDE_ERROR = 0.02, 0.2
# Below this radius in unit space the object is a dot in its sphere.
SMALLEST_RADIUS = 0.1
# Share of each mask that the visual hull of all masks must cover.
AGREEMENT = 0.5
# Share of what may be the head that may be ignored; of a view with more of it little can be learned.
IGNORED_WARN, IGNORED_ERROR = 0.5, 0.8
# An outline lies on edges of its own picture this much more than on those of the picture turned.
CLEARLY = 1.2
IGNORED_REMEDY = "paint white only what hides the head, on black, or leave that view out (views=[...])"

log = logging.getLogger(__name__)


def validate(scene: Scene, view_ids: Sequence[int] | None = None) -> None:
    """Raise the first problem of the named views (all views without names).

    Args:
        scene: The scene.
        view_ids: View indices; repetitions are checked once.

    Raises:
        SceneError: The first problem; its message names the file and what to do.
    """
    for problem in _find(scene, view_ids):
        raise problem


def problems(scene: Scene, view_ids: Sequence[int] | None = None) -> list[SceneError]:
    """All problems of the named views (all views without names), and of the ground truth's index files."""
    return [*_find(scene, view_ids), *truth_problems(scene)]


def views_to_check(scene: Scene) -> list[int]:
    """Indices of the views of which photograph or mask is there; cameras without either are no views to complain of."""
    return [view.index for view in scene.views if view.image_path.is_file() or view.mask_path.is_file()]


def _find(scene: Scene, view_ids: Sequence[int] | None) -> Iterator[SceneError]:
    indices = list(dict.fromkeys(views_to_check(scene) if view_ids is None else view_ids))
    if not indices:
        yield SceneError(f"{scene.root}: no views to use")
    silhouettes, masked = [], []
    for index in indices:
        if not 0 <= index < len(scene.views):
            count = len(scene.views)
            yield SceneError(
                f"scene {scene.name!r} has no view {index}: its {count} views are 0..{count - 1}"
            )
            continue
        view = scene.views[index]
        try:
            mask, ignored = _checked_pictures(view)
            camera = _checked_camera(scene, view)
            silhouette = Silhouette.from_mask(camera.transformed(scene.unit_from_world), mask, index, ignored)
            _check_size(_camera_place(scene, view), view, silhouette, mask & ~ignored)
            _check_sphere(scene, view, silhouette)
        except SceneError as problem:
            yield problem
        else:
            silhouettes.append(silhouette)
            masked.append(MaskedView.from_mask(silhouette.camera, mask, ignored))
    if silhouettes:
        _name_unit(scene, silhouettes)
    if len(silhouettes) == len(indices) and len(indices) > 1:
        order = list(_check_order(scene, indices, masked)) or list(_check_landmarks(scene, indices))
        yield from order or _check_together(scene, silhouettes)


def _checked_pictures(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Mask and ignored pixels of a view, after checks that its pictures and landmarks can be used together."""
    image, orientation = read_image_and_orientation(view.image_path)
    if not view.mask_path.is_file():
        raise SceneError(
            f"mask {view.mask_path} is missing: every photograph that is used needs its foreground mask; "
            f"put it there or leave view {view.index} out (views=[...]); {MASKS_REMEDY}"
        )
    mask = view.mask()
    if orientation != 1:
        _check_orientation(view, orientation, image, mask)
    check_sizes(view, image, mask)
    if not mask.any():
        raise SceneError(
            f"mask {view.mask_path} is empty: no value is above half of its range. If it was saved with "
            "values 0 and 1, save it with 0 and 255"
        )
    if mask.all():
        raise SceneError(
            f"mask {view.mask_path} is full: every pixel is foreground. Save the head as white on black"
        )
    if _inverted(mask):
        raise SceneError(
            f"mask {view.mask_path} is inverted: it is white along the borders of the picture and black inside. "
            "Save the head as white on black"
        )
    ignored = view.ignored()
    check_sizes(view, image, mask, ignored)
    if view.ignore_path is not None:
        _check_ignored(view.ignore_path, ignored, mask)
    if is_blurred(image, mask):
        log.warning(
            "%s is blurred: details are lost. Take a sharper one, or leave view %d out",
            view.image_path,
            view.index,
        )
    view.landmarks()  # a broken file is a problem of its own
    return mask, ignored


def _inverted(mask: np.ndarray) -> bool:
    """Whether a mask shows what is around a head: it fills the upper borders, and them more than what is between."""
    half = mask.shape[0] // 2
    borders = mask[0], mask[-1], mask[:, 0], mask[:, -1]
    upper = np.concatenate([mask[0], mask[:half, 0], mask[:half, -1]])
    touched = all(border.any() for border in borders)
    return touched and bool(upper.mean() > max(0.6, mask.mean() + 0.1))


def _check_orientation(view: View, orientation: int, image: np.ndarray, mask: np.ndarray) -> None:
    """Checks that a mask is of the pixels as they are stored, where EXIF says that these are to be turned; of those
    that fit either way the brightness across the mask's outline tells.
    """
    turned = upright(image, orientation)
    told = (
        f"image {view.image_path} is stored turned (EXIF orientation {orientation}), and pixels are used as they are "
        "stored"
    )
    remedy = (
        "Turn the pixels themselves (`mogrify -auto-orient FILE`), so that the camera is of the same picture as the "
        "mask"
    )
    stored_fits, upright_fits = (mask.shape == pixels.shape[:2] for pixels in (image, turned))
    if not upright_fits:
        return
    if stored_fits:
        stored, up = _edge_contrast(image, mask), _edge_contrast(turned, mask)
        if stored > CLEARLY * up:
            return
        if up <= CLEARLY * stored:
            log.warning("%s: make sure that mask and camera are of the picture as it is stored", told)
            return
    raise SceneError(f"{told}, but its mask {view.mask_path} is of the upright picture. {remedy}")


def _edge_contrast(image: np.ndarray, mask: np.ndarray) -> float:
    """Mean change of brightness from pixel to pixel along the outline of a mask."""
    step = max(1, max(mask.shape) // 512)
    grey, small = image[::step, ::step].mean(axis=2), mask[::step, ::step]
    outline = np.zeros_like(small)
    outline[:, 1:] |= small[:, 1:] != small[:, :-1]
    outline[1:] |= small[1:] != small[:-1]
    return float(np.hypot(*np.gradient(grey))[outline].mean()) if outline.any() else 0.0


def _check_ignored(path: Path, ignored: np.ndarray, mask: np.ndarray) -> None:
    """Checks that the pixels which are not ignored show some of the head and some of the background."""
    if ignored.all():
        raise SceneError(f"{path} ignores the whole picture: {IGNORED_REMEDY}")
    if not (mask & ~ignored).any():
        raise SceneError(f"{path} ignores the whole head: {IGNORED_REMEDY}")
    if (mask | ignored).all():
        raise SceneError(f"{path} ignores all around the head, so that it has no outline: {IGNORED_REMEDY}")


def _checked_camera(scene: Scene, view: View) -> Camera:
    """The camera of a view, after checks: finite, rigid, not mirrored, focal length in pixels."""
    camera = view.camera
    where = _camera_place(scene, view)
    K, pose = camera.intrinsics, camera.world_from_camera
    if not (np.isfinite(K).all() and np.isfinite(pose).all()):
        raise SceneError(f"{where} holds NaN or infinity: recalibrate or leave that view out (views=[...])")
    R = pose[:3, :3]
    if np.abs(R.T @ R - np.eye(3)).max() > 1e-4 or np.abs(pose[3] - [0, 0, 0, 1]).max() > 1e-6:
        raise SceneError(f"{where} is not rigid: its pose must be a rotation and a translation only")
    if np.linalg.det(R) < 0:
        raise SceneError(f"{where} is mirrored: the determinant of its rotation is -1; flip one axis")
    focal = np.diag(K)[:2]
    widths = focal / camera.width
    if (focal <= 0).any():
        raise SceneError(f"{where} is mirrored: focal lengths {focal.round(3).tolist()} must be positive")
    if widths.min() < FOCAL_WIDTHS[0] or widths.max() > FOCAL_WIDTHS[1]:
        raise SceneError(
            f"{where}: focal length {focal.round(4).tolist()} is {widths.round(5).tolist()} image widths. "
            f"It must be in pixels of the {camera.width}x{camera.height} image: scale the intrinsics"
        )
    if not 0.5 < focal[0] / focal[1] < 2 or abs(K[0, 1]) > 0.1 * focal[0]:
        raise SceneError(
            f"{where} is not rigid: fx {focal[0]:.4g}, fy {focal[1]:.4g} and skew {K[0, 1]:.4g} do not "
            "belong to one camera; world_mat must be K [R | t] with a rotation R"
        )
    off_centre = np.abs(K[:2, 2] / [camera.width, camera.height] - 0.5)
    # Scenes made of photographs show the bust alone, which may lie anywhere in them.
    if off_centre.max() > 1.5 and not scene.body_ignored:
        raise SceneError(
            f"{where}: principal point {K[:2, 2].round(1).tolist()} is far outside of the "
            f"{camera.width}x{camera.height} image: the camera was made for another image size"
        )
    return camera


def _check_sphere(scene: Scene, view: View, silhouette: Silhouette) -> None:
    """Checks that the view looks at the unit sphere from outside, and that the sphere holds what the mask shows."""
    where, camera = _camera_place(scene, view), silhouette.camera
    remedy = f"{_scale_place(scene)} must take the unit sphere to the sphere around the head"
    distance = float(np.linalg.norm(camera.centre))
    if distance <= 1:
        raise SceneError(
            f"{where}: the camera stands inside the unit sphere ({distance:.3g} radii from its centre); "
            f"{remedy}"
        )
    if camera.camera_from_world[2, 3] <= 0:
        raise SceneError(
            f"{where}: the object is behind the camera: the camera is mirrored, its pose is inverted "
            f"(camera_from_world is expected in K [R | t]), or it looks away; or {remedy}"
        )
    outside = silhouette.outside_share
    if outside > OUTSIDE_ERROR:
        raise SceneError(
            f"{view.mask_path}: {outside:.0%} of the mask lies outside of the unit sphere as {where} sees "
            f"it: the camera looks elsewhere, or the object is larger than the sphere; {remedy}"
        )
    if outside > OUTSIDE_WARN:
        log.warning("%s: %.0f %% of the mask lies outside of the unit sphere", view.mask_path, 100 * outside)
    ignored = silhouette.ignored_share
    if ignored > IGNORED_ERROR:
        raise SceneError(
            f"{view.ignore_path} leaves {1 - ignored:.0%} of what may be the head: {IGNORED_REMEDY}"
        )
    if ignored > IGNORED_WARN and not scene.body_ignored:
        log.warning("%s leaves %.0f %% of what may be the head", view.ignore_path, 100 * (1 - ignored))
    radius = silhouette.radius()
    if radius < SMALLEST_RADIUS:
        raise SceneError(
            f"{view.mask_path}: the object fills only {radius:.2g} of the unit sphere's radius as {where} "
            f"sees it; {remedy}"
        )


def _check_size(where: str, view: View, silhouette: Silhouette, mask: np.ndarray) -> None:
    """Checks that the principal point is not the middle of a picture of another size.

    A picture that was cut out has its principal point anywhere, too; but there the mask lies where the camera sees the
    unit sphere, and here it does where the other size is allowed for.
    """
    camera = view.camera
    size, point = np.array([camera.width, camera.height]), camera.intrinsics[:2, 2]
    other = (
        f"{where}: its principal point {point.round(1).tolist()} is about the middle of a picture of "
        f"{2 * point[0]:.0f}x{2 * point[1]:.0f}, but {view.image_path} is {size[0]}x{size[1]}"
    )
    share = 2 * point / size
    if (share > 0).all() and abs(np.log(share[0] / share[1])) < 0.15 and abs(np.log(share[0])) > 0.2:
        middle = (
            np.array([mask.sum(axis=axis) @ (np.arange(size[axis]) + 0.5) for axis in (0, 1)]) / mask.sum()
        )
        seen = silhouette.camera.project(np.zeros((1, 3)))[0][0]
        if np.linalg.norm(middle * share - seen) < 0.5 * share.mean() * np.linalg.norm(middle - seen):
            raise SceneError(
                f"{other}: bring photograph and mask to that size, or scale the camera's first two rows"
            )
    elif abs(np.log(size[0] / size[1])) > 0.1 and np.abs(2 * point / size[::-1] - 1).max() < 0.03:
        log.warning("%s: make sure that photograph and mask are not turned by 90 degrees", other)


def _name_unit(scene: Scene, silhouettes: Sequence[Silhouette]) -> None:
    """Warn of a world that is not in millimetres, by the size of what the masks show."""
    scale = float(np.cbrt(np.linalg.det(scene.scale_mat[:3, :3])))
    radius = scale * float(np.median([silhouette.radius() for silhouette in silhouettes]))
    known = unit_by_size(radius)
    name, mm = known or ("an arbitrary unit, as structure from motion has it", TYPICAL_MM / radius)
    if mm == 1.0:
        return
    source = scene.camera_source
    log.warning(
        "%s: what the masks show has a radius of %.3g: this is %s, but the world is expected in millimetres, in which "
        "a head with shoulders has 100 to 250. Shapes do not depend on it, but sizes and errors will not be "
        "millimetres. Multiply positions by %s%.4g (world_mat_i @ diag(s, s, s, 1) with s = 1/%.4g, and diag(1/s, 1/s, "
        "1/s, 1) @ scale_mat_i)",
        scene.root if source is None else source.path,
        radius,
        name,
        "" if known else "something like ",
        mm,
        mm,
    )


def _check_order(scene: Scene, indices: Sequence[int], masked: Sequence[MaskedView]) -> Iterator[SceneError]:
    """Checks that no other order of the cameras explains the masks better; warns of one that
    the others contradict.
    """
    radius_mm = float(np.cbrt(np.linalg.det(scene.scale_mat[:3, :3])))
    if swapped := exchanged(masked, radius_mm):
        yield _exchange(scene, [indices[position] for position in swapped], "masks")
    elif len(masked) == 2 and (gap := float(disagreement_mm(masked, radius_mm).mean())) > ODD_MM:
        log.warning(
            "the masks of views %s do not fit together under their cameras (rays of the outlines miss each other by "
            "%.1f mm in the mean): a camera is wrong or both are exchanged, or a mask shows something else",
            " and ".join(str(index) for index in indices),
            gap,
        )
    elif (odd := odd_one_out(masked, radius_mm)) is not None:
        view = scene.views[indices[odd]]
        log.warning(
            "view %d (%s) contradicts the others: its mask and its camera do not fit together with theirs, which agree "
            "without it. Look at %s and %s, or leave it out (views=[...])",
            view.index,
            view.image_path.name,
            view.mask_path,
            _camera_place(scene, view),
        )


def _exchange(scene: Scene, indices: Sequence[int], what: str) -> SceneError:
    """The error of cameras that belong to other views, as masks or landmarks tell."""
    views = [scene.views[index] for index in indices]
    names = ", ".join(f"{view.index} ({view.image_path.name})" for view in views)
    cameras = ", ".join(_camera_place(scene, view) for view in views)
    return SceneError(
        f"{scene.root}: the cameras of views {names} are exchanged: the {what} do not fit together as they are given, "
        f"and they do with these cameras in another order. Give {cameras} in the order of the photographs, or if "
        f"photographs and cameras are right, the {what}"
    )


def _check_landmarks(scene: Scene, indices: Sequence[int]) -> Iterator[SceneError]:
    """Checks that no other order of the cameras explains the landmarks better; warns of the view whose landmarks are
    farthest from where the other views' are, if they are far.
    """
    views = [scene.views[index] for index in indices]
    cameras = [view.camera.transformed(scene.unit_from_world) for view in views]
    radius_mm = float(np.cbrt(np.linalg.det(scene.scale_mat[:3, :3])))
    landmarks = [view.landmarks() for view in views]
    if swapped := exchanged_by_landmarks(cameras, landmarks, radius_mm):
        yield _exchange(scene, [indices[position] for position in swapped], "landmarks")
        return
    found = landmark_distances_mm(cameras, landmarks, radius_mm)
    distances = np.array([np.nan if each is None else each for each in found])
    if np.isnan(distances).all() or np.nanmax(distances) < LANDMARKS_MM:
        return
    view = views[int(np.nanargmax(distances))]
    log.warning(
        "view %d (%s): its landmarks are %.0f mm from where those of the other views are: %s has landmarks of another "
        "photograph, or left and right exchanged, or %s is wrong",
        view.index,
        view.image_path.name,
        np.nanmax(distances),
        view.landmarks_path,
        _camera_place(scene, view),
    )


def _check_together(scene: Scene, silhouettes: Sequence[Silhouette]) -> Iterator[SceneError]:
    """Checks that all masks show one object: their visual hull covers each of them."""
    covered = agreement(silhouettes)
    if covered.min() >= AGREEMENT:
        return
    suspects = inconsistent_views(silhouettes)
    names = ", ".join(str(scene.views[index].mask_path) for index in suspects)
    if covered.max() == 0:
        what = "the masks have no volume in common"
    else:
        what = f"the volume common to all masks covers only {covered.min():.0%} of one of them"
    if len(suspects) == 1:
        who = f"view {suspects[0]} disagrees with the others"
        camera = _camera_place(scene, scene.views[suspects[0]])
    else:
        who, camera = f"views {suspects} disagree", "one of their cameras"
    yield SceneError(
        f"{scene.root}: {what}: {who} ({names}): {camera} belongs to another picture, or a mask shows something else"
    )


def truth_problems(scene: Scene) -> Iterator[SceneError]:
    """Checks that landmarks and regions point into the ground truth's vertices."""
    truth = scene.ground_truth
    if truth is None:
        return
    try:
        count = len(truth.mesh().vertices)
        lists = {truth.landmarks_path: list(truth.landmarks.values())}
        lists |= {truth.region_path(name): truth.region(name).tolist() for name in truth.regions()}
    except ReconError as problem:
        yield SceneError(str(problem))
        return
    for path, indices in lists.items():
        if indices and max(indices) >= count:
            yield SceneError(
                f"{path} names vertex {max(indices)}, but {truth.mesh_path} has {count}: they are of "
                "different versions"
            )


def _camera_place(scene: Scene, view: View) -> str:
    """How messages name a view's camera."""
    source = scene.camera_source
    if source is None:
        return f"{scene.root}, camera {view.index}"
    return f"{source.path}, {source.camera.format(index=view.index)}"


def _scale_place(scene: Scene) -> str:
    """How messages name the similarity from the unit sphere to the world."""
    source = scene.camera_source
    return f"the scale_mat of {scene.root}" if source is None else f"{source.scale} in {source.path}"
