"""Close-ups: a photograph's window and a mesh's lie on one another, holes show, and the file stays small."""

import io

import numpy as np
import pytest
import trimesh
from PIL import Image

from recon.errors import ConfigError
from recon.scene import Camera
from tools.closeups import PARTS, Window, encoded, photographed, rendered, row, run_mesh, sheet

TILE = 40
CAMERA = Camera(
    np.array([[200.0, 0, 60], [0, 200, 50], [0, 0, 1]]),
    np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -400], [0, 0, 0, 1]]),
    120,
    100,
)


class View:
    def image(self):
        """A white square of 10 px whose middle is at (60, 50), where a ball at the origin is seen."""
        picture = np.zeros((100, 120, 3), np.float32)
        picture[45:55, 55:65] = 1.0
        return picture


class Scene:
    name = "ann"
    views = (View(),)


def box(size=20.0):
    """A red box of 20 mm: 10 px wide at 400 mm."""
    mesh = trimesh.creation.box(extents=[size, size, 0.02])
    return trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=[255, 0, 0, 255], process=False)


def test_photograph_and_mesh_lie_on_one_another():
    window = Window(0, CAMERA, np.array([60.0, 50.0]), 20.0)
    photograph = np.asarray(photographed(Scene(), window, TILE)).astype(int)
    coloured, grey = (np.asarray(each).astype(int) for each in rendered(box(), window, TILE))
    assert photograph.shape == coloured.shape == (TILE, TILE, 3)
    inner, outer = slice(12, 28), [0, 1, 2, 37, 38, 39]  # 10 of 20 px: the middle half
    assert (photograph[inner, inner] == 255).all() and (photograph[outer] == 0).all()
    assert (coloured[inner, inner] == [255, 0, 0]).all() and (coloured[outer] == 255).all()
    assert np.ptp(grey[inner, inner], axis=-1).max() < 12 and grey[inner, inner].mean() > 100


def test_windows_beyond_the_picture_and_the_inside_of_a_surface():
    corner = Window(0, CAMERA, np.array([2.0, 2.0]), 30.0)
    assert photographed(Scene(), corner, TILE).size == (TILE, TILE)
    turned = box()
    turned.faces = np.asarray(turned.faces)[:, ::-1]
    _, grey = rendered(turned, Window(0, CAMERA, np.array([60.0, 50.0]), 20.0), TILE)
    red, green, _ = np.asarray(grey)[TILE // 2, TILE // 2].astype(int)
    assert red > 3 * green


def test_the_sheet_has_a_row_for_each_person_in_each_block_and_a_limit():
    window = Window(0, CAMERA, np.array([60.0, 50.0]), 20.0)
    strip = row(Scene(), box(), {part: window for part in PARTS if part != "ear"}, TILE)
    page = sheet({"before": [strip, strip], "after": [strip, strip]}, TILE)
    assert page.height > 4 * TILE and page.width == strip.width > 15 * TILE
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8))
    content = encoded(noise, 60_000)
    assert len(content) <= 60_000
    assert Image.open(io.BytesIO(content)).size < noise.size
    assert Image.open(io.BytesIO(encoded(page, 1e6))).size == page.size


def test_runs_are_found_as_a_benchmark_names_them(tmp_path):
    with pytest.raises(ConfigError, match=r"no run of ann: expected ann/mesh.ply or ann-0/mesh.ply"):
        run_mesh(tmp_path, "ann")
    (tmp_path / "ann-0").mkdir()
    box().export(tmp_path / "ann-0" / "mesh.ply")
    assert len(run_mesh(tmp_path, "ann").vertices) == 8
