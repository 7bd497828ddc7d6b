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


class OnnxPersonSegmenter:
    """A network of one RGB picture (1, 3, size, size) whose first output is one channel of its size.

    Args:
        path: The file.
        size: Pixels of its input.
        mean: Of each channel, subtracted from RGB in [0, 1].
        std: Of each channel, divided by after it.
        logits: The output is to go through a sigmoid.
        side: Side of the crop in sizes of the face.
    """

    def __init__(
        self,
        path: str | Path,
        size: int = 512,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        logits: bool = False,
        side: float = 3.2,
    ) -> None:
        self.path = Path(path)
        self.size, self.logits, self.side = size, logits, side
        self.mean, self.std = np.array(mean, np.float32), np.array(std, np.float32)

    @cached_property
    def _session(self) -> Any:
        try:
            import onnxruntime
        except ImportError:
            raise PerceptionError(f"{self.path} is run by onnxruntime: pip install onnxruntime") from None
        try:
            return onnxruntime.InferenceSession(str(self.path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no base of their own
            raise PerceptionError(f"{self.path} cannot be run as an ONNX network: {error}") from error

    def mask(self, photograph: Photograph, face: Face | None) -> Float[np.ndarray, "height width"]:
        """(height, width) float32 probability of a person; 0 beyond the crop."""
        width, height = photograph.size
        crop = Crop(width / 2, height / 2, float(max(width, height)), 0.0, self.size)
        if face is not None:
            crop = Crop(*face.place, self.side * face.size, face.roll, self.size)
        picture = (pyramid_of(photograph).crops([crop], border=True).numpy() - self.mean) / self.std
        feed = {self._session.get_inputs()[0].name: np.ascontiguousarray(picture.transpose(0, 3, 1, 2))}
        values = np.asarray(self._session.run(None, feed)[0], np.float32)
        if values.size != self.size**2:
            raise PerceptionError(
                f"{self.path} gives {values.shape}, expected one channel of {self.size} x {self.size}"
            )
        values = values.reshape(self.size, self.size)
        result = np.zeros((height, width), np.float32)
        paste(result, 1 / (1 + np.exp(-values)) if self.logits else values, crop)
        return result
