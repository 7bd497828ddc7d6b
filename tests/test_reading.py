import io
import os
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from recon.errors import MeshError, SceneError
from recon.perception.photograph import read_photograph
from recon.reading import (
    check_archive,
    integer,
    number,
    numbers,
    open_picture,
    read_arrays,
    read_bytes,
    read_json,
    reading,
    shortened,
    table,
)
from recon.scene.h3ds.dataset import H3DS
from recon.scene.images import read_image, read_mask


def test_any_exception_names_file_and_cause():
    for caught in (
        KeyError("a"),
        ZeroDivisionError("by 0"),
        struct.error("short"),
        MemoryError(),
        RecursionError("x"),
    ):
        with pytest.raises(
            MeshError, match=r"/x/a\.ply cannot be read as a mesh \(.+\): export it again"
        ) as raised:
            with reading("/x/a.ply", MeshError, "a mesh", "export it again"):
                raise caught
        assert raised.value.__cause__ is caught
    with pytest.raises(SceneError, match=r"^as it is$"):
        with reading("/x/a.ply", MeshError, "a mesh"):
            raise SceneError("as it is")


def test_foreign_text_is_cut_and_cannot_steer_a_terminal():
    assert shortened("a\n\x1b[2Jb\x00c") == "a [2Jb c"
    assert len(shortened("x" * 10_000)) <= 303


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def test_arrays_come_back_as_numpy_has_them(tmp_path):
    rows = np.arange(6).reshape(2, 3)
    arrays = {
        "a": rows.astype(float), "f": np.asfortranarray(rows), "t": np.array(["x", "yy"]), "zero": np.array(7),
        "none": np.zeros((0, 3), np.float16), "b": np.array([True, False]),
    }  # fmt: skip
    (tmp_path / "a.npz").write_bytes(npz(**arrays))
    found = read_arrays(tmp_path / "a.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    found["a"][0, 0] = 5  # they can be written to, as those of numpy
    assert list(read_arrays(tmp_path / "a.npz", ["zero"])) == ["zero"]


def test_an_archive_that_swells_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "cameras.npz"
    path.write_bytes(npz(world_mat_0=np.zeros(64 << 20, np.uint8)))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than the 1048576"):
        read_arrays(path, most=1 << 20)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def claiming(shape, descr="<f8", size=128):
    """An npy file whose header claims a shape, with few bytes behind it."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * size


@pytest.mark.parametrize(
    "content",
    [
        claiming("(1000000000, 1000)"),
        claiming("(2, 4)"),
        claiming("(-4, -4)"),
        claiming("(4, 4)", "|O"),
        claiming("(4, 4)", "<M8[s]"),
        claiming("(" * 50),
        b"no array",
        b"",
    ],
)
def test_arrays_that_are_other_than_they_claim_are_refused(tmp_path, content):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with (
        pytest.raises(SceneError, match=r"a\.npz cannot be read as x \("),
        reading(tmp_path / "a.npz", SceneError, "x"),
    ):
        read_arrays(tmp_path / "a.npz")


def test_encrypted_and_damaged_members_are_refused(tmp_path):
    sound = npz(a=np.arange(400.0))
    for at, value, why in ((sound.rindex(b"PK\x01\x02") + 8, 1, "encrypted"), (60, 0xA5, "")):
        changed = bytearray(sound)
        changed[at] ^= value
        (tmp_path / "a.npz").write_bytes(changed)
        with pytest.raises(SceneError, match=why), reading(tmp_path / "a.npz", SceneError, "arrays"):
            read_arrays(tmp_path / "a.npz")


def test_values_are_what_they_must_be():
    assert integer(np.int64(3), "n") == 3 and number(2, "x") == 2.0
    np.testing.assert_array_equal(numbers([[1, 2]], (1, None), "m"), [[1.0, 2.0]])
    for value in (True, 1.5, -1, 2**70, "3", None, [1], np.float64(1)):
        with pytest.raises(ValueError, match="n must be a whole number"):
            integer(value, "n")
    for value in (np.nan, np.inf, "1", None, [1.0], 10**400, True, {}):
        with pytest.raises(ValueError, match="x must be a"):
            number(value, "x")
    for value in ([1, 2], [[1, 2], [3]], [[1, None]], [["a", "b"]], np.ones((2, 2), complex)):
        with pytest.raises(ValueError, match="m must be 1 x 2 finite numbers"):
            numbers(value, (1, 2), "m")
    with pytest.raises(ValueError, match="radius must be a positive number"):
        number(0.0, "radius", positive=True)
    with pytest.raises(ValueError, match="table of names"):
        table({1: 2})


def test_text_without_end_is_refused(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(SceneError, match="nested too deeply"), reading("deep.json", SceneError, "JSON"):
        read_json(tmp_path / "deep.json")
    with pytest.raises(ValueError, match="more than 10"):
        read_bytes(tmp_path / "deep.json", 10)
    if os.path.exists("/dev/zero"):
        with pytest.raises(ValueError, match="no regular file"):
            read_bytes("/dev/zero")


def test_a_compressed_checkpoint_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", b"\0" * 10_000_000)
    with pytest.raises(ValueError, match="claim 10000000 bytes"):
        check_archive(tmp_path / "a.ckpt")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


def png_of(width, height):
    """A PNG whose header claims a size, with pixels for a corner of it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def h3ds_picture(path):
    return H3DS.__new__(H3DS)._picture(str(path))


@pytest.mark.parametrize("read", [read_image, read_mask, read_photograph, h3ds_picture])
def test_no_other_program_is_started_whatever_a_picture_holds(tmp_path, monkeypatch, read):
    started = []

    def ghostscript(*arguments):
        started.append(arguments)
        raise OSError("started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", ghostscript)
    (tmp_path / "face.jpg").write_bytes(EPS)
    with pytest.raises(OSError, match="started"):
        Image.open(tmp_path / "face.jpg").load()
    assert len(started) == 1, "Pillow itself takes it for EPS"
    with pytest.raises(SceneError, match=r"face\.jpg cannot be read"):
        read(tmp_path / "face.jpg")
    assert len(started) == 1


@pytest.mark.parametrize("read", [read_image, read_mask, read_photograph, h3ds_picture])
def test_pictures_of_many_pixels_are_refused_by_their_headers(tmp_path, read):
    (tmp_path / "large.png").write_bytes(png_of(13_000, 13_000) + bytes(20_000))
    with pytest.raises(SceneError, match=r"large\.png cannot be read.*13000 x 13000 pixels, more than"):
        read(tmp_path / "large.png")


def test_the_limit_of_pixels_is_that_of_the_caller(tmp_path):
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    with open_picture(tmp_path / "a.png", most_pixels=600) as picture:
        assert picture.size == (30, 20)
    with pytest.raises(ValueError, match="scale it down"), open_picture(tmp_path / "a.png", most_pixels=599):
        pass


def test_few_bytes_are_no_large_picture(tmp_path):
    Image.new("I;16", (12, 10)).save(tmp_path / "a.tif")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    entry = content.index(struct.pack("<HHI", 257, 4, 1))  # the height, in pixels
    content[entry + 8 : entry + 12] = struct.pack("<I", 4_000_000)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(SceneError, match=r"it claims 12 x 4000000 pixels in \d+ bytes"):
        read_image(tmp_path / "a.tif")
    for size, suffix, mode in (
        ((5000, 5000), "png", "L"),
        ((5000, 5000), "png", "1"),
        ((3000, 3000), "webp", "RGB"),
    ):
        Image.new(mode, size).save(tmp_path / f"flat.{suffix}")  # nothing is to be ignored
        assert read_image(tmp_path / f"flat.{suffix}").shape == (*size[::-1], 3)
