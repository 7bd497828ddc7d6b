"""Masks and photographs that were made wrongly: each kind is read right, or refused by its own name."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFilter
from scipy.ndimage import gaussian_filter

from recon import scene as scenes
from recon.errors import SceneError
from recon.scene.images import read_image_and_orientation, read_mask, upright
from tests.support.scenes import SCALE_MAT, SIZE, make_h3ds, orbit_camera, sphere_mask

BALL = sphere_mask(orbit_camera(40, 5))
COLUMN = np.arange(SIZE) // 12 + 1  # upright stripes
RNG = np.random.default_rng(0)
SMOOTH = gaussian_filter(RNG.normal(0, 1, (SIZE, SIZE, 3)), (1.5, 1.5, 0))
PHOTOGRAPH = np.clip(130 + 60 * SMOOTH / SMOOTH.std() + [60, 20, 0], 20, 235).astype(np.uint8)
CLASSES = np.where(BALL, COLUMN, 0).astype(np.uint8)
PALETTE = np.array([[0, 0, 0], [200, 80, 40], [40, 180, 90], [90, 90, 220], [230, 220, 60]] * 2, np.uint8)


def two(head, rest):
    return np.where(BALL[..., None], head, rest).astype(np.uint8)


READ = {
    "16 bit": BALL.astype(np.uint16) * 65535,
    "white on black": BALL.astype(np.uint8) * 255,
    "green": two([0, 255, 0], [0, 0, 0]),
    "colours of a colour map": two([253, 231, 37], [68, 1, 84]),
    "cut out by alpha": np.dstack([PHOTOGRAPH, BALL.astype(np.uint8) * 255]),
    "alpha that hides nothing": np.dstack(
        [two([255] * 3, [0] * 3), np.where(BALL, 255, 254).astype(np.uint8)]
    ),
}


@pytest.mark.parametrize("kind", READ)
def test_masks_that_are_read_right(tmp_path, kind):
    Image.fromarray(READ[kind]).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), BALL)


def test_a_mask_in_the_colours_of_print_is_read_right(tmp_path):
    Image.fromarray(two([255] * 3, [0] * 3)).convert("CMYK").save(tmp_path / "m.tif")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif"), BALL)


@pytest.mark.parametrize("width", [2, 6, 12])
def test_soft_edges_of_any_width_are_read(tmp_path, width):
    Image.fromarray(BALL).convert("L").filter(ImageFilter.GaussianBlur(width)).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png") != BALL).mean() < 0.01 * width


REFUSED = {
    "classes": (CLASSES, "of 255. If it holds numbers of classes"),
    "classes in grey": (CLASSES * 28, "wide levels of grey, as a map of classes"),
    "classes in colours": (PALETTE[CLASSES], "more than two colours, as a map of classes"),
    "cut out on black": (
        np.where(BALL[..., None], PHOTOGRAPH, 0).astype(np.uint8),
        "is a photograph, cut out",
    ),
    "cut out on white": (
        np.where(BALL[..., None], PHOTOGRAPH, 255).astype(np.uint8),
        "is a photograph, cut out",
    ),
    "cut out in grey": (
        np.where(BALL, PHOTOGRAPH[..., 0], 0).astype(np.uint8),
        r"is grey in \d+% .*photograph",
    ),
    "8 bits of 16": (BALL.astype(np.uint16) * 255, "8 bits in a file of 16"),
    "12 bits of 16": (BALL.astype(np.uint16) * 4095, "12 bits in a file of 16"),
    "0 and 1": (BALL.astype(np.uint8), "0 and 1, save it with 0 and 255"),
    "two masks": (
        np.dstack([two([255] * 3, [0] * 3), np.pad(np.full((80, 80), 255, np.uint8), 8)]),
        "another one in its alpha channel",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_mask_is_refused_by_its_name(tmp_path, kind):
    pixels, words = REFUSED[kind]
    Image.fromarray(pixels).save(tmp_path / "m.png")
    with pytest.raises(SceneError, match=rf"m\.png .*{words}"):
        read_mask(tmp_path / "m.png")


def test_floating_point_masks_go_from_0_to_1(tmp_path):
    Image.fromarray(BALL.astype(np.float32)).save(tmp_path / "m.tif")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif"), BALL)
    Image.fromarray(BALL.astype(np.float32) * 255).save(tmp_path / "m.tif")
    with pytest.raises(SceneError, match="up to 255"):
        read_mask(tmp_path / "m.tif")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_h3ds(tmp_path_factory.mktemp("made"))


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "ball"))


@pytest.mark.parametrize("cut_below", [False, True])
def test_an_inverted_mask_is_named(folder, cut_below):
    mask = BALL.copy()
    if cut_below:  # shoulders that reach the lower border
        mask[SIZE // 2 :, 30:62] = True
    path = folder / "mask/mask_0001.png"
    Image.fromarray(~mask).save(path)
    with pytest.raises(SceneError, match=r"mask_0001\.png is inverted: it is white along the borders"):
        scenes.validate(scenes.open(folder), [0, 1, 2])
    Image.fromarray(mask).save(path)
    scenes.validate(scenes.open(folder), [0, 1, 2])


def test_a_close_portrait_is_not_taken_for_an_inverted_mask(folder):
    mask = np.ones((SIZE, SIZE), bool)
    mask[:12, :12] = mask[:12, -12:] = False  # hair fills the upper border but for its corners
    Image.fromarray(mask).save(folder / "mask/mask_0001.png")
    with pytest.raises(
        SceneError, match="outside of the unit sphere"
    ):  # which the ball's sphere does not hold
        scenes.validate(scenes.open(folder), [1])


# What EXIF says of pixels that were turned by Pillow's names, from upright to stored.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def store(path, picture, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture.save(path, quality=95, exif=exif)


@pytest.mark.parametrize("orientation", STORED)
def test_pixels_are_turned_as_exif_asks(tmp_path, orientation):
    picture = Image.fromarray(PHOTOGRAPH[:60])
    store(tmp_path / "a.png", picture.transpose(STORED[orientation]), orientation)
    pixels, found = read_image_and_orientation(tmp_path / "a.png")
    assert found == orientation
    np.testing.assert_array_equal(np.round(255 * upright(pixels, found)), PHOTOGRAPH[:60])


def lopsided(folder):
    """Gives view 1 a photograph and mask that no turn leaves as they are."""
    mask = BALL.copy()
    mask[:, 50:] = False
    Image.fromarray(mask).save(folder / "mask/mask_0001.png")
    return Image.fromarray(np.where(mask[..., None], [200, 150, 120], [20, 30, 40]).astype(np.uint8))


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_mask_of_the_upright_picture_of_pixels_that_are_stored_turned(folder, caplog, orientation):
    path = folder / "image/img_0001.jpg"
    picture = lopsided(folder)
    store(path, picture.transpose(STORED[orientation]), orientation)
    with pytest.raises(
        SceneError, match=rf"img_0001\.jpg .*EXIF orientation {orientation}.*of the upright picture"
    ):
        scenes.validate(scenes.open(folder), [1])
    store(path, picture, orientation)  # mask and camera are of the pixels as they are stored
    scenes.validate(scenes.open(folder), [1])
    assert not caplog.text
    store(path, Image.new("RGB", (SIZE, SIZE)), orientation)
    scenes.validate(scenes.open(folder), [1])
    assert f"EXIF orientation {orientation}" in caplog.text and "make sure" in caplog.text


def test_a_portrait_is_refused_for_its_orientation_not_for_its_size(folder):
    picture = lopsided(folder).crop((10, 0, 80, SIZE))
    store(folder / "image/img_0001.jpg", picture.transpose(STORED[6]), 6)
    mask = Image.open(folder / "mask/mask_0001.png").crop((10, 0, 80, SIZE))
    mask.save(folder / "mask/mask_0001.png")
    with pytest.raises(SceneError, match="EXIF orientation 6") as refused:
        scenes.validate(scenes.open(folder), [1])
    assert "resize" not in str(refused.value)


@pytest.mark.parametrize("size", [48, 72, 144, 192])
def test_pictures_that_were_resized_after_their_cameras_were_made(folder, size):
    for path in (folder / "image/img_0001.jpg", folder / "mask/mask_0001.png"):
        Image.open(path).resize((size, size)).save(path)
    with pytest.raises(
        SceneError, match=rf"world_mat_1: its principal point .*img_0001\.jpg is {size}x{size}"
    ):
        scenes.validate(scenes.open(folder), [1])


def test_pictures_that_were_cut_out_are_not_taken_for_resized_ones(folder, caplog):
    for path in (folder / "image/img_0001.jpg", folder / "mask/mask_0001.png"):
        Image.open(path).crop((0, 0, 75, 72)).save(path)  # the principal point stays at (49, 46)
    scenes.validate(scenes.open(folder), [1])
    assert not caplog.text


@pytest.mark.parametrize(
    ("scale", "words"),
    [(0.001, "this is metres"), (0.1, "this is centimetres"), (0.031, "this is an arbitrary unit")],
)
def test_a_world_that_is_not_in_millimetres_is_named_before_training(folder, caplog, scale, words):
    stored = dict(np.load(folder / "cameras.npz"))
    larger = np.diag([scale, scale, scale, 1.0])
    np.savez(
        folder / "cameras.npz",
        **{n: m @ np.linalg.inv(larger) if n.startswith("world") else larger @ m for n, m in stored.items()},
    )
    scenes.validate(scenes.open(folder), [0, 1, 2])
    (line,) = [record.getMessage() for record in caplog.records]
    assert words in line and f"radius of {100 * scale:.2g}" in line  # the ball has a radius of 100 mm
    # and what it says is right: s = 1 / factor undoes it
    factor = float(line.split("s = 1/")[1].split(",")[0])
    assert words.endswith("unit") or factor * scale == pytest.approx(1)


def test_a_scene_in_millimetres_is_not_spoken_of(made, caplog):
    scenes.validate(scenes.open(made))
    assert np.cbrt(np.linalg.det(SCALE_MAT[:3, :3])) == pytest.approx(130) and not caplog.text
