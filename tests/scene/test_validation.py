import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from recon import scene as scenes
from recon.errors import SceneError
from recon.scene import Camera, Scene, View, images
from recon.scene.validation import _checked_camera
from tests.support.scenes import CENTRE, SCALE_MAT, make_h3ds, orbit_camera, sphere_mask


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return make_h3ds(tmp_path_factory.mktemp("good"))


@pytest.fixture
def folder(good, tmp_path):
    return Path(shutil.copytree(good, tmp_path / "ball"))


def change_cameras(folder, **changes):
    stored = dict(np.load(folder / "cameras.npz"))
    np.savez(folder / "cameras.npz", **(stored | changes))


def put_mask(folder, index, mask):
    Image.fromarray(mask).save(folder / "mask" / f"mask_{index:04d}.png")


def world_mat(K, R, t):
    return np.vstack([K @ np.hstack([R, np.reshape(t, (3, 1))]), [0, 0, 0, 1]])


def parts(index=1):
    camera = orbit_camera(40, 5)
    pose = camera.camera_from_world
    return camera.intrinsics, pose[:3, :3], pose[:3, 3]


def test_a_sound_scene_has_no_problems(good):
    scene = scenes.open(good)
    scenes.validate(scene, [0, 1, 2])
    scenes.validate(scene, [3])
    scenes.validate(scene, [0, 0, 1])
    assert scenes.problems(scene) == []


PICTURES = {
    "missing image": (
        lambda f: (f / "image/img_0001.jpg").unlink(),
        r"img_0001\.jpg is missing: put it there",
    ),
    "broken image": (lambda f: (f / "image/img_0001.jpg").write_text("x"), r"img_0001\.jpg cannot be read"),
    "missing mask": (
        lambda f: (f / "mask/mask_0001.png").unlink(),
        r"mask_0001\.png is missing.*leave view 1 out",
    ),
    "mis-sized mask": (
        lambda f: put_mask(f, 1, np.eye(48, dtype=np.uint8) * 255),
        r"mask_0001\.png is 48x48, but its image .*img_0001\.jpg is 96x96: resize",
    ),
    "empty mask": (lambda f: put_mask(f, 1, np.zeros((96, 96), np.uint8)), r"mask_0001\.png is empty"),
    "mask of 0 and 1": (
        lambda f: put_mask(f, 1, sphere_mask(orbit_camera(40, 5)).astype(np.uint8)),
        r"mask_0001\.png is empty.*save it with 0 and 255",
    ),
    "full mask": (lambda f: put_mask(f, 1, np.full((96, 96), 255, np.uint8)), r"mask_0001\.png is full"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(folder, name):
    damage, words = PICTURES[name]
    damage(folder)
    scene = scenes.open(folder)
    with pytest.raises(SceneError, match=words):
        scenes.validate(scene, [0, 1, 2])
    scenes.validate(scene, [0, 2])  # the sound views stay usable
    assert len(scenes.problems(scene)) == 1


def test_a_truncated_photograph(folder):
    path = folder / "image/img_0001.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SceneError, match=r"img_0001\.jpg cannot be read"):
        scenes.validate(scenes.open(folder), [0, 1])


K, R, t = parts()


def after(linear):
    """The camera of view 1 with its camera coordinates changed by a matrix."""
    return world_mat(K, np.asarray(linear) @ R, np.asarray(linear) @ t)


def before(linear):
    """The camera of view 1 with its pixels changed by a matrix."""
    return world_mat(np.asarray(linear) @ K, R, t)


CAMERAS = {
    "nan": (np.full((4, 4), np.nan), "world_mat_1.*NaN"),
    "mirrored axis": (after(np.diag([-1.0, 1, 1])), "world_mat_1.*mirrored"),
    "opposite direction": (after(np.diag([-1.0, 1, -1])), "world_mat_1: the object is behind the camera"),
    "inverted pose": (world_mat(K, R.T, -R.T @ t), "world_mat_1|mask_0001"),
    "not rigid": (after(np.diag([1, 3.0, 1])), "world_mat_1 is not rigid"),
    "focal in image widths": (
        before(np.diag([1 / 96, 1 / 96, 1])),
        "world_mat_1: focal .* of the 96x96 image",
    ),
    "focal far too long": (before(np.diag([100.0, 100, 1])), "world_mat_1: focal length"),
    "made for another size": (before([[1.0, 0, 300], [0, 1, 300], [0, 0, 1]]), "made for another image size"),
    "looks elsewhere": (
        after(Rotation.from_euler("y", 25, degrees=True).as_matrix()),
        "mask_0001.*lies outside of the unit sphere",
    ),
}


@pytest.mark.parametrize("name", CAMERAS)
def test_cameras(folder, name):
    matrix, words = CAMERAS[name]
    change_cameras(folder, world_mat_1=matrix)
    scene = scenes.open(folder)
    with pytest.raises(SceneError, match=words):
        scenes.validate(scene, [0, 1, 2])
    scenes.validate(scene, [0, 2])


def test_sign_and_scale_of_a_projection_matrix_mean_nothing(folder):
    change_cameras(folder, world_mat_1=world_mat(K, R, t))
    before = scenes.open(folder).views[1].camera
    change_cameras(folder, world_mat_1=-2.5 * world_mat(K, R, t))
    scene = scenes.open(folder)
    assert scenes.problems(scene) == []
    camera = scene.views[1].camera
    np.testing.assert_allclose(camera.intrinsics, before.intrinsics, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(camera.world_from_camera, before.world_from_camera, rtol=1e-9, atol=1e-9)


def memory_scene(good, pose):
    scene = scenes.open(good)
    view = scene.views[1]
    camera = Camera(view.camera.intrinsics, pose, 96, 96)
    views = (scene.views[0], View(1, view.name, camera, view.image_path, view.mask_path))
    return replace(scene, views=views)


@pytest.mark.parametrize(
    ("linear", "words"),
    [
        (np.diag([1.0, 1.2, 1]), "not rigid"),
        (np.diag([-1.0, 1, 1]), "mirrored"),
        (np.full((3, 3), np.nan), "NaN"),
    ],
)
def test_cameras_made_by_hand_are_checked_too(good, linear, words):
    pose = np.eye(4)
    pose[:3, :3] = linear
    with pytest.raises(SceneError, match=words):
        scenes.validate(memory_scene(good, pose))


def sphere_of(radius, centre=CENTRE):
    matrix = np.diag([radius, radius, radius, 1.0])
    matrix[:3, 3] = centre
    return matrix


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (sphere_of(70), "of the mask lies outside of the unit sphere"),  # object radius 100
        (sphere_of(130, CENTRE + np.array([150, 0, 0])), "outside of the unit sphere"),
        (sphere_of(0.13, CENTRE / 1000), "outside of the unit sphere|behind"),  # metres
        (sphere_of(720), "stands inside the unit sphere"),
    ],
)
def test_wrong_unit_spheres(folder, matrix, words):
    change_cameras(folder, scale_mat_0=matrix)
    with pytest.raises(SceneError, match=words) as error:
        scenes.validate(scenes.open(folder), [0, 1, 2])
    assert "scale_mat_0" in str(error.value)


def test_an_object_that_is_a_dot_in_its_sphere(folder):
    for index, azimuth in enumerate((0, 40, -40)):
        put_mask(
            folder,
            index,
            sphere_mask(orbit_camera(azimuth, 5.0 * (index % 2)), radius=8).astype(np.uint8) * 255,
        )
    with pytest.raises(SceneError, match=r"fills only 0.06"):
        scenes.validate(scenes.open(folder), [0, 1, 2])


def test_a_small_overhang_is_only_a_warning(folder, caplog):
    change_cameras(folder, scale_mat_0=sphere_of(95))
    scenes.validate(scenes.open(folder), [0, 1, 2])
    assert "of the mask lies outside of the unit sphere" in caplog.text


def test_the_view_whose_mask_disagrees_is_named(folder):
    shifted = sphere_mask(orbit_camera(-40), radius=40, centre=CENTRE + np.array([0, 75.0, 0]))
    put_mask(folder, 2, shifted.astype(np.uint8) * 255)
    scene = scenes.open(folder)
    with pytest.raises(SceneError, match=r"view 2 disagrees with the others.*mask_0002\.png"):
        scenes.validate(scene)
    scenes.validate(scene, [0, 1, 3, 4])


def test_masks_without_common_volume(folder):
    for index, offset in ((0, 70.0), (1, -70.0)):
        camera = orbit_camera((0, 40)[index], 5.0 * index)
        mask = sphere_mask(camera, radius=30, centre=CENTRE + np.array([0, offset, 0]))
        put_mask(folder, index, mask.astype(np.uint8) * 255)
    with pytest.raises(SceneError, match=r"no volume in common: views \[0, 1\] disagree"):
        scenes.validate(scenes.open(folder), [0, 1])


def test_swapped_cameras_are_found(folder):
    # An off-centre object tells the views apart; a centred sphere would look the same from everywhere.
    centre = CENTRE + np.array([0, 0, -60.0])
    for index, azimuth in enumerate((0, 40, -40, 90, -90)):
        mask = sphere_mask(orbit_camera(azimuth, 5.0 * (index % 2)), radius=50, centre=centre)
        put_mask(folder, index, mask.astype(np.uint8) * 255)
    scenes.validate(scenes.open(folder))
    stored = dict(np.load(folder / "cameras.npz"))
    change_cameras(folder, world_mat_1=stored["world_mat_2"], world_mat_2=stored["world_mat_1"])
    with pytest.raises(SceneError, match=r"views 1 \(img_0001.jpg\), 2 \(img_0002.jpg\) are exchanged"):
        scenes.validate(scenes.open(folder))


def test_ground_truth_of_another_version(folder):
    (folder / "landmarks.txt").write_text("nose_tip 99999\n")
    (folder / "regions/face.txt").write_text("1\n2\nx\n")
    found = [str(problem) for problem in scenes.problems(scenes.open(folder))]
    assert len(found) == 1
    assert "face.txt cannot be read as a list of one vertex index per line" in found[0]
    (folder / "regions/face.txt").write_text("1\n2\n\n")
    found = [str(problem) for problem in scenes.problems(scenes.open(folder))]
    assert len(found) == 1
    assert "landmarks.txt names vertex 99999" in found[0]


def test_no_views_and_unknown_views(good):
    scene = scenes.open(good)
    with pytest.raises(SceneError, match="no view 7"):
        scenes.validate(scene, [0, 7])
    with pytest.raises(SceneError, match="no views"):
        scenes.validate(Scene("x", good, (), SCALE_MAT))


def test_every_picture_is_decoded_once(good, monkeypatch):
    decoded = []
    load = images._load
    monkeypatch.setattr(
        images,
        "_load",
        lambda path, kind, pixels=True: decoded.extend([path] * pixels) or load(path, kind, pixels),
    )
    scene = scenes.open(good)
    scenes.validate(scene, [0, 1, 2])
    assert sorted(decoded) == sorted(path for v in scene.views[:3] for path in (v.image_path, v.mask_path))


def test_a_bust_cut_out_of_a_large_photograph_may_lie_far_off_its_middle(good):
    """A face of 80 pixels in a corner: calibration keeps what is about it, and the principal point as it was."""
    scene = scenes.open(good)
    view = scene.views[1]
    intrinsics = view.camera.intrinsics.copy()
    intrinsics[:2, 2] -= 2.2 * view.camera.width
    moved = Camera(intrinsics, view.camera.world_from_camera, view.camera.width, view.camera.height)
    views = (scene.views[0], View(1, view.name, moved, view.image_path, view.mask_path))
    with pytest.raises(SceneError, match=r"principal point .* far outside"):
        _checked_camera(replace(scene, views=views), views[1])
    assert _checked_camera(replace(scene, views=views, body_ignored=True), views[1]) is views[1].camera
