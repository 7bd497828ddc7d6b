"""headrecon-validate: a table and "ok" of a sound scene, every problem of another."""

import shutil

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from recon.commands import validate
from recon.resources import CONF
from recon.systems.resolvers import register_resolvers
from tests.support.scenes import make_h3ds


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return make_h3ds(tmp_path_factory.mktemp("good"))


def configured(*overrides):
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("validate", overrides=list(overrides))


def test_a_sound_scene_is_ok_and_drawn(good, tmp_path, capsys):
    picture = tmp_path / "sheet.png"
    assert validate.run(configured(f"scene={good}", "views=[0,2,4]", f"sheet={picture}"))
    printed = capsys.readouterr().out
    assert printed.rstrip().endswith("ok") and "regions face, face_sphere, nose" in printed
    sheet = np.asarray(Image.open(picture))
    assert sheet.shape == (256, 768, 3)
    assert (sheet == [255, 64, 200]).all(axis=-1).sum() > 500  # outlines of the masks
    assert (sheet == [64, 220, 255]).all(axis=-1).sum() > 500  # outlines of the unit sphere


def test_the_demo_is_known_by_its_name(capsys):
    assert validate.run(configured("scene=demo", "views=3"))
    assert "ok" in capsys.readouterr().out


def test_every_problem_is_listed(good, tmp_path, capsys):
    folder = shutil.copytree(good, tmp_path / "ball")
    (folder / "mask/mask_0001.png").unlink()
    Image.fromarray(np.zeros((96, 96), np.uint8)).save(folder / "mask/mask_0003.png")
    assert not validate.run(configured(f"scene={folder}"))
    printed = capsys.readouterr().out
    assert "mask_0001.png is missing" in printed
    assert "mask_0003.png is empty" in printed
    assert "2 problems" in printed


@pytest.mark.parametrize(
    "overrides",
    [["scene=nowhere/at/all"], ["views=[0,0]"], ["views='a,b'"], ["pixel_centre=0.3"]],
)
def test_what_cannot_be_opened_is_reported(good, overrides, capsys):
    assert not validate.run(configured(f"scene={good}", *overrides))
    assert capsys.readouterr().out.startswith("problem: ")


@pytest.mark.parametrize("name", ["nowhere/sheet.png", "sheet.unheard"])
def test_a_contact_sheet_that_cannot_be_written_is_a_failure_in_one_line(good, tmp_path, caplog, name):
    given = [f"scene={good}", "views=[0,2]", f"sheet={tmp_path / name}"]
    assert not validate.run(configured(*given))
    (line,) = caplog.messages
    assert line.startswith(f"no contact sheet: sheet={tmp_path / name}: ") and len(line.splitlines()) == 1
