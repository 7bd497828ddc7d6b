"""Ignored pixels (a bar before the ball), and landmarks in photographs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recon import scene as scenes
from recon.errors import SceneError
from recon.scene.export import export_colmap, export_idr, export_nerfstudio
from recon.scene.sheet import contact_sheet
from tests.support.scenes import SIZE, make_h3ds, make_idr, orbit_camera, sphere_mask


def bar(first: int, last: int) -> np.ndarray:
    pixels = np.zeros((SIZE, SIZE), dtype=bool)
    pixels[:, first:last] = True
    return pixels


BAR = bar(55, 70)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_h3ds(tmp_path_factory.mktemp("made"), ignored={1: BAR, 3: ~BAR})


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "ball"))


def put(folder: Path, name: str, pixels: np.ndarray) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / name)


def test_h3ds_scenes_keep_ignored_pixels(made):
    views = scenes.open(made).views
    np.testing.assert_array_equal(views[1].ignored(), BAR)
    np.testing.assert_array_equal(views[3].ignored(), ~BAR)
    for index in (0, 2, 4):
        assert views[index].ignored().shape == (SIZE, SIZE) and not views[index].ignored().any()
    # what the mask says there stays readable
    np.testing.assert_array_equal(views[1].mask(), sphere_mask(orbit_camera(40, 5)))
    assert sorted(path.name for path in (made / "ignore").iterdir()) == ["mask_0001.png", "mask_0003.png"]


def test_scenes_without_ignored_pixels_have_no_such_folder(tmp_path):
    assert not (make_h3ds(tmp_path) / "ignore").exists()


@pytest.mark.parametrize("name", ["m_1.png", "m_1.bmp"])
def test_idr_scenes_read_ignored_pixels_by_the_name_of_the_mask(tmp_path, name):
    make_idr(tmp_path / "scan", ["i0.png", "i1.png"], ["m_0.png", "m_1.png"])
    put(tmp_path / "scan", f"ignore/{name}", BAR.astype(np.uint8) * 255)
    views = scenes.open(tmp_path / "scan").views
    np.testing.assert_array_equal(views[1].ignored(), BAR)
    assert not views[0].ignored().any()


@pytest.mark.parametrize("layout", ["h3ds", "idr"])
def test_ignored_pixels_of_no_mask_are_refused(tmp_path, layout):
    if layout == "h3ds":
        folder, mask = make_h3ds(tmp_path), r"mask_0000\.png"
    else:
        make_idr(tmp_path / "scan", ["i0.png"], ["m_0.png"])
        folder, mask = tmp_path / "scan", r"m_0\.png"
    put(folder, "ignore/hand.png", BAR)
    with pytest.raises(
        SceneError, match=rf"hand\.png has the name of no mask.*ignore/{mask} for .*mask/{mask}"
    ):
        scenes.open(folder)


def test_a_transparent_layer_with_the_hand_painted_in_it_will_do(folder):
    layer = np.zeros((SIZE, SIZE, 4), np.uint8)
    layer[BAR] = [200, 0, 0, 255]
    put(folder, "ignore/mask_0000.png", layer)
    np.testing.assert_array_equal(scenes.open(folder).views[0].ignored(), BAR)


@pytest.mark.parametrize("width", [1, 12])
def test_grey_edges_of_masks_are_never_ignored(tmp_path, width):
    folder = make_h3ds(tmp_path)
    grey = np.zeros((SIZE, SIZE), np.uint8)
    grey[:, 40:] = 255
    grey[:, 40 - width : 40] = 100
    grey[:, 40 : 40 + width] = 128
    put(folder, "mask/mask_0000.png", grey)
    view = scenes.open(folder).views[0]
    np.testing.assert_array_equal(view.mask(), bar(40, SIZE))
    assert not view.ignored().any()


BALL = sphere_mask(orbit_camera(40, 5))
WRONG = {
    "size": (np.zeros((48, 48), bool), r"is 48x48, but its mask is 96x96"),
    "everything": (np.ones((SIZE, SIZE), bool), "ignores the whole picture"),
    "the head": (BALL, "ignores the whole head"),
    "all but the head": (~BALL, "ignores all around the head"),
    "nearly all": (~bar(40, 50), r"leaves 1\d% of what may be the head: paint white only"),
}


@pytest.mark.parametrize("name", WRONG)
def test_ignoring_too_much_is_one_clear_problem(folder, name):
    pixels, words = WRONG[name]
    put(folder, "ignore/mask_0001.png", pixels)
    scene = scenes.open(folder)
    with pytest.raises(SceneError, match=rf"ignore/mask_0001\.png .*{words}"):
        scenes.validate(scene, [0, 1, 2])
    scenes.validate(scene, [0, 2])


def test_a_broken_picture_of_ignored_pixels_is_a_problem(folder):
    (folder / "ignore/mask_0001.png").write_text("no picture")
    with pytest.raises(SceneError, match=r"ignore/mask_0001\.png cannot be read"):
        scenes.validate(scenes.open(folder), [1])


def test_ignoring_much_is_only_a_warning(folder, caplog):
    put(folder, "ignore/mask_0001.png", bar(50, SIZE))
    scenes.validate(scenes.open(folder), [0, 1, 2])
    assert "% of what may be the head" in caplog.text


def test_a_body_that_calibration_ignores_is_no_fault(folder, caplog):
    put(folder, "ignore/mask_0001.png", bar(50, SIZE))
    (folder.parent / "version.txt").write_text("photographs-1\n")
    scene = scenes.open(folder)
    assert scene.body_ignored
    scenes.validate(scene, [0, 1, 2])
    assert not caplog.records
    put(folder, "ignore/mask_0001.png", ~bar(40, 50))
    with pytest.raises(SceneError, match="of what may be the head"):
        scenes.validate(scene, [0, 1, 2])


def test_a_head_of_which_the_greater_part_is_occluded_does_not_contradict_the_other_views(tmp_path):
    folder = make_h3ds(tmp_path)
    hand = bar(42, 90).T  # over about two thirds of the ball in view 2, cut out of its mask
    mask = sphere_mask(orbit_camera(-40)) & ~hand
    put(folder, "mask/mask_0002.png", mask.astype(np.uint8) * 255)
    with pytest.raises(SceneError, match="view 2 disagrees"):
        scenes.validate(scenes.open(folder))
    put(folder, "ignore/mask_0002.png", hand)
    scenes.validate(scenes.open(folder))


def test_idr_export_carries_ignored_pixels_over(made, tmp_path):
    back = scenes.open(export_idr(scenes.open(made), tmp_path / "out", [0, 1])).views
    np.testing.assert_array_equal(back[1].ignored(), BAR)
    np.testing.assert_array_equal(back[1].mask(), BALL)
    assert not back[0].ignored().any()
    assert [path.name for path in (tmp_path / "out" / "ignore").iterdir()] == ["001.png"]


@pytest.mark.parametrize("export", [export_colmap, export_nerfstudio])
def test_formats_without_a_third_state_mask_ignored_pixels_out(made, tmp_path, export):
    folder = export(scenes.open(made), tmp_path / "out", [1])
    (path,) = (folder / "masks").iterdir()
    np.testing.assert_array_equal(np.asarray(Image.open(path)) == 255, BALL & ~BAR)


def test_the_sheet_tints_ignored_pixels(made):
    scene = scenes.open(made)
    marked = np.asarray(contact_sheet(scene, [1], tile=SIZE)).astype(int)
    view = scene.views[1]
    view.ignore_path = None
    plain = np.asarray(contact_sheet(replace(scene, views=(scene.views[0], view)), [1], tile=SIZE)).astype(
        int
    )
    changed = (marked != plain).any(axis=2)
    assert changed[BAR].mean() > 0.95 and not changed[~BAR].any()


@pytest.mark.parametrize(
    ("ignored", "words"),
    [
        ({5: BAR}, "view 5: .*one of 5 views"),
        ({1: BAR[:50]}, r"view 1: .*\(96, 96\).*got bool of \(50, 96\)"),
        ({1: BAR * 1.0}, "view 1: .*got float64"),
    ],
)
def test_the_writer_refuses_wrong_ignored_pixels(tmp_path, ignored, words):
    with pytest.raises(SceneError, match=words):
        make_h3ds(tmp_path, ignored=ignored)


def put_landmarks(folder: Path, name: str, content: object) -> Path:
    path = folder / "landmarks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_landmarks_belong_to_the_photograph_of_their_name_and_are_exported(folder, tmp_path):
    put_landmarks(folder, "img_0001.json", {"nose_tip": [40.25, 31], "landmark_08": [0, SIZE]})
    views = scenes.open(folder).views
    found = views[1].landmarks()
    assert list(found) == ["nose_tip", "landmark_08"]
    np.testing.assert_array_equal(found["nose_tip"], [40.25, 31.0])
    assert views[0].landmarks() == {}
    export_idr(scenes.open(folder), tmp_path / "idr")
    again = [view.landmarks() for view in scenes.open(tmp_path / "idr").views]
    assert list(again[1]) == list(found) and not any(again[:1] + again[2:])
    np.testing.assert_array_equal(again[1]["nose_tip"], found["nose_tip"])


def test_idr_scenes_have_landmarks_by_the_names_of_their_images(tmp_path):
    make_idr(tmp_path / "scan", ["a.png", "b.png"], ["mask_a.png", "mask_b.png"])
    put_landmarks(tmp_path / "scan", "b.json", {"left_eye": [3.0, 4.0]})
    views = scenes.open(tmp_path / "scan").views
    assert [len(view.landmarks()) for view in views] == [0, 1]


def test_landmarks_of_no_photograph_are_refused(folder):
    put_landmarks(folder, "img_0099.json", {})
    with pytest.raises(SceneError, match=r"img_0099.json has the name of no photograph.*img_0000"):
        scenes.open(folder)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "expected"),
        ([1, 2], "expected"),
        ({"nose_tip": ["a", 2]}, "expected"),
        ({"nose_tip": [1, 2, 3]}, "expected \\[x, y\\]"),
        ({"nose_tip": [-1.0, 2.0]}, "inside the photograph"),
        ({"nose_tip": [1.0, SIZE + 0.5]}, "inside the photograph"),
        ('{"nose_tip": [NaN, 1]}', "inside the photograph"),
    ],
)
def test_bad_files_of_landmarks_are_refused_by_name(folder, content, says):
    put_landmarks(folder, "img_0000.json", content)
    with pytest.raises(SceneError, match=says) as refused:
        scenes.open(folder).views[0].landmarks()
    assert "img_0000.json" in str(refused.value)
    assert any("img_0000.json" in str(problem) for problem in scenes.problems(scenes.open(folder), [0]))
