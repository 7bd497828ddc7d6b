"""Landmarks in photographs: files beside the scene, by the names of the photographs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from recon import scene as scenes
from recon.errors import SceneError
from recon.scene.export import export_idr
from tests.support.scenes import SIZE, make_h3ds, make_idr


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_h3ds(tmp_path_factory.mktemp("made"))


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "ball"))


def put(folder: Path, name: str, content: object) -> Path:
    path = folder / "landmarks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_they_belong_to_the_photograph_of_their_name_and_are_exported(folder, tmp_path):
    put(folder, "img_0001.json", {"nose_tip": [40.25, 31], "landmark_08": [0, SIZE]})
    views = scenes.open(folder).views
    found = views[1].landmarks()
    assert list(found) == ["nose_tip", "landmark_08"]
    np.testing.assert_array_equal(found["nose_tip"], [40.25, 31.0])
    assert views[0].landmarks() == {}
    export_idr(scenes.open(folder), tmp_path / "idr")
    again = [view.landmarks() for view in scenes.open(tmp_path / "idr").views]
    assert list(again[1]) == list(found) and not any(again[:1] + again[2:])
    np.testing.assert_array_equal(again[1]["nose_tip"], found["nose_tip"])


def test_idr_scenes_have_them_by_the_names_of_their_images(tmp_path):
    make_idr(tmp_path / "scan", ["a.png", "b.png"], ["m_a.png", "m_b.png"])
    put(tmp_path / "scan", "b.json", {"left_eye": [3.0, 4.0]})
    views = scenes.open(tmp_path / "scan").views
    assert [len(view.landmarks()) for view in views] == [0, 1]


def test_a_file_of_no_photograph_is_refused(folder):
    put(folder, "img_0099.json", {})
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
def test_bad_files_are_refused_by_name(folder, content, says):
    put(folder, "img_0000.json", content)
    with pytest.raises(SceneError, match=says) as refused:
        scenes.open(folder).views[0].landmarks()
    assert "img_0000.json" in str(refused.value)
    assert any("img_0000.json" in str(problem) for problem in scenes.problems(scenes.open(folder), [0]))
