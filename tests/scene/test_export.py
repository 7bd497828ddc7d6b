import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from recon import scene as scenes
from recon.errors import SceneError
from recon.scene import Camera, View
from recon.scene.export import export_colmap, export_idr, export_nerfstudio
from tests.support.scenes import CENTRE, SCALE_MAT, make_h3ds, sphere_mesh

POINTS = np.asarray(sphere_mesh().vertices)[::7]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return scenes.open(make_h3ds(tmp_path_factory.mktemp("made")))


def test_idr_layout_comes_back(scene, tmp_path):
    folder = export_idr(scene, tmp_path / "out", [3, 0, 3])
    back = scenes.open(folder)
    np.testing.assert_array_equal(back.scale_mat, SCALE_MAT)
    assert len(back.views) == 2
    for view, original in zip(back.views, (scene.views[3], scene.views[0]), strict=True):
        np.testing.assert_allclose(
            view.camera.project(POINTS)[0], original.camera.project(POINTS)[0], atol=1e-8
        )
        np.testing.assert_array_equal(view.mask(), original.mask())
        np.testing.assert_allclose(view.image(), original.image(), atol=1e-6)
    # As NeuS and IDR use it: P = world_mat scale_mat takes unit points to integer-centred pixels.
    stored = np.load(folder / "cameras_sphere.npz")
    P = (stored["world_mat_0"] @ stored["scale_mat_0"])[:3]
    unit = np.hstack([(POINTS - CENTRE) / 130, np.ones((len(POINTS), 1))])
    pixels = unit @ P.T
    expected = scene.views[3].camera.project(POINTS)[0] - 0.5
    np.testing.assert_allclose(pixels[:, :2] / pixels[:, 2:], expected, atol=1e-8)


@pytest.mark.parametrize("unit", [False, True])
def test_colmap_model_projects_alike(scene, tmp_path, unit):
    folder = export_colmap(scene, tmp_path / "out", unit=unit)
    points = (POINTS - CENTRE) / 130 if unit else POINTS
    cameras = {}
    for line in (folder / "sparse/0/cameras.txt").read_text().splitlines():
        if line[0] != "#":
            number, model, width, height, *parameters = line.split()
            assert model == "PINHOLE"
            assert (width, height) == ("96", "96")
            cameras[number] = [float(value) for value in parameters]
    lines = [line for line in (folder / "sparse/0/images.txt").read_text().split("\n") if line[:1] != "#"]
    assert lines[1::2][:5] == [""] * 5  # the lines of points
    for line, view in zip(lines[0:10:2], scene.views, strict=True):
        number, w, x, y, z, *translation, camera, name = line.split()
        w, x, y, z = (float(value) for value in (w, x, y, z))
        # Rotation of a unit quaternion, written out.
        R = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        local = points @ R.T + np.array([float(value) for value in translation])
        fx, fy, cx, cy = cameras[camera]
        pixels = local[:, :2] / local[:, 2:] * [fx, fy] + [cx, cy]
        np.testing.assert_allclose(pixels, view.camera.project(POINTS)[0], atol=1e-7)
        assert (folder / "images" / name).read_bytes() == view.image_path.read_bytes()
        mask = np.asarray(Image.open(folder / "masks" / f"{name}.png"))
        np.testing.assert_array_equal(mask == 255, view.mask())


@pytest.mark.parametrize("unit", [False, True])
def test_nerfstudio_projects_alike(scene, tmp_path, unit):
    folder = export_nerfstudio(scene, tmp_path / "out", [1, 4], unit=unit)
    description = json.loads((folder / "transforms.json").read_text())
    points = (POINTS - CENTRE) / 130 if unit else POINTS
    assert len(description["frames"]) == 2
    for frame, view in zip(description["frames"], (scene.views[1], scene.views[4]), strict=True):
        pose = np.array(frame["transform_matrix"])
        local = np.linalg.solve(pose, np.hstack([points, np.ones((len(points), 1))]).T)[:3]
        assert (local[2] < 0).all()  # OpenGL cameras look along -z
        u = frame["cx"] + frame["fl_x"] * local[0] / -local[2]
        v = frame["cy"] - frame["fl_y"] * local[1] / -local[2]
        np.testing.assert_allclose(np.stack([u, v], axis=1), view.camera.project(POINTS)[0], atol=1e-7)
        assert (frame["w"], frame["h"]) == (96, 96)
        assert (folder / frame["file_path"]).is_file()
        mask = np.asarray(Image.open(folder / frame["mask_path"]))
        np.testing.assert_array_equal(mask == 255, view.mask())


@pytest.mark.parametrize("export", [export_colmap, export_nerfstudio])
def test_skew_is_refused_where_the_format_has_none(scene, tmp_path, export):
    view = scene.views[0]
    K = view.camera.intrinsics.copy()
    K[0, 1] = 2.0
    skewed = View(
        0, view.name, Camera(K, view.camera.world_from_camera, 96, 96), view.image_path, view.mask_path
    )
    with pytest.raises(SceneError, match="skew"):
        export(replace(scene, views=(skewed,)), tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_used_folder_is_left_alone(scene, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(SceneError, match="not an empty folder"):
        export_idr(scene, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_partial_copies_export_what_is_there(tmp_path):
    folder = make_h3ds(tmp_path / "made")
    (folder / "mask" / "mask_0001.png").unlink()
    assert len(scenes.open(export_idr(scenes.open(folder), tmp_path / "out")).views) == 4
