"""The seam of scene formats: a new one is a reader and an entry in `READERS`."""

import json

import numpy as np
import pytest
from PIL import Image

from recon import scene as scenes
from recon.errors import SceneError
from recon.scene import Camera, CameraSource, Scene, View, readers
from tests.support.scenes import SCALE_MAT, make_h3ds, make_idr, orbit_camera, sphere_mask


class InlineReader:
    """A toy format: `scene.json` with cameras in it, and pictures named there."""

    name = "inline"
    looked_for = ("scene.json",)

    def matches(self, folder):
        return (folder / "scene.json").is_file()

    def read(self, folder, *, pixel_centre=None):
        path = folder / "scene.json"
        table = json.loads(path.read_text())
        offset = 0.5 - (0.5 if pixel_centre is None else pixel_centre)
        views = []
        for number, entry in enumerate(table["photographs"]):
            intrinsics = np.array(entry["intrinsics"])
            intrinsics[:2, 2] += offset
            camera = Camera(intrinsics, np.array(entry["world_from_camera"]), *entry["size"])
            picture = folder / entry["picture"]
            views.append(View(number, picture.stem, camera, picture, folder / entry["cutout"]))
        source = CameraSource(path, "photographs[{index}]", "world_from_unit")
        matrix = np.array(table["world_from_unit"])
        return Scene(folder.name, folder, tuple(views), matrix, camera_source=source)


def write_inline(folder, azimuths=(0, 40, -40)):
    folder.mkdir(parents=True)
    photographs = []
    for number, azimuth in enumerate(azimuths):
        camera = orbit_camera(azimuth, 5.0 * (number % 2))
        mask = sphere_mask(camera).astype(np.uint8) * 255
        picture, cutout = f"pose{number}.png", f"pose{number}.cutout.png"
        Image.fromarray(mask).convert("RGB").save(folder / picture)
        Image.fromarray(mask).save(folder / cutout)
        photographs.append(
            {
                "picture": picture,
                "cutout": cutout,
                "size": [camera.width, camera.height],
                "intrinsics": camera.intrinsics.tolist(),
                "world_from_camera": camera.world_from_camera.tolist(),
            }
        )
    table = {"photographs": photographs, "world_from_unit": SCALE_MAT.tolist()}
    (folder / "scene.json").write_text(json.dumps(table))
    return folder


def change(folder, edit):
    table = json.loads((folder / "scene.json").read_text())
    edit(table)
    (folder / "scene.json").write_text(json.dumps(table))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "READERS", (*readers.READERS, InlineReader()))
    return write_inline(tmp_path / "set" / "ann")


def test_readers_keep_the_protocol():
    for reader in (*readers.READERS, InlineReader()):
        assert isinstance(reader, readers.SceneReader)
        assert reader.name and reader.looked_for


@pytest.mark.parametrize("reader", readers.READERS, ids=lambda reader: reader.name)
def test_what_a_reader_looks_for_is_what_its_scenes_have(tmp_path, reader):
    folders = {"H3DS": make_h3ds(tmp_path), "IDR, DTU": tmp_path / "scan"}
    make_idr(folders["IDR, DTU"], ["a.png", "b.png"], ["a.png", "b.png"])
    folder = folders[reader.name]
    assert readers.reader_of(folder) is reader
    for pattern in reader.looked_for:
        assert any(folder.glob(pattern))


def test_the_published_layouts_are_told_apart_although_one_holds_the_other(tmp_path):
    folder = make_h3ds(tmp_path)
    assert [reader.matches(folder) for reader in readers.READERS] == [True, True]
    assert readers.reader_of(folder).name == "H3DS"


def test_a_new_format_opens_and_is_valid(folder):
    scene = scenes.open(folder)
    assert [view.name for view in scene.views] == ["pose0", "pose1", "pose2"]
    assert scene.available() == [0, 1, 2]
    scenes.validate(scene)
    assert scenes.problems(scene) == []
    np.testing.assert_array_equal(
        scenes.open(folder, pixel_centre=0.0).views[0].camera.intrinsics[:2, 2],
        scene.views[0].camera.intrinsics[:2, 2] + 0.5,
    )


def test_errors_name_the_new_formats_pictures(folder):
    (folder / "pose1.cutout.png").unlink()
    with pytest.raises(SceneError, match=r"mask .*/ann/pose1\.cutout\.png is missing"):
        scenes.validate(scenes.open(folder))
    (folder / "pose1.cutout.png").write_text("no picture")
    with pytest.raises(SceneError, match=r"/ann/pose1\.cutout\.png cannot be read"):
        scenes.validate(scenes.open(folder))


def turn_away(table):
    table["photographs"][1]["world_from_camera"] = (np.diag([-1.0, 1, -1, 1])).tolist()


def mirror(table):
    table["photographs"][1]["intrinsics"][0][0] *= -1


def shrink(table):
    table["world_from_unit"] = (SCALE_MAT * [[0.1], [0.1], [0.1], [1]]).tolist()


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (turn_away, r"ann/scene\.json, photographs\[1\]"),
        (mirror, r"ann/scene\.json, photographs\[1\] is mirrored"),
        (shrink, r"world_from_unit in .*ann/scene\.json must take the unit sphere"),
    ],
)
def test_errors_name_the_new_formats_cameras(folder, edit, words):
    change(folder, edit)
    with pytest.raises(SceneError, match=words) as error:
        scenes.validate(scenes.open(folder))
    assert "npz" not in str(error.value) and "scale_mat" not in str(error.value)


def test_masks_that_disagree_name_the_new_formats_camera(folder):
    mask = sphere_mask(orbit_camera(-40), radius=40, centre=SCALE_MAT[:3, 3] + np.array([0, 75.0, 0]))
    Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "pose2.cutout.png")
    with pytest.raises(
        SceneError, match=r"view 2 disagrees.*scene\.json, photographs\[2\] belongs to another"
    ):
        scenes.validate(scenes.open(folder))


def test_errors_about_unknown_folders_list_the_new_format(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        SceneError, match=r"H3DS: .*; IDR, DTU: .*; inline: scene\.json \(missing\)\. A folder of photographs"
    ):
        scenes.open(tmp_path / "empty")
    with pytest.raises(SceneError, match=r"folder of 1 scenes: name one of them, for instance .*/ann"):
        scenes.open(folder.parent)
    with pytest.raises(SceneError, match="did you mean ann"):
        scenes.open(folder.parent / "anm")
    with pytest.raises(SceneError, match=r"is a file: a scene is a folder with .*scene\.json \(inline\)"):
        scenes.open(folder / "scene.json")
