import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recon.errors import PerceptionError
from recon.perception.tflite import TFLiteNetwork, _padded
from recon.perception.weights import (
    FACE_DETECTION,
    FACE_LANDMARKS,
    HAND_LANDMARKS,
    PALM_DETECTION,
    PERSON_SEGMENTATION,
    network_path,
)


def test_padding_same_puts_an_odd_row_at_the_end():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    padded, rest = _padded(x, [3, 3], (2, 2))
    assert rest == (0, 0) and torch.equal(padded, F.pad(x, (0, 1, 0, 1)))
    same, rest = _padded(x, [3, 3], (1, 1))
    assert rest == (1, 1) and same is x


@pytest.mark.parametrize("data", [b"", b"12345678", b"\x08\0\0\0TFL3\0\0\0\0"])
def test_what_is_no_network_is_named(tmp_path, data):
    (tmp_path / "a.tflite").write_bytes(data)
    with pytest.raises(PerceptionError, match=r"a\.tflite"):
        TFLiteNetwork(tmp_path / "a.tflite")


CASES = [
    (FACE_DETECTION, 128),
    (FACE_LANDMARKS, 192),
    (PERSON_SEGMENTATION, 256),
    (PALM_DETECTION, 192),
    (HAND_LANDMARKS, 224),
]
NAMES = ["faces", "landmarks", "persons", "palms", "hands"]


@pytest.mark.parametrize(("network", "size"), CASES, ids=NAMES)
def test_several_pictures_at_once_are_as_one_by_one(networks, network, size):
    net = TFLiteNetwork(network_path(network))
    assert net.input_size == (size, size)
    pictures = torch.rand(3, size, size, 3, generator=torch.Generator().manual_seed(0))
    for together, *single in zip(net(pictures), *(net(p[None]) for p in pictures), strict=True):
        assert torch.allclose(together, torch.cat(single), atol=1e-3)


@pytest.mark.parametrize(("network", "size"), CASES, ids=NAMES)
def test_outputs_are_those_of_tensorflow_lite(networks, network, size):
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
    path = network_path(network)
    picture = np.random.default_rng(0).random((1, size, size, 3)).astype(np.float32)
    theirs = litert.Interpreter(str(path))
    theirs.allocate_tensors()
    theirs.set_tensor(theirs.get_input_details()[0]["index"], picture)
    theirs.invoke()
    ours = TFLiteNetwork(path)(torch.from_numpy(picture))
    for detail, output in zip(theirs.get_output_details(), ours, strict=True):
        assert output.numpy() == pytest.approx(theirs.get_tensor(detail["index"]), abs=1e-3)
