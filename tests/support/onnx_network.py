"""A network of persons in an ONNX file, for tests where onnxruntime is: what has a colour, before a grey backdrop.

`python -m tests.support.onnx_network` exports data/coloured.onnx again; it needs `pip install onnx onnxscript`.
"""

from pathlib import Path

import torch

DATA = Path(__file__).parent / "data" / "coloured.onnx"
SIDE = 128
STEEPNESS, LEAST = 40.0, 0.15
"""Logits rise so fast with the difference of red and blue, from below zero to above at the second."""


class ColouredSegmenter(torch.nn.Module):
    """Logits that a pixel is coloured, by a convolution of one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.difference = torch.nn.Conv2d(3, 1, 1, bias=False)
        self.difference.weight.data = torch.tensor([1.0, 0.0, -1.0]).reshape(1, 3, 1, 1)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """(1, 1, side, side) logits of an RGB picture (1, 3, side, side)."""
        return STEEPNESS * (self.difference(picture).abs() - LEAST)


if __name__ == "__main__":
    import onnx

    picture = torch.rand(1, 3, SIDE, SIDE)
    torch.onnx.export(ColouredSegmenter().eval(), (picture,), str(DATA), dynamo=True, external_data=False)
    model = onnx.load(str(DATA))
    for part in (model.graph, *model.graph.node, *model.graph.value_info):  # paths of this machine
        del part.metadata_props[:]
    onnx.save(model, str(DATA))
