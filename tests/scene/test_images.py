import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from recon.errors import SceneError
from recon.scene.images import image_size, is_blurred, read_image, read_mask, to_uint8

TRUTH = np.zeros((6, 8), dtype=bool)
TRUTH[1:4, 2:7] = True


def picture(mode):
    """TRUTH as a mask in a PIL mode, white on black."""
    grey = np.where(TRUTH, 255, 0).astype(np.uint8)
    if mode == "1":
        return Image.fromarray(TRUTH)
    if mode == "I;16":
        return Image.fromarray(np.where(TRUTH, 40000, 20000).astype(np.uint16))
    if mode == "P":
        image = Image.fromarray(TRUTH.astype(np.uint8), mode="P")
        image.putpalette([0, 0, 0, 200, 0, 0])
        return image
    if mode == "RGBA":  # the shape is in alpha, colours say nothing
        return Image.fromarray(np.dstack([np.full((6, 8, 3), 90, np.uint8), grey]))
    if mode == "RGBA opaque":
        return Image.fromarray(np.dstack([grey, grey, grey, np.full_like(grey, 255)]))
    if mode == "LA":
        return Image.fromarray(np.dstack([np.full_like(grey, 90), grey]), mode="LA")
    if mode == "RGB red":
        return Image.fromarray(np.dstack([grey, np.zeros_like(grey), np.zeros_like(grey)]))
    return Image.fromarray(grey).convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGB red", "RGBA", "RGBA opaque", "LA", "I;16"])
def test_masks_of_every_mode(tmp_path, mode):
    picture(mode).save(tmp_path / "m.png")
    found = read_mask(tmp_path / "m.png")
    assert found.dtype == bool
    np.testing.assert_array_equal(found, TRUTH)


def test_mask_threshold_is_above_half(tmp_path):
    Image.fromarray(np.array([[0, 127, 128, 255]], dtype=np.uint8)).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").tolist() == [[False, False, True, True]]


def test_images_are_rgb_floats(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, pixels / 255, atol=1e-6)
    assert image_size(tmp_path / "a.png") == (5, 4)
    Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), [[[0, 0, 0], [1, 1, 1]]])
    Image.fromarray(np.array([[51]], dtype=np.uint8)).save(tmp_path / "c.png")
    np.testing.assert_allclose(read_image(tmp_path / "c.png"), [[[0.2, 0.2, 0.2]]], atol=1e-6)


@pytest.mark.parametrize("read", [read_image, read_mask, image_size])
def test_files_that_are_no_images(tmp_path, read):
    with pytest.raises(SceneError, match=r"gone\.png is missing"):
        read(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(SceneError, match=r"text\.png cannot be read"):
        read(tmp_path / "text.png")


def test_truncated_image(tmp_path):
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(SceneError, match=r"cut\.png cannot be read"):
        read_image(path)


def test_to_uint8():
    np.testing.assert_array_equal(to_uint8(np.array([[[0.0, 0.5, 1.2]]]), "x"), [[[0, 128, 255]]])
    with pytest.raises(SceneError, match="image 3"):
        to_uint8(np.zeros((2, 2)), "image 3")
    with pytest.raises(SceneError, match="finite"):
        to_uint8(np.full((1, 1, 3), np.nan), "x")


def sharp_picture(side=240):
    """A disc of blocks of 12 px, of brightness at random, on grey, and its mask."""
    rows, columns = np.indices((side, side))
    mask = np.hypot(rows - side / 2, columns - side / 2) < side / 3
    blocks = np.random.default_rng(0).random((20, 20))[rows // 12, columns // 12]
    picture = np.where(mask, blocks, 0.5)
    return np.repeat(picture[..., None], 3, axis=2).astype(np.float32), mask


def test_a_blurred_photograph_is_told_from_a_sharp_one_at_any_size_and_light():
    picture, mask = sharp_picture()
    blurred = gaussian_filter(picture, (5.0, 5.0, 0.0))
    assert not is_blurred(picture, mask) and is_blurred(blurred, mask)
    assert not is_blurred(0.2 * picture, mask) and is_blurred(0.2 * blurred, mask)
    # pixels of a large picture may be soft: what counts is the head at 400 px
    large, large_mask = (np.repeat(np.repeat(each, 5, axis=0), 5, axis=1) for each in (picture, mask))
    assert is_blurred(gaussian_filter(large, (15.0, 15.0, 0.0)), large_mask)
    assert not is_blurred(gaussian_filter(large, (2.5, 2.5, 0.0)), large_mask)
    assert not is_blurred(np.full_like(picture, 0.5), mask)  # says nothing either way
