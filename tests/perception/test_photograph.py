import io
import math

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from recon.errors import SceneError
from recon.perception.photograph import focal_from_exif, photographs_in, read_photograph
from tests.perception.conftest import drawn

TAG = ExifTags.Base


def with_exif(**tags):
    exif = Image.Exif()
    for name, value in tags.items():
        (exif if name == "Orientation" else exif.get_ifd(ExifTags.IFD.Exif))[TAG[name]] = value
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(saved, orientation):
    upright = drawn(64, 80, ((20, 30, 12),))
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the inverse of what exif_transpose does
    stored = Image.fromarray(np.uint8(upright * 255 + 0.5))
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(back[orientation]))
    path = saved(stored, exif=with_exif(Orientation=orientation))
    photograph = read_photograph(path)
    assert np.abs(photograph.image - upright).max() < 0.003
    assert photograph.size == photograph.original_size == (64, 80)
    assert photograph.orientation == orientation


def test_large_photographs_are_scaled_and_focal_and_scale_follow(saved):
    path = saved(drawn(3000, 2000), "a.jpg", exif=with_exif(FocalLengthIn35mmFilm=50, Orientation=6))
    photograph = read_photograph(path, 1500)
    assert photograph.size == (1000, 1500) and photograph.original_size == (2000, 3000)
    assert photograph.scale == (0.5, 0.5)
    assert photograph.focal_px == pytest.approx(50 / 36 * 1500)
    assert photograph.focal_source == "FocalLengthIn35mmFilm"
    assert read_photograph(path, None).size == (2000, 3000)


def test_focal_lengths():
    film, plane = (
        {TAG.FocalLengthIn35mmFilm: 28},
        {TAG.FocalLength: 50.0, TAG.FocalPlaneXResolution: 6000 / 3.6},
    )
    unit = {TAG.FocalPlaneResolutionUnit: 3}
    assert focal_from_exif(film, 4000, 3000)[0] == pytest.approx(28 / math.hypot(36, 24) * 5000)
    assert focal_from_exif(plane | unit, 6000, 4000)[0] == pytest.approx(50 / 36 * 6000)
    size = {TAG.ExifImageWidth: 6000, TAG.ExifImageHeight: 4000}
    assert focal_from_exif(plane | unit | size, 3000, 2000)[0] == pytest.approx(50 / 36 * 3000)
    assert focal_from_exif(film | size, 2000, 3000)[0] is not None
    assert "cropped" in focal_from_exif(film | size, 2000, 2000)[1]
    assert "resized" in focal_from_exif(plane | unit, 400, 300)[1]
    assert focal_from_exif({TAG.FocalLengthIn35mmFilm: 0, TAG.FocalLength: "x"}, 9, 9)[0] is None
    assert focal_from_exif({}, 9, 9) == (None, "the file has no EXIF")


def test_colour_profiles_become_srgb_and_a_broken_one_is_said(saved):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = drawn(40, 50)
    assert np.abs(read_photograph(saved(image, icc_profile=lab)).image - image).max() < 0.01
    broken = read_photograph(saved(image, icc_profile=b"nothing"))
    assert len(broken.warnings) == 1 and "profile" in broken.warnings[0]
    assert read_photograph(saved(image, "c.jpg", mode="CMYK")).image.shape == (50, 40, 3)


def test_alpha_is_kept_where_it_says_something(saved):
    image = Image.fromarray(np.uint8(drawn(40, 50) * 255)).convert("RGBA")
    assert read_photograph(saved(image, mode="RGBA")).alpha is None
    image.putalpha(Image.fromarray(np.uint8(np.linspace(0, 255, 2000).reshape(50, 40))))
    alpha = read_photograph(saved(image, mode="RGBA")).alpha
    assert alpha.shape == (50, 40) and alpha[0, 0] == 0 and alpha[-1, -1] == 1


def test_sixteen_bits_and_palettes(saved, tmp_path):
    Image.fromarray(np.full((8, 8), 32768, np.uint16)).save(tmp_path / "deep.png")
    assert read_photograph(tmp_path / "deep.png").image == pytest.approx(0.5, abs=0.01)
    assert read_photograph(saved(drawn(40, 50), "p.png", mode="P")).image.shape == (50, 40, 3)


def test_damaged_files_are_one_error_that_names_the_file(saved, tmp_path):
    whole = saved(drawn(), "a.jpg").read_bytes()
    files = {
        "short.jpg": whole[: len(whole) // 2],
        "empty.jpg": b"",
        "text.png": b"hello",
        "script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SceneError, match=name):
            read_photograph(tmp_path / name)
    with pytest.raises(SceneError, match="missing"):
        read_photograph(tmp_path / "none.jpg")


def test_size_is_checked_before_pixels_are_decoded(tmp_path, monkeypatch):
    Image.new("RGB", (300, 200)).save(tmp_path / "a.png")
    monkeypatch.setattr("recon.perception.photograph.MOST_PIXELS", 50_000)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("pixels were decoded"))
    with pytest.raises(SceneError, match="300 x 200"):
        read_photograph(tmp_path / "a.png")


def test_heif(tmp_path, monkeypatch):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with monkeypatch.context() as patched:
        patched.setitem(__import__("sys").modules, "pillow_heif", None)
        with pytest.raises(SceneError, match=r"headrecon\[photos\]"):
            read_photograph(tmp_path / "a.heic")
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra photos is not installed")
    image, data = drawn(64, 80), io.BytesIO()
    pillow_heif.register_heif_opener()
    try:
        Image.fromarray(np.uint8(image * 255)).save(data, "HEIF", quality=95)
    except (KeyError, OSError, RuntimeError) as error:
        pytest.skip(f"this pillow-heif cannot write: {error}")
    (tmp_path / "a.heic").write_bytes(data.getvalue())
    assert np.abs(read_photograph(tmp_path / "a.heic").image - image).mean() < 0.02


def test_a_folder_of_photographs(tmp_path):
    for name in ("img_10.JPG", "img_2.jpeg", ".hidden.jpg", "._img_2.jpeg", "notes.txt", "b.HEIC"):
        (tmp_path / name).touch()
    (tmp_path / "masks").mkdir()
    found = photographs_in(tmp_path)
    assert [path.name for path in found.photographs] == ["b.HEIC", "img_2.jpeg", "img_10.JPG"]
    assert {path.name for path in found.unused} == {"masks", "notes.txt"}
    (tmp_path / "IMG_2.png").touch()
    with pytest.raises(SceneError, match=r"(?i)img_2\.(png|jpeg) and img_2"):
        photographs_in(tmp_path)
    with pytest.raises(SceneError, match="no photograph"):
        photographs_in(tmp_path / "masks")
    with pytest.raises(SceneError, match="not a folder"):
        photographs_in(tmp_path / "notes.txt")


def test_a_part_of_a_photograph_keeps_its_place_and_its_optical_axis(saved):
    upright = drawn(800, 600)
    stored = Image.fromarray(np.uint8(upright * 255 + 0.5)).transpose(Image.Transpose.ROTATE_90)
    path = saved(stored, exif=with_exif(FocalLengthIn35mmFilm=50, Orientation=6))
    part = read_photograph(path, 100, part=(0.25, 0.5, 0.75, 1.0))
    assert part.size == (100, 75) and part.original_size == (800, 600)
    assert part.scale == pytest.approx((0.25, 0.25))
    # The middle of 800 x 600 is 200 right of the part's corner and on its upper border.
    assert part.principal_point == pytest.approx((50.0, 0.0))
    assert part.focal_px == pytest.approx(50 / math.hypot(36, 24) * 1000 / 4)
    whole = read_photograph(path, 200)
    assert whole.principal_point == (100.0, 75.0)
    assert np.abs(part.image - whole.image[75:, 50:150]).max() < 0.02
