"""Files of the public ICT-FaceKit repository, wherever its copy lies."""

import hashlib
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from recon.errors import ConfigError
from recon.reading import reading, shortened

FOLDER = "FaceXModel"
"""Folder of the model in the repository."""
_LARGEST_FILE = 64 << 20


class Source:
    """Files of the repository by their path in it, from a checked-out folder or a zip archive.

    A zip is read in memory, never unpacked: its members' names cannot write anywhere. A single folder around
    everything, as GitHub's archives have it, is left out of the paths.
    """

    def __init__(self, path: str | Path):
        """Opens a folder or a zip archive.

        Raises:
            ConfigError: Neither, or an archive that cannot be read.
        """
        self.path = Path(path)
        self._members: dict[str, Callable[[], bytes]] = {}
        if self.path.is_dir():
            for file in sorted(self.path.rglob("*")):
                if file.is_file():
                    self._members[file.relative_to(self.path).as_posix()] = file.read_bytes
        elif self.path.is_file() and zipfile.is_zipfile(self.path):
            with reading(self.path, ConfigError, "a zip archive", "fetch it again"):
                archive = zipfile.ZipFile(self.path)
            files = [info for info in archive.infolist() if info.filename and not info.is_dir()]
            tops = {info.filename.split("/", 1)[0] for info in files}
            strip = len(tops) == 1 and all("/" in info.filename for info in files)
            for info in files:
                name = info.filename.split("/", 1)[1] if strip else info.filename
                self._members[name] = partial(self._member, archive, info)
        else:
            raise ConfigError(f"expected a folder or a zip archive of ICT-FaceKit, got {self.path}")

    def _member(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
        if info.file_size > _LARGEST_FILE:
            raise ConfigError(f"{self.path}: {info.filename} claims {info.file_size} bytes: refused")
        what = f"a zip archive with a sound {shortened(info.filename, 60)}"
        with reading(self.path, ConfigError, what, "fetch it again"), archive.open(info) as stream:
            return stream.read(_LARGEST_FILE + 1)

    def names(self) -> list[str]:
        """Returns all paths, sorted."""
        return sorted(self._members)

    def read(self, name: str) -> bytes:
        """Returns the content of one file.

        Raises:
            ConfigError: There is no such file, or it is broken or too large.
        """
        if name not in self._members:
            raise ConfigError(f"{self.path} has no {name}; expected a copy of github.com/ICT-VGL/ICT-FaceKit")
        return self._members[name]()


def model_files(source: Source) -> list[str]:
    """Returns the paths that the packed model is made of: the licence, the OBJ files, the vertex lists."""
    wanted = (".obj", "/vertex_indices.json")
    names = source.names()
    return [n for n in names if n == "LICENSE" or (n.startswith(f"{FOLDER}/") and n.endswith(wanted))]


def content_digest(source: Source) -> str:
    """SHA-256 over the names and contents of `model_files`; the same for a folder and any archive of it."""
    total = hashlib.sha256()
    for name in model_files(source):
        total.update(f"{hashlib.sha256(source.read(name)).hexdigest()}  {name}\n".encode())
    return total.hexdigest()
