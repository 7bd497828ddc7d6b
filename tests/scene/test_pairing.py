"""Photographs, masks, cameras and annotations find each other by one rule, and what is not used is named."""

import codecs
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recon import scene as scenes
from recon.errors import SceneError
from recon.scene.pairing import number_of, partners, renumbered, stem_of
from tests.support.scenes import LANDMARKS, make_h3ds, make_idr, orbit_camera, sphere_mask

APPLEDOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X\xff\xfe"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_h3ds(tmp_path_factory.mktemp("made"))


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "ball"))


def agree(scene, view, camera):
    """Whether camera and mask of a view are those of one known camera."""
    np.testing.assert_allclose(scene.views[view].camera.projection, camera.projection, atol=1e-8)
    np.testing.assert_array_equal(scene.views[view].mask(), sphere_mask(camera))


@pytest.mark.parametrize(
    ("name", "stem", "number"),
    [
        ("img_00010.JPG", "img_00010", 10),
        ("Front.jpg.png", "front", None),
        ("left_mask.png", "left", None),
        ("mask_0007.png", "0007", 7),
        ("cam2_0003.png", "cam2_0003", 3),
    ],
)
def test_names_and_numbers(name, stem, number):
    assert (stem_of(Path(name)), number_of(Path(name))) == (stem, number)


def test_a_name_goes_before_a_number_and_two_of_one_are_refused():
    images = [Path("img_01.jpg"), Path("img_02.jpg"), Path("left.jpg")]
    masks = [Path("img_01.png"), Path("m2.png"), Path("left.png")]
    assert partners(images, masks, "masks") == dict(zip(images, masks, strict=True))
    with pytest.raises(SceneError, match=r"img_01\.png and x1\.png are both masks of img_01\.jpg"):
        partners(images, [*masks, Path("x1.png")], "masks")
    several = [Path("a_512.jpg"), Path("b_512.jpg")]  # a number of both is the number of neither
    assert partners(several, [Path("c_512.png")], "masks") == {}
    assert renumbered(Path("mask_007.png"), 12) == Path("mask_012.png")


@pytest.mark.parametrize("ending", ["png", "JPG"])
def test_numbers_count_as_numbers_where_names_are_not_padded(tmp_path, ending):
    numbers = range(12)
    names = [f"img_000{n}.{ending}" for n in numbers]
    cameras = make_idr(tmp_path / "scan", names, [f"mask_000{n}.png" for n in numbers])
    scene = scenes.open(tmp_path / "scan")
    assert scene.available() == list(numbers)
    for n in (1, 2, 10, 11):
        assert scene.views[n].image_path.name == f"img_000{n}.{ending}"
        agree(scene, n, cameras[n])


def test_names_do_not_decide_by_their_ending_what_a_folder_is(folder, caplog):
    for number, ending in enumerate((".JPG", ".jpeg", ".png")):
        path = folder / f"image/img_{number:04d}.jpg"
        Image.open(path).save(folder / f"other{ending}")
        path.unlink()
        (folder / f"other{ending}").rename(path.with_suffix(ending))
    scene = scenes.open(folder)
    assert scene.available() == [0, 1, 2, 3, 4]
    assert scene.ground_truth is not None and scene.ground_truth.landmarks == LANDMARKS
    agree(scene, 2, orbit_camera(-40))
    assert not caplog.text


def test_a_ground_truth_is_used_whatever_photographs_are_called(tmp_path, folder):
    make_idr(tmp_path / "scan", ["a.png", "b.png"], ["a.png", "b.png"])
    shutil.copy(folder / "full_head.obj", tmp_path / "scan")
    assert scenes.open(tmp_path / "scan").ground_truth is not None


def test_some_of_the_photographs_keep_their_cameras(tmp_path, caplog):
    names = [f"{n:02d}.png" for n in range(6)]
    cameras = make_idr(tmp_path / "scan", names, names)
    for n in (0, 1, 4):
        (tmp_path / "scan/image" / names[n]).unlink()
    scene = scenes.open(tmp_path / "scan")
    assert scene.available() == [2, 3, 5]
    agree(scene, 5, cameras[5])
    assert "mask: not used" not in caplog.text  # their photographs may come yet: they are views of the scene


def test_photographs_from_1_have_the_cameras_from_0(tmp_path):
    names = ["1.png", "2.png", "3.png"]
    cameras = make_idr(tmp_path / "scan", names, names)
    scene = scenes.open(tmp_path / "scan")
    agree(scene, 0, cameras[0])
    agree(scene, 2, cameras[2])


def test_every_file_that_is_not_used_is_named(tmp_path, caplog):
    names = [f"{n}.png" for n in range(3)]
    scan = tmp_path / "scan"
    make_idr(scan, names, names)
    shutil.copy(scan / "image/0.png", scan / "image/7.png")
    shutil.copy(scan / "mask/0.png", scan / "mask/99.png")
    (scan / "image/4.heic").write_bytes(b"")
    (scan / "image/Thumbs.db").write_bytes(b"")
    (scan / "images").mkdir()
    assert len(scenes.open(scan).views) == 3
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 4
    for words in (
        "images (image/ is)",
        "4.heic (expected",
        "7.png (cameras.npz has no camera",
        "99.png (no photograph",
    ):
        assert sum(words in line for line in lines) == 1, words


@pytest.mark.parametrize("place", ["image/img_0001.PNG", "mask/MASK_0001.jpg"])
def test_two_pictures_of_one_name_are_refused(folder, place):
    Image.new("L", (96, 96)).save(folder / place)
    with pytest.raises(
        SceneError, match=rf"{place.split('/')[0]}/.*_0001\..* have the same name but for the ending"
    ):
        scenes.open(folder)


def test_hidden_files_of_a_mac_are_passed_over_everywhere(folder, caplog):
    (folder / "landmarks").mkdir()
    (folder / "landmarks/img_0000.json").write_text("{}")
    (folder / "ignore").mkdir()
    for place in (
        "image/._img_0000.jpg", "mask/._mask_0000.png", "regions/._face.txt", "landmarks/._img_0000.json",
        "ignore/._mask_0000.png", "._cameras.npz", "._full_head.obj",
    ):  # fmt: skip
        (folder / place).write_bytes(APPLEDOUBLE)
    (folder.parent / "._ball").write_bytes(APPLEDOUBLE)
    scene = scenes.open(folder)
    assert scenes.problems(scene) == []
    assert scene.ground_truth.regions() == ["face", "face_sphere", "nose"]
    assert not caplog.text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_mean_nothing(folder, tmp_path, encoding):
    (tmp_path / "version.txt").write_text("0.4\n", encoding)
    (tmp_path / "config.toml").write_text("[scenes.ball.default_views_configs]\n2 = [1, 0]", encoding)
    (folder / "landmarks").mkdir()
    (folder / "landmarks/img_0000.JSON").write_text(json.dumps({"nose_tip": [3, 4]}), encoding)
    for name in ("landmarks.txt", "regions/face.txt"):
        (folder / name).write_text((folder / name).read_text(), encoding)
    (folder / "regions/nose.txt").rename(folder / "regions/nose.TXT")
    mesh = folder / "full_head.obj"
    count = len(scenes.open(folder).ground_truth.mesh().vertices)
    mesh.write_bytes(codecs.BOM_UTF8 + mesh.read_bytes())
    scene = scenes.open(folder)
    assert scenes.problems(scene) == []
    assert (scene.version, scene.default_views) == ("0.4", {2: (1, 0)})
    assert scene.views[0].landmarks()["nose_tip"].tolist() == [3, 4]
    truth = scene.ground_truth
    assert (truth.landmarks, truth.region("nose").tolist(), len(truth.mesh().vertices)) == (
        LANDMARKS,
        [0, 3],
        count,
    )
