"""Download of the public head model: one pinned commit, checked against a known hash, and packed."""

import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from tqdm import tqdm

from recon.errors import ConfigError
from recon.synth.model import convert as model_convert
from recon.synth.model.source import Source, content_digest

URL = f"https://codeload.github.com/ICT-VGL/ICT-FaceKit/zip/{model_convert.COMMIT}"
LARGEST_DOWNLOAD = 1 << 30


def download(url: str, target: Path) -> None:
    """Downloads a file over https (or from a file:// or local http address) with a progress bar.

    Raises:
        ConfigError: The address is of another kind, cannot be reached, or sends too much or too little.
    """
    parts = urllib.parse.urlsplit(url)
    local = parts.hostname in ("localhost", "127.0.0.1")
    if not (parts.scheme in ("https", "file") or (parts.scheme == "http" and local)):
        raise ConfigError(f"expected an https address, got {url}")
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, target.open("wb") as out:  # noqa: S310
            expected = int(answer.headers.get("Content-Length") or 0)
            with tqdm(total=expected or None, desc="downloading", unit="B", unit_scale=True) as bar:
                while chunk := answer.read(1 << 20):
                    bar.update(len(chunk))
                    if bar.n > LARGEST_DOWNLOAD:
                        raise ConfigError(f"{url} sends more than {LARGEST_DOWNLOAD} bytes: refused")
                    out.write(chunk)
            received = bar.n
    except (urllib.error.URLError, OSError) as error:
        raise ConfigError(
            f"{url} cannot be fetched ({error}); try again, or get the repository by other means and pass "
            "source=PATH_TO_FOLDER_OR_ZIP"
        ) from error
    if expected and received != expected:
        raise ConfigError(f"{url} sent {received} of {expected} bytes: try again")


def get_head_model(
    out: Path, source: str | None = None, url: str = URL, sha256: str = model_convert.SHA256
) -> Path:
    """Makes the packed model.

    Args:
        out: File to write.
        source: Folder or zip archive to use instead of the download.
        url: Address of the archive.
        sha256: What `model_source.content_digest` must be.

    Raises:
        ConfigError: No archive, or not the content that is expected; `out` is as before.
    """
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(source) if source else Path(folder) / "archive.zip"
        if source is None:
            download(url, archive)
        files = Source(archive)
        found = content_digest(files)
        if found != sha256:
            raise ConfigError(
                f"{source or url} is not the expected content of ICT-FaceKit at {model_convert.COMMIT[:7]}: "
                f"sha256 {found}, expected {sha256}; nothing was written"
            )
        return model_convert.write_packed(model_convert.convert(files), out)
