"""Mutations of files: of their bytes, and of the structure of JSON, safetensors, npz, zip, GLB and PNG files.

Every mutation is determined by a generator, so that a number finds it again.
"""

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

NUMBERS = (
    b"0", b"-1", b"1", b"1e999", b"-1e999", b"nan", b"NaN", b"Infinity", b"1e308", b"-1e-308", b"2147483648",
    b"4294967296", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809", b"1" + b"0" * 30,
    b"9" * 5000, b"0x10", b"1_0", b"007", b"1.5", b"", b"-", b"\xd9\xa3", b"true",
)  # fmt: skip
"""Texts that take the place of a number."""
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400, 1e308, 1e-320, 1.5, float("nan"),
    float("inf"), -float("inf"), "", "x", "nan", "12", "\x00", "é" * 40, "../../x", "/dev/zero", [],
    {}, [[]], [{}], {"": []}, [0, 0, 0], [1, 2], ["a"], [None], [[1, 2], [3]], {"a": {"b": {}}}, 100_000, 3_000, 65_536,
)  # fmt: skip
"""Values that take the place of one in a tree of lists and tables."""
INTEGERS = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**64 - 1,
)
"""Values that take the place of a binary integer."""
DEPTH = 100_000
"""Brackets in each other that no recursive parser survives."""


def mutated(content: bytes, form: str, rng: Random) -> bytes:
    """A file with one to three mutations, of its structure where the form has one, or of its bytes.

    Args:
        content: A sound file.
        form: Key of `FORMS`, or "bytes".
        rng: The generator that determines the mutation.
    """
    of_structure = FORMS.get(form)
    if of_structure is not None and rng.random() < 0.6:
        content = of_structure(content, rng)
        if rng.random() < 0.85:
            return content
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = rng.choice(OF_BYTES)(content, rng)
    return content


def _flip(content: bytes, rng: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _truncate(content: bytes, rng: Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _span(content: bytes, rng: Random) -> tuple[int, int]:
    start = rng.randrange(len(content) + 1)
    return start, min(len(content), start + rng.choice((1, 2, 4, 8, 32, 256)))


def _delete(content: bytes, rng: Random) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + content[end:]


def _repeat(content: bytes, rng: Random) -> bytes:
    start, end = _span(content, rng)
    return content[:end] + content[start:end] * rng.choice((1, 2, 50)) + content[end:]


def _splice(content: bytes, rng: Random) -> bytes:
    (start, end), (first, last) = _span(content, rng), _span(content, rng)
    return content[:start] + content[first:last] + content[end:]


def _insert(content: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.randbytes(rng.choice((1, 2, 8, 64))) + content[at:]


def _blank(content: bytes, rng: Random) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + bytes([rng.choice((0, 255, 32))]) * (end - start) + content[end:]


def _integer(content: bytes, rng: Random) -> bytes:
    size = rng.choice((1, 2, 4, 8))
    if len(content) < size:
        return content
    at = rng.randrange(len(content) - size + 1)
    value = rng.choice(INTEGERS) % (1 << 8 * size)
    return content[:at] + value.to_bytes(size, rng.choice(("little", "big"))) + content[at + size :]


def _number(content: bytes, rng: Random) -> bytes:
    found = list(re.finditer(rb"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", content))
    if not found:
        return _flip(content, rng)
    start, end = rng.choice(found).span()
    return content[:start] + rng.choice(NUMBERS) + content[end:]


def _line(content: bytes, rng: Random) -> bytes:
    lines = content.split(b"\n")
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    what = rng.randrange(5)
    if what == 0:
        del lines[at]
    elif what == 1:
        lines.insert(at, lines[other])
    elif what == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif what == 3:
        words = lines[at].split(b" ")
        del words[rng.randrange(len(words))]
        lines[at] = b" ".join(words)
    else:
        lines[at] += b" " + rng.choice(NUMBERS)
    return b"\n".join(lines)


OF_BYTES: tuple[Callable[[bytes, Random], bytes], ...] = (
    _flip, _flip, _truncate, _delete, _repeat, _splice, _insert, _blank, _integer, _integer, _number, _number, _line,
)  # fmt: skip
"""Mutations of bytes; some count twice."""


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value of a tree."""
    found = [path]
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in children:
        found += _places(value, (*path, key))
    return found


def mutated_tree(tree: Any, rng: Random) -> Any:
    """A tree of lists and tables with one value replaced, removed, added or moved; texts that are JSON, within."""
    tree = json.loads(json.dumps(tree))
    path = rng.choice(_places(tree))
    if not path:
        return rng.choice(VALUES)
    parent = tree
    for key in path[:-1]:
        parent = parent[key]
    key, what = path[-1], rng.randrange(10)
    old = parent[key]
    if isinstance(old, str) and old[:1] in ("{", "[") and rng.random() < 0.9:
        parent[key] = json.dumps(mutated_tree(json.loads(old), rng))
    elif what == 0:
        del parent[key]
    elif what == 1 and isinstance(parent, list):
        parent += [old] * rng.choice((1, 3, 100))
    elif what == 1:
        parent[f"{key}2"] = old
    elif what == 2:
        parent[key] = [old]
    elif what == 3 and isinstance(old, int | float) and not isinstance(old, bool):
        parent[key] = rng.choice((-old, old + 1, old * 10, old * 1000, old / 3, str(old)))
    else:
        parent[key] = rng.choice(VALUES)
    return tree


def _json(content: bytes, rng: Random) -> bytes:
    if rng.random() < 0.03:
        return rng.choice((b"[" * DEPTH, b'{"a":' * DEPTH, b"[" * 900 + b"]" * 900, b"9" * 100_000))
    return json.dumps(mutated_tree(json.loads(content), rng)).encode()


def _safetensors(content: bytes, rng: Random) -> bytes:
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    what = rng.random()
    if what < 0.65:
        header["__metadata__"] = mutated_tree(header["__metadata__"], rng)
    elif what < 0.85:
        header = mutated_tree(header, rng)
    else:  # numbers that are not finite, or another dtype of the same size
        at = rng.randrange(max(1, len(data) // 4)) * 4
        data = data[:at] + struct.pack("<f", rng.choice((np.nan, np.inf, 1e38))) + data[at + 4 :]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def members_of(content: bytes) -> dict[str, bytes]:
    """Contents of the members of a zip archive by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive of members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


def _zip(content: bytes, rng: Random) -> bytes:
    members = members_of(content)
    name = rng.choice(list(members))
    what = rng.randrange(6)
    if what == 0:
        del members[name]
    elif what == 1:
        other = rng.choice(("../x", "/x", "a\\b", "x" * 300, name.upper(), "é", ""))
        members[other] = members.pop(name)
    elif what < 5:
        members[name] = rng.choice(OF_BYTES)(members[name], rng)
    result = zipped(members, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return _zip_field(result, rng) if what == 5 else result


def _zip_field(content: bytes, rng: Random) -> bytes:
    """An archive whose directory says something else: encryption, method, checksum, sizes or place of a member."""
    at = content.find(b"PK\x01\x02")
    offset, size = rng.choice(((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (42, 4)))
    value = rng.choice((1, 9, 12, 14, 99, 0x41, 0x7FFFFFFF, 0xFFFFFFFF)) % (1 << 8 * size)
    return content[: at + offset] + value.to_bytes(size, "little") + content[at + offset + size :]


def _npz(content: bytes, rng: Random) -> bytes:
    if rng.random() < 0.25:
        return _zip(content, rng)
    members = members_of(content)
    name = rng.choice(list(members))
    array = np.load(io.BytesIO(members[name]))
    if rng.random() < 0.25:
        members[name] = _claims(members[name], rng)
    else:
        members[name] = _npy(rng.choice(OF_ARRAYS)(array, rng))
    return zipped(members, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _claims(content: bytes, rng: Random) -> bytes:
    """An array whose header claims another shape or type."""
    shape = rng.choice(
        (
            "(1000000000,)",
            "(10000, 10000, 8)",
            "(9223372036854775807, 9)",
            "(-1,)",
            "(4,4",
            "x",
            "(0, 4)",
            "()",
        )
    )
    descr = rng.choice(
        ("'<f8'", "'<f8'", "'|O'", "'<U1000000'", "[('a','<f8')]", "'zz'", "None", "'" + "(" * 300)
    )
    head = f"{{'descr': {descr}, 'fortran_order': {rng.choice(('False', 'True', '7'))}, 'shape': {shape}, }}"
    text = head.encode() + b" " * (64 - (11 + len(head)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) % 65536) + text + content[128:]


def _with_number(array: np.ndarray, rng: Random) -> np.ndarray:
    changed = np.zeros(array.shape) if array.dtype.kind not in "biuf" else np.array(array, np.float64)
    if changed.size:
        changed.flat[rng.randrange(changed.size)] = rng.choice(
            (np.nan, np.inf, -np.inf, 1e308, 1e-308, 0, -1)
        )
    return changed


TYPES = "c16", "f2", "i1", "u8", "?", "M8[s]"
"""Types that numbers are turned into."""
OF_ARRAYS: tuple[Callable[[np.ndarray, Random], np.ndarray], ...] = (
    _with_number,
    _with_number,
    lambda array, rng: array[:-1] if array.ndim else array,
    lambda array, rng: array.reshape(-1),
    lambda array, rng: array[None],
    lambda array, rng: np.array(rng.choice((0.0, 1.0, np.nan))),
    lambda array, rng: np.zeros_like(array),
    lambda array, rng: -array if array.dtype.kind in "fi" else array[..., None],
    lambda array, rng: np.zeros((0, *array.shape[1:])),
    lambda array, rng: array.astype(rng.choice(TYPES if array.dtype.kind in "biuf" else ("S4", "O"))),
    lambda array, rng: array.astype(rng.choice(("U8", "S4", "O"))),
    lambda array, rng: np.zeros(array.shape, [("a", "f8")]),
)
"""Mutations of arrays."""


def _glb(content: bytes, rng: Random) -> bytes:
    length = struct.unpack_from("<I", content, 12)[0]
    tree = json.loads(content[20 : 20 + length])
    text = json.dumps(mutated_tree(tree, rng)).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + content[20 + length :]
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def _png(content: bytes, rng: Random) -> bytes:
    """A PNG whose header, with the right checksum, claims another size, depth or kind; or with a chunk changed."""
    chunks, at = [], 8
    while at < len(content):
        length = struct.unpack_from(">I", content, at)[0]
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    number = 0 if rng.random() < 0.7 else rng.randrange(len(chunks))
    kind, data = chunks[number]
    if number == 0:
        changed = list(struct.unpack(">IIBBBBB", data))
        field = rng.randrange(7)
        changed[field] = (
            rng.choice((0, 1, 5, 7000, 13000, 100_000, 2**31 - 1)) if field < 2 else rng.randrange(17)
        )
        data = struct.pack(">IIBBBBB", *changed)
    else:
        data = rng.choice(OF_BYTES)(data, rng)
    chunks[number] = kind, data
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return content[:8] + b"".join(parts)


FORMS: dict[str, Callable[[bytes, Random], bytes]] = {
    "json": _json,
    "safetensors": _safetensors,
    "npz": _npz,
    "zip": _zip,
    "glb": _glb,
    "png": _png,
}
"""Mutations of structure by form of file."""
