"""Unpacking of encrypted zip archives: completely or not at all, and never outside of their folder."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from recon.errors import ReconError, SceneError
from recon.reading import cause, shortened
from recon.scene.h3ds.layout import VERSION_FILE
from recon.scene.h3ds.writer import move_in_place
from recon.scene.h3ds.zipcrypto import HEADER_BYTES, ZipCrypto

MAX_BYTES = 200 * 10**9
MAX_FILES = 500_000
_CHUNK = 1 << 20
_LOCAL_HEADER = struct.Struct("<4s22xHH")


class WrongPasswordError(SceneError):
    """The password does not open the archive."""


def unpack(
    archive: Path,
    target: Path,
    password: str,
    *,
    work: Path | None = None,
    max_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
) -> None:
    """Unpack an archive into a folder.

    Everything is unpacked into a temporary folder first and moved in place when it is complete; `version.txt`
    comes last. Existing scene folders are replaced. An archive whose files lie in one folder is unpacked
    without it.

    Args:
        archive: A zip file; members may be stored or deflated, plain or in the traditional encryption.
        target: Folder to unpack into; made if need be.
        password: Password of encrypted members.
        work: Folder on the same disk for the temporary folder; `target` without one.
        max_bytes: Largest allowed size of all files together.
        max_files: Largest allowed number of members.

    Raises:
        WrongPasswordError: The password is wrong.
        SceneError: The archive is broken or unsafe (absolute names, `..`, links, too large), or the disk is
            full. In every case the target is as before.
    """
    target.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix="unpack-", dir=work or target))
    try:
        with zipfile.ZipFile(archive) as opened, archive.open("rb") as stream:
            members = _checked_members(opened, archive, max_bytes, max_files)
            total = sum(member.file_size for member in members)
            free = shutil.disk_usage(temporary).free
            if total > free:
                raise SceneError(
                    f"{target} needs {_gigabytes(total)}, but {_gigabytes(free)} are free: {_ROOM}"
                )
            with tqdm(total=total, desc="unpacking", unit="B", unit_scale=True) as bar:
                for member in members:
                    _write_member(stream, member, temporary, password.encode(), bar)
        _move(temporary, target)
    except ReconError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SceneError(f"the disk of {target} is full: {_ROOM}") from error
        raise SceneError(f"unpacking {archive} to {target} failed: {cause(error)}") from error
    except Exception as error:  # zipfile raises all kinds
        raise SceneError(
            f"{archive} is not a sound zip archive ({cause(error)}): download it again"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


_ROOM = "make room, or choose another folder; nothing was unpacked"


def _checked_members(
    opened: zipfile.ZipFile, archive: Path, max_bytes: int, max_files: int
) -> list[zipfile.ZipInfo]:
    """The members that are files, after looking at all names and sizes."""
    members = opened.infolist()
    if len(members) > max_files:
        raise SceneError(f"{archive} has {len(members)} members, more than the allowed {max_files}: refused")
    total = sum(member.file_size for member in members)
    if total > max_bytes:
        raise SceneError(
            f"{archive} unpacks to {_gigabytes(total)}, more than the allowed {_gigabytes(max_bytes)}: "
            "refused"
        )
    names: set[str] = set()
    for member in members:
        path, name = PurePosixPath(member.filename), shortened(member.filename, 100)
        odd = "\\" in member.filename or ":" in member.filename or "\0" in member.filename
        if odd or path.is_absolute() or ".." in path.parts or not path.parts:
            raise SceneError(f"{archive} holds the unsafe name {name!r}: refused, nothing was unpacked")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise SceneError(f"{archive}: {name!r} is a link or device: refused, nothing was unpacked")
        if str(path) in names and not member.is_dir():
            raise SceneError(f"{archive} holds {name!r} twice: refused, nothing was unpacked")
        names.add(str(path))
    return [member for member in members if not member.is_dir()]


def _write_member(
    stream: BinaryIO, member: zipfile.ZipInfo, folder: Path, password: bytes, bar: tqdm[None]
) -> None:
    """Unpack one member; its size and checksum must be what the archive says."""
    path, name = folder / member.filename, shortened(member.filename, 100)
    path.parent.mkdir(parents=True, exist_ok=True)
    checksum = size = 0
    try:
        with path.open("xb") as out:
            for chunk in _content(stream, member, password):
                size += len(chunk)
                if size > member.file_size:
                    break
                checksum = zlib.crc32(chunk, checksum)
                out.write(chunk)
                bar.update(len(chunk))
        sound = size == member.file_size and checksum == member.CRC
    except zlib.error:
        sound = False
    if not sound:
        # One wrong password in 256 passes the check byte; then the content is noise.
        if member.flag_bits & 1:
            raise WrongPasswordError(f"{stream.name}: the password does not fit {name}")
        raise zipfile.BadZipFile(f"{name} has a wrong size or checksum")


def _content(stream: BinaryIO, member: zipfile.ZipInfo, password: bytes) -> Iterator[bytes]:
    """Plain content of a member in chunks."""
    name = shortened(member.filename, 100)
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SceneError(
            f"{stream.name}: {name} is packed by method {member.compress_type} (99 is AES): unpack the archive "
            "with 7z"
        )
    stream.seek(member.header_offset)
    header = stream.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size:
        raise zipfile.BadZipFile("the archive ends too early")
    magic, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
    if magic != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"no header where {name} should begin")
    stream.seek(name_bytes + extra_bytes, os.SEEK_CUR)
    left = member.compress_size
    cipher = None
    if member.flag_bits & 1:
        cipher = ZipCrypto(password)
        if cipher.decrypt(stream.read(HEADER_BYTES))[-1:] != bytes([_check_byte(member)]):
            raise WrongPasswordError(f"{stream.name}: the password does not fit {name}")
        left -= HEADER_BYTES
    inflate = zlib.decompressobj(-zlib.MAX_WBITS) if member.compress_type == zipfile.ZIP_DEFLATED else None
    while left > 0:
        chunk = stream.read(min(_CHUNK, left))
        if not chunk:
            raise zipfile.BadZipFile("the archive ends too early")
        left -= len(chunk)
        plain = cipher.decrypt(chunk) if cipher else chunk
        while plain:
            # Bounded output: a small member cannot swell in memory before its size is looked at.
            yield inflate.decompress(plain, 4 * _CHUNK) if inflate else plain
            plain = inflate.unconsumed_tail if inflate else b""
    if inflate:
        yield inflate.flush()


def _check_byte(member: zipfile.ZipInfo) -> int:
    """Last byte of the cipher's header: of the time if the checksum follows the data, else of the CRC."""
    if member.flag_bits & 8:
        _, _, _, hour, minute, _ = member.date_time
        return (hour << 3) | (minute >> 3)
    return member.CRC >> 24


def _move(temporary: Path, target: Path) -> None:
    """Move what was unpacked in place."""
    content = temporary
    entries = sorted(content.iterdir())
    if len(entries) == 1 and entries[0].is_dir() and (entries[0] / VERSION_FILE).is_file():
        content = entries[0]
    for entry in sorted(content.iterdir(), key=lambda path: (path.name == VERSION_FILE, path.name)):
        move_in_place(entry, target / entry.name)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
