"""Encrypted zip archives: the standard library reads them but does not write them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

TABLE = [0] * 256
for _value in range(256):
    _crc = _value
    for _ in range(8):
        _crc = _crc >> 1 ^ (0xEDB88320 if _crc & 1 else 0)
    TABLE[_value] = _crc


def encrypt(data: bytes, password: bytes, check: int) -> bytes:
    """Traditional zip encryption with its twelve-byte header (APPNOTE 6.1)."""
    k = [0x12345678, 0x23456789, 0x34567890]

    def feed(byte: int) -> None:
        k[0] = k[0] >> 8 ^ TABLE[(k[0] ^ byte) & 255]
        k[1] = ((k[1] + (k[0] & 255)) * 134775813 + 1) % 2**32
        k[2] = k[2] >> 8 ^ TABLE[(k[2] ^ k[1] >> 24) & 255]

    for byte in password:
        feed(byte)
    out = bytearray()
    for byte in bytes(np.random.default_rng(1).integers(0, 256, 11, dtype=np.uint8)) + bytes([check]) + data:
        temporary = (k[2] | 2) & 0xFFFF
        out.append(byte ^ (temporary * (temporary ^ 1) >> 8 & 255))
        feed(byte)
    return bytes(out)


def write_zip(
    path: Path,
    files: dict[str, bytes],
    password: bytes | None = b"open sesame",
    *,
    links: tuple[str, ...] = (),
    late_sizes: bool = False,
    claim: dict[str, int] | None = None,
    stored: bool = False,
    method: int | None = None,
) -> None:
    """Write an archive.

    Args:
        path: File to write.
        files: Content by member name.
        password: None leaves it plain.
        links: Names of members to mark as symbolic links.
        late_sizes: Put the checksum behind the data, as streaming programs do: the check byte is then of the
            time.
        claim: Sizes to lie about, by member name.
        stored: Do not deflate.
        method: Compression method to claim.
    """
    body, directory = bytearray(), bytearray()
    for name, content in files.items():
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        packed = content if stored else deflate.compress(content) + deflate.flush()
        crc, time = zlib.crc32(content), 12 << 11 | 34 << 5
        flags = (1 if password is not None else 0) | (8 if late_sizes else 0) | 0x800
        if password is not None:
            packed = encrypt(packed, password, time >> 8 if late_sizes else crc >> 24)
        size = (claim or {}).get(name, len(content))
        raw = name.encode()
        common = struct.pack(
            "<HHHHHIIIHH", 20, flags, (0 if stored else 8) if method is None else method,
            time, 0x21, crc, len(packed), size, len(raw), 0,
        )  # fmt: skip
        attributes = (0o120777 if name in links else 0o100644) << 16
        directory += b"PK\1\2" + struct.pack("<H", 3 << 8 | 20) + common
        directory += struct.pack("<HHHII", 0, 0, 0, attributes, len(body)) + raw
        body += b"PK\3\4" + common + raw + packed
        if late_sizes:
            body += b"PK\7\x08" + struct.pack("<III", crc, len(packed), size)
    end = struct.pack("<HHHHIIH", 0, 0, len(files), len(files), len(directory), len(body), 0)
    path.write_bytes(bytes(body + directory) + b"PK\5\6" + end)
