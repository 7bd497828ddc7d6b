"""Reading of files that a stranger may have made: what they may take, and errors that name the file and the cause.

`reading` turns whatever a parser raises into an error of this package. The readers look at sizes before memory is
taken, and the checks of values (`table`, `numbers`, ...) raise a ValueError that says what was expected, for `reading`
to name the file.
"""

from __future__ import annotations

import io
import json
import math
import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.lib import format as npy
from PIL import Image

from recon.errors import ReconError
from recon.files import decoded

TEXT_BYTES = 64 << 20
"""Largest text: JSON, TOML, YAML, lists of numbers."""
MESH_BYTES = 4 << 30
"""Largest mesh file."""
ARRAYS_BYTES = 512 << 20
"""Largest sum of the arrays of an npz file, unless its reader says otherwise."""
MEMBERS = 100_000
"""Most members of an npz file."""
IMAGE_PIXELS = 52_000_000
"""Most pixels of a picture that is decoded as it is, which takes up to 20 bytes a pixel; phones save 50 megapixels."""
PIXELS_A_BYTE, SMALL_PIXELS = 10_000, 4_000_000
"""Most pixels of one tone that a byte stands for, and pixels that any file may claim; WebP needs still fewer bytes for
one tone."""
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM")
"""Formats of Pillow that pictures are decoded from, by their content. No other is asked: that of EPS would start
Ghostscript, whatever the file is called."""
CAUSE_LENGTH = 300
"""Characters of a foreign message that are quoted."""


@contextmanager
def reading(path: Path | str, error: type[ReconError], what: str, remedy: str = "") -> Iterator[None]:
    """A context in which every exception becomes one of this package that names a file and the cause.

    Args:
        path: The file.
        error: Class of the exception.
        what: The thing that is read from it, with its article: "a mesh".
        remedy: Advice at the end of the message.

    Raises:
        ReconError: Of the class given; one that was raised within is passed on as it is.
    """
    try:
        yield
    except ReconError:
        raise
    except Exception as caught:  # parsers raise whatever a broken file makes them
        advice = f": {remedy}" if remedy else ""
        raise error(f"{path} cannot be read as {what} ({cause(caught)}){advice}") from caught


def cause(error: BaseException) -> str:
    """The cause that an exception states, on one line of bounded length."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError):
        return shortened(f"it lacks {error}")
    text = shortened(str(error))
    return text or type(error).__name__


def shortened(text: object, length: int = CAUSE_LENGTH) -> str:
    """A text on one line, without characters that cannot be printed, cut to a length."""
    line = "".join(each if each.isprintable() else " " for each in str(text)[: 4 * length])
    line = " ".join(line.split())
    return line if len(line) <= length else f"{line[:length]}..."


def missing_or_no_file(path: Path) -> str:
    """What is wrong with a path that is no file, to end a sentence that begins with it."""
    return "is a folder, expected a file" if path.is_dir() else "does not exist"


def read_bytes(path: Path | str, most: int = TEXT_BYTES) -> bytes:
    """The content of a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no file, or larger than it may be.
    """
    with Path(path).open("rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is no regular file")
        if about.st_size > most:
            raise ValueError(f"it has {about.st_size} bytes, more than {most}")
        return file.read()


def read_json(path: Path | str) -> Any:
    """The content of a JSON file in any Unicode.

    Raises:
        OSError: It cannot be read.
        ValueError: It is too large or no JSON.
        RecursionError: It is nested too deeply.
    """
    return json.loads(decoded(read_bytes(path)))


def table(value: Any, what: str = "its content") -> dict[str, Any]:
    """The value, a table with texts as keys.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{what} must be a table of names and values, got {shortened(repr(value), 60)}")
    return value


def listed(value: Any, what: str, most: int = 1_000_000) -> list[Any]:
    """The value, a list.

    Raises:
        ValueError: It is something else, or longer than it may be.
    """
    if not isinstance(value, list | tuple) or len(value) > most:
        raise ValueError(f"{what} must be a list of at most {most} values, got {shortened(repr(value), 60)}")
    return list(value)


def text(value: Any, what: str) -> str:
    """The value, a text.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a text, got {shortened(repr(value), 60)}")
    return value


def integer(value: Any, what: str, low: int = 0, high: int = 2**31 - 1) -> int:
    """The value, a whole number within bounds; true and false are none.

    Raises:
        ValueError: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise ValueError(
            f"{what} must be a whole number from {low} to {high}, got {shortened(repr(value), 60)}"
        )
    return int(value)


def number(value: Any, what: str, *, positive: bool = False) -> float:
    """The value, a finite number.

    Raises:
        ValueError: It is something else, or not positive where it has to be.
    """
    found = float(numbers(value, (), what))
    if positive and not found > 0:
        raise ValueError(f"{what} must be a positive number, got {found:g}")
    return found


def numbers(value: Any, shape: Sequence[int | None], what: str) -> Float[np.ndarray, ...]:
    """The value as an array of finite numbers, float64.

    Args:
        value: An array, or lists in each other.
        shape: Its shape; None where any length will do.
        what: How the message calls it.

    Raises:
        ValueError: It has another shape, or holds something else.
    """
    expected = " x ".join("n" if side is None else str(side) for side in shape)
    expected = f"{expected} finite numbers" if shape else "a finite number"
    try:
        array = np.asarray(value)
        fits = array.ndim == len(shape) and all(
            side in (None, own) for own, side in zip(array.shape, shape, strict=True)
        )
        if fits and array.dtype.kind in "fiu":
            found = array.astype(np.float64)
            if np.isfinite(found).all():
                return found
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"{what} must be {expected}, got {shortened(repr(value), 60)}")


def check_archive(path: Path | str) -> None:
    """Check that the members of a zip archive are no larger than it, as those that are stored and not compressed.

    Raises:
        OSError: It cannot be read.
        ValueError: They are.
        Exception: Of `zipfile`: it is no such archive.
    """
    size = Path(path).stat().st_size
    with zipfile.ZipFile(path) as archive:
        claimed = sum(member.file_size for member in archive.infolist())
        if claimed > size or any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError(f"its members claim {claimed} bytes, the file has {size}")


def read_arrays(
    path: Path | str, wanted: Callable[[str], bool] | Sequence[str] | None = None, most: int = ARRAYS_BYTES
) -> dict[str, np.ndarray]:
    """Arrays of an npz file by name; sizes are looked at before anything is unpacked, and objects are refused.

    Args:
        path: The file.
        wanted: Names of the arrays, or whether an array of a name is wanted; None for all.
        most: Bytes that they may have together.

    Raises:
        OSError: It cannot be read.
        ValueError: An array is missing, encrypted, larger than it may be, or other than its header says.
        Exception: Of `zipfile`: it is no such archive.
    """
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()[:MEMBERS]}
        if wanted is None:
            names = list(members)
        else:
            names = [name for name in members if wanted(name)] if callable(wanted) else list(wanted)
        arrays, left = {}, most
        for name in names:
            if name not in members:
                raise ValueError(f"it has no array {name!r}")
            arrays[name] = _array(archive, members[name], left)
            left -= arrays[name].nbytes
    return arrays


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> np.ndarray:
    """One array of an archive."""
    name = shortened(member.filename, 60)
    if member.flag_bits & 1:
        raise ValueError(f"{name} is encrypted")
    if member.file_size > most + npy.MAGIC_LEN + 10_000:
        raise ValueError(f"{name} unpacks to {member.file_size} bytes, more than the {most} that it may have")
    with archive.open(member) as stream:
        shape, fortran, dtype, header = _npy_header(stream, name)
        size = math.prod(shape) * dtype.itemsize
        if header + size != member.file_size or size > most:
            raise ValueError(
                f"{name} claims {size} bytes of {dtype} {shape}, and has {member.file_size - header}"
            )
        content = stream.read(size)
        stream.read(1)  # the end of the member, where its checksum is compared
    array = np.frombuffer(bytearray(content), dtype)
    return array.reshape(shape, order="F" if fortran else "C")


def _npy_header(stream: Any, name: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, order and type that the header of an array claims, and the bytes that it takes."""
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} is of version {version} of the npy format, expected 1.0 or 2.0")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject or dtype.kind not in "biufcSU" or any(side < 0 for side in shape):
        raise ValueError(f"{name} must be an array of numbers or texts, got {dtype} {shape}")
    return shape, fortran, dtype, stream.tell()


class _Bounded(io.BufferedReader):
    """A file of which no more is asked than it has: Python takes memory for what a broken chunk claims to be long."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(io.FileIO(path))
        self.size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """At most so many bytes."""
        return super().read(self.size if size is None or size < 0 else min(size, self.size))


@contextmanager
def open_picture(
    path: Path | str, formats: Sequence[str] = FORMATS, most_pixels: int = IMAGE_PIXELS
) -> Iterator[Image.Image]:
    """A context with a picture of one of some formats, not yet decoded; its size was looked at.

    Raises:
        OSError: It cannot be read, or is a picture of another format or none.
        ValueError: It has more pixels than it may have, or than its bytes can say anything of.
    """
    Image.init()
    known = [name for name in formats if name in Image.OPEN]
    with _Bounded(path) as file, Image.open(file, formats=known) as picture:
        width, height = picture.size
        if width * height > most_pixels:
            raise ValueError(
                f"it has {width} x {height} pixels, more than {most_pixels // 1_000_000} megapixels: scale it down"
            )
        if width * height > PIXELS_A_BYTE * file.size + SMALL_PIXELS and picture.format != "WEBP":
            raise ValueError(f"it claims {width} x {height} pixels in {file.size} bytes")
        yield picture
