import numpy as np
import pytest
from PIL import Image

from recon.perception import Perception, Photograph
from recon.perception.stand_in import BackdropSegmenter, GridLandmarker, SkinColourDetector
from recon.perception.weights import NETWORKS, present


@pytest.fixture
def networks():
    """The real networks; `make test` brings them."""
    if not all(present(network) for network in NETWORKS):
        pytest.skip(
            "MediaPipe's networks are not in the cache: python -m recon.perception.weights brings them"
        )
    return Perception()


@pytest.fixture
def stand_in():
    return Perception(SkinColourDetector(), GridLandmarker(), BackdropSegmenter())


def drawn(width=320, height=400, heads=((160, 150, 40),)):
    """A picture of heads before a grey backdrop: skin-coloured discs on blue shoulders; (x, y, radius) of each."""
    y, x = np.mgrid[:height, :width] + 0.5
    image = np.full((height, width, 3), 0.6, np.float32)
    for cx, cy, radius in heads:
        image[(abs(x - cx) < 1.5 * radius) & (y > cy + 0.9 * radius)] = (0.2, 0.3, 0.6)
        image[np.hypot(x - cx, y - cy) < radius] = (0.85, 0.65, 0.5)
    return image


@pytest.fixture
def saved(tmp_path):
    """Writes a picture and gives its path."""

    def save(image, name="a.png", mode="RGB", **options):
        path = tmp_path / name
        picture = image if isinstance(image, Image.Image) else Image.fromarray(np.uint8(image * 255 + 0.5))
        picture.convert(mode).save(path, **options)
        return path

    return save


@pytest.fixture
def photograph_of(tmp_path):
    return lambda image, **other: Photograph(np.float32(image), tmp_path / "a.png", **other)
