"""A user's own network of persons in an ONNX file, such as Microsoft's DAViD soft foreground (Saleh et al. 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from recon.errors import PerceptionError
from recon.perception.crops import Crop
from recon.perception.mediapipe import paste, pyramid_of
from recon.perception.networks import Face
from recon.perception.photograph import Photograph

OPEN_SIZE = 512
"""Pixels of the input's sides where neither the file nor the user says them."""
SLACK = 0.05
"""Probabilities may miss [0, 1] by so much."""


class OnnxPersonSegmenter:
    """A network of one RGB picture (1, 3, size, size), float32, whose first output is one channel of its size.

    Args:
        path: The file; weights that it keeps in a file of their own have to lie beside it.
        size: Pixels of its input; None for what the file says, and 512 where that leaves it open.
        mean: Of each channel, subtracted from RGB in [0, 1].
        std: Of each channel, divided by after it.
        logits: The output is to go through a sigmoid.
        side: Side of the crop in sizes of the face.
    """

    def __init__(
        self,
        path: str | Path,
        size: int | None = None,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        logits: bool = False,
        side: float = 3.2,
    ) -> None:
        self.path = Path(path).expanduser()
        self.logits, self.side = logits, side
        self._size = size
        self.mean, self.std = np.array(mean, np.float32), np.array(std, np.float32)

    @cached_property
    def _session(self) -> Any:
        try:
            import onnxruntime
        except ImportError:
            raise PerceptionError(
                f"{self.path} is run by onnxruntime: pip install 'headrecon[onnx]'"
            ) from None
        if not self.path.is_file():
            raise PerceptionError(f"{self.path} does not exist: expected the ONNX file of a network")
        try:
            return onnxruntime.InferenceSession(str(self.path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no base of their own
            raise PerceptionError(f"{self.path} cannot be run as an ONNX network: {error}") from error

    @cached_property
    def size(self) -> int:
        """Pixels of the input's sides.

        Raises:
            PerceptionError: The file's input is no square RGB picture, or of another size than was said.
        """
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if inputs else []
        own = [side for side in shape[2:] if isinstance(side, int)]
        rgb = len(inputs) == 1 and len(shape) == 4 and shape[1] in (3, None)
        if not rgb or len(set(own)) > 1:
            raise PerceptionError(
                f"{self.path} takes {[each.shape for each in inputs]}, expected one square picture (1, 3, size, size)"
            )
        if own and self._size not in (None, own[0]):
            raise PerceptionError(
                f"{self.path} takes pictures of {own[0]} pixels, not {self._size}: leave perception.segmenter.size out"
            )
        return self._size or (own[0] if own else OPEN_SIZE)

    def mask(self, photograph: Photograph, face: Face | None) -> Float[np.ndarray, "height width"]:
        """(height, width) float32 probability of a person; 0 beyond the crop.

        Raises:
            PerceptionError: The file cannot be run, or gives something else than probabilities of one channel.
        """
        width, height = photograph.size
        crop = Crop(width / 2, height / 2, float(max(width, height)), 0.0, self.size)
        if face is not None:
            crop = Crop(*face.place, self.side * face.size, face.roll, self.size)
        picture = (pyramid_of(photograph).crops([crop], border=True).numpy() - self.mean) / self.std
        result = np.zeros((height, width), np.float32)
        paste(result, self._probability(np.ascontiguousarray(picture.transpose(0, 3, 1, 2))), crop)
        return result

    def _probability(self, picture: Float[np.ndarray, "1 3 size size"]) -> Float[np.ndarray, "size size"]:
        """What the network says of a crop."""
        try:
            found = self._session.run(None, {self._session.get_inputs()[0].name: picture})[0]
        except Exception as error:  # as above
            raise PerceptionError(f"{self.path} cannot be run: {error}") from error
        values = np.asarray(found, np.float32)
        if values.size != self.size**2:
            raise PerceptionError(
                f"{self.path} gives {values.shape}, expected one channel of {self.size} x {self.size}"
            )
        values = values.reshape(self.size, self.size)
        if self.logits:
            values = np.asarray(
                0.5 * (1 + np.tanh(values / 2)), np.float32
            )  # the sigmoid, without an overflow
        elif values.min() < -SLACK or values.max() > 1 + SLACK:
            raise PerceptionError(
                f"{self.path} gives values from {values.min():.3g} to {values.max():.3g}, expected probabilities: "
                "perception.segmenter.logits=true takes logits"
            )
        return np.clip(values, 0.0, 1.0)
