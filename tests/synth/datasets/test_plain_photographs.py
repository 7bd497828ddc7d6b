"""Plain photographs of a scene: what a user's reader makes of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recon import scene as scenes
from recon.perception import read_photograph
from recon.synth.datasets.plain_photographs import Storage, write_plain_photographs

DEMO = Path(__file__).parents[3] / "recon" / "assets" / "heads" / "demo"
VIEW = 14


@pytest.fixture(scope="module")
def demo():
    return scenes.open(DEMO)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_however_they_are_stored_they_are_read_upright_with_their_focal_length(demo, tmp_path, orientation):
    view = demo.views[VIEW]
    storage = Storage(orientation=orientation, focal=True, quality=97)
    (path,) = write_plain_photographs(demo, [VIEW], tmp_path / "me", storage)
    assert path.name == "IMG_0000.jpg"
    seen = read_photograph(path)
    assert seen.orientation == orientation
    assert np.abs(seen.image - view.image()).mean() < 0.01
    assert seen.focal_px == pytest.approx(view.camera.intrinsics[0, 0], rel=0.01)


def test_size_and_untold_focal_length(demo, tmp_path):
    (path,) = write_plain_photographs(demo, [VIEW], tmp_path / "me", Storage(long_side=700))
    seen = read_photograph(path)
    assert max(seen.size) == 700 and seen.focal_px is None


def test_clutter_changes_what_is_behind_the_person_and_nothing_of_her(demo, tmp_path):
    view = demo.views[VIEW]
    first, again, other = (
        np.asarray(Image.open(write_plain_photographs(demo, [VIEW], tmp_path / name, clutter=seed)[0])) / 255
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    inside, outside = view.mask(), ~view.mask()
    assert (first == again).all()
    assert np.abs(first - view.image())[inside].mean() < 0.02
    assert np.abs(first - view.image())[outside].mean() > 0.1
    assert np.abs(first - other)[outside].mean() > 0.1
    shoulder = write_plain_photographs(demo, [VIEW], tmp_path / "d", clutter=1, stranger=demo)[0]
    changed = np.abs(np.asarray(Image.open(shoulder)) / 255 - first).max(axis=2) > 0.1
    assert changed[outside].mean() > 0.01 and changed[inside].mean() < 0.01
