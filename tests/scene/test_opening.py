import numpy as np
import pytest

from recon import scene as scenes
from recon.errors import SceneError
from tests.support.scenes import SCALE_MAT, make_h3ds, make_idr, sphere_mask


@pytest.fixture(autouse=True)
def no_root(monkeypatch):
    monkeypatch.delenv("H3DS_ROOT", raising=False)


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["a.png", "b.png", "c.png"], ["a.png", "b.png", "c.png"]),
        (["000.PNG", "001.PNG", "002.PNG"], ["000000.png", "000001.png", "000002.png"]),
        (["rgb_03.jpeg", "rgb_07.jpeg", "rgb_11.jpeg"], ["m03.png", "m07.png", "m11.png"]),
        (["front.png", "left.png", "right.png"], ["front_mask.png", "left_mask.png", "right_mask.png"]),
        (["a.jpg", "b.jpg"], ["a.jpg.png", "B.PNG"]),
    ],
)
def test_idr_layout_with_names_of_any_pattern(tmp_path, images, masks):
    cameras = make_idr(tmp_path / "scan", images, masks)
    scene = scenes.open(tmp_path / "scan")
    assert [view.name for view in scene.views] == [name.split(".")[0] for name in images]
    assert [view.mask_path.name for view in scene.views] == masks
    np.testing.assert_array_equal(scene.scale_mat, SCALE_MAT)
    for view, camera in zip(scene.views, cameras, strict=True):
        np.testing.assert_allclose(view.camera.projection, camera.projection, atol=1e-8)
        np.testing.assert_array_equal(view.mask(), sphere_mask(camera))
    assert scene.default_views == {}
    assert scene.ground_truth is None


@pytest.mark.parametrize(
    ("images", "masks", "expected"),
    [
        (["a.png", "b.png"], ["a.png", "b.png"], "b.png"),
        (["000.png", "001.png"], ["0000.png", "0001.png"], "0001.png"),
        (["i1.png", "i2.png"], ["m_1_x.png", "m_2_x.png"], "m_2_x.png"),
    ],
)
def test_a_missing_idr_mask_stays_missing(tmp_path, images, masks, expected):
    make_idr(tmp_path / "scan", images, masks)
    (tmp_path / "scan" / "mask" / masks[1]).unlink()
    scene = scenes.open(tmp_path / "scan")
    assert scene.views[0].mask().any()
    assert scene.views[1].mask_path.name == expected
    assert scene.available() == [0]
    with pytest.raises(SceneError, match=f"{expected} is missing"):
        scene.views[1].mask()


def test_masks_that_cannot_be_paired_are_an_error(tmp_path):
    make_idr(tmp_path / "scan", ["p.png", "q.png"], ["x.png", "y.png"])
    with pytest.raises(SceneError, match="2 masks for 2 images and their names do not pair"):
        scenes.open(tmp_path / "scan")
    (tmp_path / "scan" / "mask" / "y.png").unlink()
    with pytest.raises(SceneError, match="1 masks for 2 images"):
        scenes.open(tmp_path / "scan")


def test_counts_of_cameras_and_images(tmp_path):
    make_idr(tmp_path / "scan", ["a.png", "b.png", "c.png"], ["a.png", "b.png", "c.png"])
    (tmp_path / "scan" / "image" / "a.png").rename(tmp_path / "a.png")
    with pytest.raises(SceneError, match="3 cameras for 2 images"):
        scenes.open(tmp_path / "scan")
    (tmp_path / "a.png").rename(tmp_path / "scan" / "image" / "d.png")
    stored = dict(np.load(tmp_path / "scan" / "cameras.npz"))
    del stored["world_mat_2"]
    np.savez(tmp_path / "scan" / "cameras.npz", **stored)
    with pytest.raises(SceneError, match=r"2 cameras for 3 images .*name each image by the number"):
        scenes.open(tmp_path / "scan")


def test_an_order_of_numbers_that_is_not_the_alphabetical_one_is_refused(tmp_path):
    make_idr(tmp_path / "scan", ["10.png", "9.png"], ["10.png", "9.png"])
    with pytest.raises(SceneError, match="Pad the numbers with zeros"):
        scenes.open(tmp_path / "scan")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale_mat_0": None}, "has no scale_mat_0: add"),
        ({"scale_mat_0": np.full((4, 4), np.nan)}, "must be a finite similarity"),
        ({"scale_mat_0": np.diag([1.0, 2, 1, 1])}, "must be a finite similarity"),
        ({"scale_mat_0": np.diag([-1.0, 1, 1, 1])}, "must be a finite similarity"),
        ({"scale_mat_0": np.eye(3)}, "must be a 4x4 matrix"),
    ],
)
def test_unusable_scale_mat(tmp_path, change, words):
    folder = make_h3ds(tmp_path)
    stored = {name: array for name, array in np.load(folder / "cameras.npz").items()} | change
    np.savez(folder / "cameras.npz", **{name: array for name, array in stored.items() if array is not None})
    with pytest.raises(SceneError, match=words) as error:
        scenes.open(folder)
    assert "cameras.npz" in str(error.value)


def test_a_broken_camera_spares_the_others(tmp_path):
    folder = make_h3ds(tmp_path)
    stored = dict(np.load(folder / "cameras.npz"))
    stored["world_mat_1"] = np.full((4, 4), np.nan)
    stored["world_mat_2"] = np.eye(2)
    np.savez(folder / "cameras.npz", **stored)
    scene = scenes.open(folder)
    assert scene.views[0].camera.width == 96
    with pytest.raises(SceneError, match=r"world_mat_1: .*NaN"):
        _ = scene.views[1].camera
    with pytest.raises(SceneError, match="world_mat_2 must be a 3x4 or 4x4"):
        _ = scene.views[2].camera


@pytest.mark.parametrize("content", [None, b"", b"not a zip", b"PK\x03\x04broken"])
def test_missing_or_broken_camera_file(tmp_path, content):
    folder = make_h3ds(tmp_path)
    if content is None:
        (folder / "cameras.npz").unlink()
    else:
        (folder / "cameras.npz").write_bytes(content)
    with pytest.raises(SceneError, match=r"cameras.npz"):
        scenes.open(folder)


def test_ids_need_a_root(tmp_path, monkeypatch):
    make_h3ds(tmp_path, "1b2a8613401e42a8")
    with pytest.raises(SceneError, match=r"an H3DS scene; .*H3DS_ROOT"):
        scenes.open("1b2a8613401e42a8")
    monkeypatch.setenv("H3DS_ROOT", str(tmp_path))
    assert scenes.open("1b2a8613401e42a8").default_views == {3: (0, 1, 2)}
    with pytest.raises(SceneError, match="this copy of the data set lacks it"):
        scenes.open("3b5a2eb92a501d54")
    with pytest.raises(SceneError, match="did you mean 1b2a8613401e42a8"):
        scenes.open("1b2a8613401e42a9")
    with pytest.raises(SceneError, match=r"root .*nowhere does not exist"):
        scenes.open("1b2a8613401e42a8", h3ds_root=tmp_path / "nowhere")


def test_ids_of_the_published_set_bring_their_lists(tmp_path):
    folder = make_h3ds(tmp_path, "1b2a8613401e42a8")
    (tmp_path / "config.toml").unlink()
    (tmp_path / "version.txt").write_text("0.2\n")
    scene = scenes.open(folder)
    assert scene.version == "0.2"
    assert scene.default_views[3] == (0, 18, 65)
    assert sorted(scene.default_views) == [3, 4, 8, 16, 32]
    (tmp_path / "version.txt").write_text("0.4\n")
    assert sorted(scenes.open(folder).default_views) == [1, 3, 4, 6, 8, 16, 32]


def test_errors_say_what_was_looked_for(tmp_path):
    make_h3ds(tmp_path, "ball")
    with pytest.raises(SceneError, match="folder of 1 scenes: name one of them"):
        scenes.open(tmp_path)
    with pytest.raises(SceneError, match="did you mean ball"):
        scenes.open(tmp_path / "bal")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        SceneError, match=r"H3DS: cameras.npz \(missing\), image.*; IDR, DTU: cameras.npz \(missing\)"
    ):
        scenes.open(tmp_path / "empty")
    with pytest.raises(SceneError, match="is a file"):
        scenes.open(tmp_path / "version.txt")
    (tmp_path / "config.toml").write_text("version = [")
    with pytest.raises(SceneError, match="not valid toml"):
        scenes.open(tmp_path / "ball")
    (tmp_path / "config.toml").write_text("[scenes.ball.default_views_configs]\nthree = [1]")
    with pytest.raises(SceneError, match=r"default_views_configs.three"):
        scenes.open(tmp_path / "ball")
