"""headrecon-photos: paths on the command line, and from photographs to a scene that a run begins with."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from recon import scene as scenes
from recon.commands.command_line import hydra_arguments
from recon.errors import SceneError
from recon.perception import photographs_at
from recon.perception.weights import NETWORKS, present
from recon.systems.stages import observe, open_scene
from tests.support.runs import ROOT, composed

DEMO = ROOT / "recon" / "assets" / "heads" / "demo"


@pytest.mark.parametrize(
    "names", [["a.jpg", "b c.jpg"], ["it's.jpg"], [r"back\slash", "end\\"], ["a,b.jpg", "[x].jpg", "{y}.jpg"]]
)
def test_paths_are_listed_as_they_are(names):
    arguments = hydra_arguments("photos", [*names, "out=S", "person=2"])
    parsed = {each.key_or_group: each.value() for each in OverridesParser.create().parse_overrides(arguments)}
    assert [str(path) for path in parsed["photographs"]] == names
    assert (parsed["out"], parsed["person"]) == ("S", 2)


def test_a_path_with_an_equals_sign_is_a_path_where_it_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "me=you.jpg").touch()
    assert hydra_arguments("photos", ["me=you.jpg", "out=S"]) == ["out=S", "photographs=['me=you.jpg']"]
    assert hydra_arguments("photos", ["out=S"]) == ["out=S"]


def picture(path):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    return path


def test_files_and_folders_are_taken_together(tmp_path):
    one, two, three = (picture(tmp_path / name) for name in ("a/1.jpg", "a/2.jpg", "b/3.jpg"))
    (tmp_path / "a" / "notes.txt").touch()
    found = photographs_at([three, tmp_path / "a"])
    assert found.photographs == (three, one, two) and set(found.unused) == {tmp_path / "a" / "notes.txt"}
    with pytest.raises(SceneError, match="same name"):
        photographs_at([one, picture(tmp_path / "b" / "1.png")])
    with pytest.raises(SceneError, match=r"none\.jpg does not exist"):
        photographs_at([tmp_path / "none.jpg"])


def headrecon_photos(*arguments):
    program = "from recon.commands.entry import photos; photos()"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT
    )


@pytest.mark.slow
@pytest.mark.skipif(
    not all(present(network) for network in NETWORKS), reason="MediaPipe's networks are not in the cache"
)
def test_from_photographs_to_a_scene_that_a_run_begins_with(tmp_path):
    for view in (14, 9, 19):
        shutil.copy(DEMO / "image" / f"img_{view:04d}.jpg", tmp_path / f"{view}.jpg")
    photographs = [tmp_path / f"{view}.jpg" for view in (14, 9, 19)]
    done = headrecon_photos(*photographs, f"out={tmp_path / 'me'}")
    assert done.returncode == 0, done.stderr
    assert "14.jpg: view 0, by landmarks" in done.stdout and "the head's size is a guess" in done.stdout
    assert (tmp_path / "me" / "calibration.png").is_file()
    scene, views = open_scene(composed(f"scene={tmp_path / 'me'}"))
    assert views == [0, 1, 2]
    observed = observe(scene, views)
    middle = np.linalg.inv(observed.canonical_from_world)[:3, 3]
    true = scenes.open(DEMO)
    for own, view in zip(observed.cameras, (14, 9, 19), strict=True):
        # About the head's middle cameras stand as far away as the true ones, but for the size, which is a guess.
        away = np.linalg.norm(own.centre - middle), np.linalg.norm(true.views[view].camera.centre)
        assert own.intrinsics[0, 0] / own.width > 0.5 and away[0] == pytest.approx(away[1], rel=0.4)
    again = headrecon_photos(*photographs, f"out={tmp_path / 'me'}")
    assert again.returncode == 1 and "overwrite=true" in again.stderr


def test_photographs_that_cannot_be_used_are_one_error(tmp_path):
    done = headrecon_photos(tmp_path / "none.jpg", f"out={tmp_path / 'me'}")
    assert done.returncode == 1 and not (tmp_path / "me").exists()
    assert done.stderr.strip().count("\n") == 0 and "does not exist" in done.stderr
    done = headrecon_photos(f"out={tmp_path / 'me'}")
    assert done.returncode == 1 and "photographs= is missing" in done.stderr
