"""The check sheet of a ball before a wall."""

import numpy as np
import pytest
import trimesh
from PIL import Image

from recon.calibration.check_sheet import LEGEND, MASK_COLOUR, TILE, write_check_sheet
from recon.calibration.observing import ObservedPhotograph
from recon.scene import Camera

SIZE = TILE
POSE = np.diag([1.0, -1.0, -1.0, 1.0])
POSE[2, 3] = 1000.0
CAMERA = Camera(np.array([[1500.0, 0, SIZE / 2], [0, 1500.0, SIZE / 2], [0, 0, 1]]), POSE, SIZE, SIZE)
HEAD = trimesh.creation.icosphere(subdivisions=3, radius=100.0)


@pytest.fixture
def pages(tmp_path):
    """The sheet without and with an ignored lower half, as integers."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    mask = np.hypot(x - SIZE / 2, y - SIZE / 2) < 130
    image = np.full((SIZE, SIZE, 3), 0.6, np.float32)
    pages = []
    for ignored in (np.zeros_like(mask), y > SIZE / 2):
        one = ObservedPhotograph("a.jpg", image, mask, ignored=ignored)
        write_check_sheet(tmp_path / "sheet.png", [one], [CAMERA], HEAD, [mask], ["a line"])
        pages.append(np.asarray(Image.open(tmp_path / "sheet.png")).astype(int))
    return pages


def test_what_is_ignored_is_hatched_and_nothing_else_changes(pages):
    changed = (pages[0] != pages[1]).any(axis=2)
    assert not changed[: SIZE // 2].any() and not changed[:, SIZE:].any() and not changed[SIZE:].any()
    assert 0.2 < changed[SIZE // 2 + 5 : SIZE - 40, :100].mean() < 0.45


def test_the_legend_shows_every_colour(pages):
    below = pages[0][SIZE:]
    for colour, _ in LEGEND:
        if colour is not None:
            assert (below == colour).all(axis=2).sum() > 50
    assert (pages[0][:SIZE, :SIZE] == MASK_COLOUR).all(axis=2).any()
