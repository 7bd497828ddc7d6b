"""A user's own network in an ONNX file makes the masks."""

import shutil

import numpy as np
import pytest

from recon.errors import PerceptionError
from recon.perception.onnx import OnnxPersonSegmenter
from recon.systems import config
from tests.perception.conftest import drawn
from tests.support.onnx_network import DATA, SIDE
from tests.support.runs import composed

config.register_resolvers()
HEAD = (200, 200, 60)


@pytest.fixture
def runtime():
    return pytest.importorskip(
        "onnxruntime", reason="pip install 'headrecon[onnx]' for a user's own networks"
    )


def perception(*options):
    cfg = composed("perception=onnx_masks", f"perception.segmenter.path={DATA}", *options)
    for part in ("detector", "landmarker"):  # those that need no files
        cfg.perception[part] = composed("perception=stand_in").perception[part]
    cfg.perception.hands = None
    return config.build(config.settle(cfg, []).perception)


def test_the_file_that_is_named_makes_the_mask(runtime, photograph_of):
    image = drawn(400, 500, (HEAD,))
    person = abs(image[..., 0] - image[..., 2]) > 0.1
    seen = perception("perception.segmenter.logits=true").see(photograph_of(image))
    above = np.arange(500)[:, None] < HEAD[1] + HEAD[2]
    ours, theirs = seen.mask.mask & above, person & above
    assert (ours & theirs).sum() > 0.97 * (ours | theirs).sum()


def test_the_size_is_that_of_the_file_and_another_is_refused(runtime):
    assert OnnxPersonSegmenter(DATA).size == OnnxPersonSegmenter(DATA, SIDE).size == SIDE
    with pytest.raises(PerceptionError, match=r"takes pictures of 128 pixels, not 512.*size out"):
        _ = OnnxPersonSegmenter(DATA, 512).size


def test_logits_are_not_taken_for_probabilities(runtime, photograph_of):
    with pytest.raises(PerceptionError, match=r"values from -6 to .*logits=true"):
        perception().see(photograph_of(drawn(400, 500, (HEAD,))))


def test_what_cannot_be_run_is_named(runtime, tmp_path, photograph_of):
    photograph = photograph_of(drawn())
    with pytest.raises(PerceptionError, match=r"none\.onnx does not exist"):
        OnnxPersonSegmenter(tmp_path / "none.onnx").mask(photograph, None)
    broken = tmp_path / "broken.onnx"
    shutil.copy(__file__, broken)
    with pytest.raises(PerceptionError, match=r"broken\.onnx cannot be run as an ONNX network"):
        OnnxPersonSegmenter(broken).mask(photograph, None)


def test_without_the_runtime_the_extra_is_named(monkeypatch, photograph_of):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(PerceptionError, match=r"pip install 'headrecon\[onnx\]'"):
        OnnxPersonSegmenter(DATA).mask(photograph_of(drawn()), None)
