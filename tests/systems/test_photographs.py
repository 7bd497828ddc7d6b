"""Plain photographs at the door of a run: what counts as such, and which views are taken."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps

from recon import scene as scenes
from recon.calibration import read_pose
from recon.errors import ConfigError, SceneError
from recon.perception.masks import mask_paths
from recon.perception.weights import NETWORKS, present
from recon.scene.export import export_idr
from recon.systems import config
from recon.systems.photographs import BACK_AGAIN, calibrated_scene, plain_photographs, with_masks
from recon.systems.stages import observe, open_scene, select_views
from tests.perception.conftest import drawn
from tests.support import ellipsoid
from tests.support.runs import ROOT, composed

config.register_resolvers()
DEMO = ROOT / "recon" / "assets" / "heads" / "demo"


def photographs(scene):
    return [path.name for path in plain_photographs(composed(f"scene={scene}"))]


def test_a_folder_of_pictures_is_photographs_in_their_natural_order(tmp_path):
    for number in (10, 9, 1):
        shutil.copy(DEMO / "image" / "img_0014.jpg", tmp_path / f"IMG_{number}.JPG")
    (tmp_path / "notes.txt").write_text("not a photograph")
    assert photographs(tmp_path) == ["IMG_1.JPG", "IMG_9.JPG", "IMG_10.JPG"]
    assert photographs(tmp_path / "IMG_9.JPG") == ["IMG_9.JPG"]


@pytest.mark.slow
def test_scenes_and_names_are_no_plain_photographs(tmp_path):
    assert photographs(DEMO) == photographs("demo") == photographs("nowhere") == []
    assert photographs(ellipsoid.write_idr_scene(tmp_path / "scene", 3)) == []


def test_what_is_no_folder_of_photographs_is_left_to_the_readers_and_their_errors(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("nothing to see")
    scenes_root = tmp_path / "root"
    scene = ellipsoid.write_idr_scene(scenes_root / "scene", 3)
    assert photographs(tmp_path / "notes") == photographs(scenes_root) == []
    (scene / "image").rename(scene / "pictures")
    shutil.copy(DEMO / "image" / "img_0014.jpg", scene / "sheet.jpg")
    assert photographs(scene) == []  # a scene that lacks its images, with a picture beside them


def test_two_photographs_of_one_stem_are_refused(tmp_path):
    for suffix in ("jpg", "png"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / f"a.{suffix}")
    with pytest.raises(SceneError, match=r"a\.(jpg|png)"):
        photographs(tmp_path)


def test_without_a_word_three_views_of_a_scene_are_taken_and_all_of_photographs(tmp_path):
    scene = scenes.open(ellipsoid.write_idr_scene(tmp_path / "scene", 5))
    assert len(select_views(scene, None)) == 3
    assert select_views(scene, None, all_by_default=True) == [0, 1, 2, 3, 4]
    assert select_views(scene, [4, 0]) == [4, 0]
    with pytest.raises(ConfigError, match="views=three"):
        select_views(scene, "three")


def test_the_pose_that_calibration_found_is_what_a_prior_begins_with(tmp_path):
    scene = scenes.open(ellipsoid.write_idr_scene(tmp_path / "scene", 3))
    assert observe(scene, [0, 1]).canonical_from_world is None
    pose = np.diag([2.0, 2.0, 2.0, 1.0])
    report = scene.root / "calibration.json"
    report.write_text(json.dumps({"canonical_from_world": pose.tolist()}))
    np.testing.assert_array_equal(observe(scene, [0, 1]).canonical_from_world, pose)
    report.write_text('{"canonical_from_world": [1, 2]}')
    with pytest.raises(SceneError, match=r"calibration.json cannot be read"):
        read_pose(scene.root)


def test_the_scene_that_is_made_has_the_name_of_the_folder_or_of_the_photograph(
    tmp_path, monkeypatch, caplog
):
    asked = []

    def made(cfg, photographs, out, *, overwrite):
        asked.append(out)
        scene = scenes.open(ellipsoid.write_idr_scene(out, 1))
        (out / "calibration.json").write_text('{"warnings": ["the face is blurred"]}')
        return SimpleNamespace(scene=scene)

    monkeypatch.setattr("recon.systems.photographs.calibrate", made)
    run = tmp_path / "run"
    mine = tmp_path / "Anna in May"
    mine.mkdir()
    (mine / "IMG 1.jpg").touch()
    for given, name in ((mine, "Anna_in_May"), (mine / "IMG 1.jpg", "IMG_1")):
        cfg = composed(f"scene='{given}'")
        assert calibrated_scene(cfg, [], run).name == name and asked[-1] == run / "scene" / name
    cfg.resume = str(run)
    assert calibrated_scene(cfg, [], run).name == "IMG_1" and len(asked) == 2
    assert caplog.messages == ["the face is blurred"]  # a resumed run says again what its start has said
    shutil.rmtree(run / "scene" / "IMG_1")
    (run / "scene" / "Anna_in_May").rename(run / "scene" / "photographs")  # as runs called it before
    assert calibrated_scene(cfg, [], run).name == "photographs" and len(asked) == 2


def test_masks_that_are_no_folder_are_named(tmp_path):
    with pytest.raises(SceneError, match=r"masks=.*expected auto, alpha, or a folder"):
        mask_paths(tmp_path / "none", [tmp_path / "a.jpg"])


def scene_without_masks(folder, masks=()):
    """Three views of the demo in the layout of IDR, with the masks of some."""
    exported = export_idr(scenes.open(DEMO), folder, [14, 9, 19])
    for number, path in enumerate(sorted((exported / "mask").iterdir())):
        if number not in masks:
            path.unlink()
    return exported


def prepared(scene, run, *options):
    cfg = composed(f"scene={scene}", "views=3", "perception=stand_in", *options)
    opened, views = open_scene(cfg)
    return with_masks(cfg, opened, views, run), views


def test_a_scene_without_masks_is_refused_with_the_option_that_makes_them(tmp_path):
    scene = scene_without_masks(tmp_path / "scan")
    with pytest.raises(
        SceneError, match=r"has 0 \(3 more lack .*masks=auto makes the masks that are missing"
    ):
        prepared(scene, tmp_path / "run")
    with pytest.raises(SceneError, match=r"mask .*\.png is missing.*masks=auto"):
        scenes.validate(scenes.open(scene), [0])


def test_missing_masks_are_made_where_asked_for_and_masks_that_are_there_stay(tmp_path, caplog):
    scene = scene_without_masks(tmp_path / "scan", masks=[1])
    before = sorted(path for path in scene.rglob("*"))
    with caplog.at_level("INFO"):
        made, views = prepared(scene, tmp_path / "run", "masks=auto")
    assert sorted(views) == [0, 1, 2] and sorted(path for path in scene.rglob("*")) == before
    assert made.views[1].mask_path == scenes.open(scene).views[1].mask_path
    said = [record.message for record in caplog.records if "masks=auto" in record.message]
    assert len(said) == 1 and "[0, 2]" in said[0] and str(tmp_path / "run") in said[0]
    assert made.views[0].mask().any() and made.views[0].ignored().shape == made.views[0].mask().shape
    again, _ = prepared(
        scene, tmp_path / "run", "masks=auto", "resume=x", "person=7"
    )  # nothing is looked at again
    assert again.views[0].mask_path == made.views[0].mask_path


@pytest.mark.slow
def test_masks_that_the_networks_make_are_those_of_the_scene_without_a_warning(tmp_path, caplog):
    if not all(map(present, NETWORKS)):
        pytest.skip("MediaPipe's networks are not in the cache")
    scene, run = scene_without_masks(tmp_path / "scan"), tmp_path / "run"
    made, views = prepared(scene, run, "masks=auto", "perception=mediapipe")
    scenes.validate(made, views)
    assert not [record.message for record in caplog.records if record.levelname == "WARNING"]
    for view, number in zip(made.views, (14, 9, 19), strict=True):
        truth, mask, counts = scenes.open(DEMO).views[number].mask(), view.mask(), ~view.ignored()
        assert (mask & truth & counts).sum() > 0.985 * ((mask | truth) & counts).sum()
        assert (truth & counts).sum() > 0.5 * truth.sum()


def test_a_folder_of_masks_wins_over_those_of_the_scene(tmp_path):
    scene = scene_without_masks(tmp_path / "scan", masks=[0, 1, 2])
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(sorted((scene / "mask").iterdir())[1], mine / f"{scenes.open(scene).views[1].name}.png")
    made, _ = prepared(scene, tmp_path / "run", f"masks={mine}")
    assert made.views[1].mask_path.parent == mine and made.views[0].mask_path.parent == scene / "mask"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_lie_as_the_files_do_however_their_exif_turns_them(tmp_path, orientation):
    """Upright, the head is above blue shoulders; the mask has to have the head where the file has skin."""
    upright = drawn(200, 260, ((100, 90, 35),))
    picture = Image.fromarray(np.uint8(upright * 255))
    exif = Image.Exif()
    exif[0x0112] = BACK_AGAIN.get(orientation, orientation)
    stored = ImageOps.exif_transpose(_with_exif(picture, exif))
    scene = ellipsoid.write_idr_scene(tmp_path / "scan", 1)
    (path,) = (scene / "image").iterdir()
    path.unlink()
    exif[0x0112] = orientation
    stored.save(path.with_suffix(".jpg"), quality=95, exif=exif)
    next((scene / "mask").iterdir()).unlink()
    made, _ = prepared(scene, tmp_path / "run", "masks=auto", "views=[0]")
    mask, pixels = made.views[0].mask(), np.asarray(stored) / 255
    skin = (pixels[..., 0] > 0.75) & (pixels[..., 2] < 0.6)
    assert mask.shape == skin.shape and mask[skin].mean() > 0.97
    assert made.views[0].ignored()[(pixels[..., 2] > 0.55) & (pixels[..., 0] < 0.3)].mean() > 0.2


def _with_exif(picture, exif):
    picture.info["exif"] = exif.tobytes()
    picture.getexif().load(exif.tobytes())
    return picture
