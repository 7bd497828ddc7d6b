"""Download of H3DS with an access token: the hash is checked first, then the archive is unpacked as a whole."""

from __future__ import annotations

import errno
import hashlib
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recon.errors import SceneError
from recon.scene.h3ds.unpack import WrongPasswordError, unpack

log = logging.getLogger(__name__)

FOLDER = ".download"


def download(config: Mapping[str, Any], root: Path, token: str) -> None:
    """Download a release of H3DS and unpack it into `root`.

    What was downloaded is kept in `<root>/.download` until it is unpacked: an interrupted transfer goes on
    where it stopped, and a verified archive is not fetched again. An archive put there by hand is taken as
    well.

    Args:
        config: Description of the release: version, file_id, file_md5.
        root: Folder of the data set; made if need be.
        token: Access token: the archive's password.

    Raises:
        SceneError: See `H3DS.download`.
    """
    file_id, expected = str(config.get("file_id", "")), str(config.get("file_md5", ""))
    if not file_id or not expected:
        raise SceneError(f"the data set at {root} has no download: its description names no file and hash")
    if not token:
        raise SceneError("an access token is needed: fill in the form on https://github.com/CrisalixSA/h3ds")
    folder = root / FOLDER
    made = not root.exists()
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("unpack-*"):
        shutil.rmtree(stale, ignore_errors=True)
    archive = folder / f"h3ds_{config['version']}.zip"
    try:
        _fetch_verified(file_id, expected, archive)
        _unpack(archive, root, token)
    except BaseException:
        _tidy(folder, root, made)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _fetch_verified(file_id: str, expected: str, archive: Path) -> None:
    """Download the archive unless it is there, and check its hash."""
    partial = archive.with_suffix(".part")
    by_hand = (
        f"or download https://drive.google.com/file/d/{file_id}/view in a browser and put it at {archive}"
    )
    if not archive.exists():
        try:
            fetch(file_id, partial)
        except SceneError:
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                for piece in archive.parent.glob(partial.name + "*"):
                    piece.unlink(missing_ok=True)
                raise SceneError(f"the disk of {archive.parent} is full: make room and try again") from error
            raise SceneError(
                f"the download stopped ({error}): call download again to go on, {by_hand}"
            ) from error
        except Exception as error:
            # gdown's own exceptions: quota used up, no permission, changed page
            raise SceneError(
                f"Google Drive refused the download ({error}): try again later, {by_hand}"
            ) from error
        if not partial.exists():
            raise SceneError(f"the download left no file: try again later, {by_hand}")
        partial.replace(archive)
    found = _md5(archive)
    if found != expected.lower():
        size = archive.stat().st_size
        archive.unlink()
        raise SceneError(
            f"the downloaded archive ({size} bytes) has md5 {found}, expected {expected}: it was removed "
            f"and nothing was unpacked; try again later, {by_hand}"
        )


def fetch(file_id: str, output: Path) -> None:
    """Fetch a file of Google Drive with gdown, showing progress, going on where an earlier call stopped.

    Raises:
        SceneError: gdown is not installed.
    """
    try:
        import gdown
    except ImportError:
        raise SceneError("downloading H3DS needs gdown: pip install 'gdown>=5'") from None
    gdown.download(id=file_id, output=str(output), quiet=False, resume=True)


def _unpack(archive: Path, root: Path, token: str) -> None:
    """Unpack a verified archive."""
    try:
        unpack(archive, root, token, work=archive.parent)
    except WrongPasswordError as error:
        raise SceneError(
            "the token does not open the archive: each version has its own token, check which one you "
            f"have. The verified archive stays at {archive}, so that download with the right token starts "
            "at once; nothing was unpacked"
        ) from error


def _md5(path: Path) -> str:
    """MD5 of a file in hexadecimal, with a progress bar: the release publishes no stronger hash."""
    digest = hashlib.md5(usedforsecurity=False)
    with (
        path.open("rb") as stream,
        tqdm(total=path.stat().st_size, desc="checking", unit="B", unit_scale=True) as bar,
    ):
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _tidy(folder: Path, root: Path, made: bool) -> None:
    """Remove folders that hold nothing; `root` only if this call made it."""
    for empty in (folder, root) if made else (folder,):
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()
