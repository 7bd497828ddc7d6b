"""A network that looks at photographs is one file and one yaml, which a word on the command line names."""

import numpy as np

from recon.perception import Perception
from recon.systems import config
from tests.perception.conftest import drawn
from tests.support.runs import composed
from tests.support.seams import add_module, add_yaml

config.register_resolvers()

SEGMENTER = '''
import numpy as np

from recon.perception.networks import PersonSegmenter


class BoxSegmenter(PersonSegmenter):
    """Takes for a person what lies in a box about the face."""

    def __init__(self, sides):
        self.sides = sides

    def mask(self, photograph, face):
        rows, columns = np.indices(photograph.image.shape[:2]) + 0.5
        near = np.maximum(abs(columns - face.centre[0]), abs(rows - face.centre[1])) < self.sides * face.size
        return near.astype(np.float32)
'''
YAML = """
defaults: [stand_in, _self_]
segmenter:
  _target_: recon.perception.box.BoxSegmenter
  sides: 1.0
"""


def test_a_segmenter_of_ones_own_takes_its_place_by_a_word(tmp_path, monkeypatch, photograph_of):
    add_module(monkeypatch, "recon.perception.box", SEGMENTER)
    found = add_yaml(tmp_path, "perception", "box", YAML)
    cfg = config.settle(composed(found, "perception=box", "perception.segmenter.sides=0.75"), [])
    perception = config.build(cfg.perception)
    assert isinstance(perception, Perception) and perception.segmenter.sides == 0.75
    seen = perception.see(photograph_of(drawn(400, 500, ((200, 150, 60),))))
    rows = np.flatnonzero(seen.mask.mask.any(axis=1))
    assert abs((rows[0] + rows[-1] + 1) / 2 - seen.face.centre[1]) < 0.03 * seen.face.size
    assert rows[-1] - rows[0] + 1 <= 1.5 * seen.face.size + 1
