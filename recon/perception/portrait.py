"""A network that sees a portrait: person, parts, normals, canonical coordinates, direction and depth of hair.

One encoder and one decoder with a light head for each map, all convolutions: pictures of any size that the coarsest
stride divides. Maps come at a quarter of the picture's side, alpha and parts at half of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from recon.errors import PerceptionError
from recon.fields.stored import check_arguments
from recon.files import replacing
from recon.perception.crops import Crop
from recon.perception.mediapipe import paste, pyramid_of
from recon.perception.networks import Face
from recon.perception.photograph import Photograph
from recon.perception.portrait_maps import HAIRS, PARTS, SKINS, PortraitMaps
from recon.reading import reading, table

STRIDE = 4
"""Pixels of the picture to one of the coarse maps."""
CANONICAL_UNIT_MM, DEPTH_UNIT_MM = 100.0, 100.0
"""Millimetres to one unit of the network's output."""
LEAST_SCALE_MM, MOST_SCALE_MM = 0.5, 200.0
"""Bounds of the scale of the errors of canonical coordinates."""
MOST_CONCENTRATION = 500.0
MEAN, SPREAD = 0.42, 0.27
"""Of pictures, subtracted and divided by."""
FORMAT = "headrecon-portrait-network-1"
HEAD_MM, MIDDLE_MM = 240.0, (0.0, 25.0, 0.0)
"""Height of the mean head, and its middle in the canonical frame."""
FILL, SIZE = 0.55, 256
"""Share of a crop that the head takes, and pixels of the crop that the network is shown."""
LEAST_HEAD = 0.004
"""Share of a picture below which there is no head in it."""
RADIUS, EPSILON = 2, 1e-4
"""Radius of the guided filter in pixels of the finer maps, and its regularisation."""
COARSE = {"normals": 3, "concentration": 1, "canonical": 3, "scale": 3, "strand": 2, "depth": 1}
"""Channels of each coarse map."""


@dataclass(frozen=True, eq=False)
class PortraitOutput:
    """What the network says of pictures.

    Attributes:
        alpha: Logits of the share of a pixel that shows the person, at half the picture's side.
        parts: Logits of `PARTS`, likewise.
        normals: Unit normals, camera axes, at a quarter of the picture's side, as are those below.
        concentration: Concentration of their von Mises–Fisher distribution.
        canonical: Canonical coordinates, mm.
        scale: Scale of the Laplace distribution of each coordinate, mm.
        strand: Unit directions of hair in the picture.
        depth: Depth beyond the head's origin, mm.
    """

    alpha: Float[Tensor, "batch half half2"]
    parts: Float[Tensor, "batch parts half half2"]
    normals: Float[Tensor, "batch 3 quarter quarter2"]
    concentration: Float[Tensor, "batch quarter quarter2"]
    canonical: Float[Tensor, "batch 3 quarter quarter2"]
    scale: Float[Tensor, "batch 3 quarter quarter2"]
    strand: Float[Tensor, "batch 2 quarter quarter2"]
    depth: Float[Tensor, "batch quarter quarter2"]

    def shares(self, parts: Sequence[int]) -> Float[Tensor, "batch quarter quarter2"]:
        """Share of each cell that shows one of some parts."""
        probability: Tensor = functional.avg_pool2d(self.parts.softmax(dim=1), 2)
        return probability[:, list(parts)].sum(dim=1)

    @property
    def canonical_sigma(self) -> Float[Tensor, "batch 3 quarter quarter2"]:
        """Standard deviation of canonical coordinates, mm."""
        return math.sqrt(2) * self.scale


class PortraitNetwork(nn.Module):
    """The network.

    Args:
        widths: Channels of each level, from a quarter of the picture's side downwards by halves.
        blocks: Residual blocks of each level of the encoder.
        head_width: Channels of the features that heads read.
    """

    def __init__(
        self,
        widths: Sequence[int] = (40, 80, 160, 288),
        blocks: Sequence[int] = (1, 1, 2, 2),
        head_width: int = 64,
    ) -> None:
        super().__init__()
        if len(widths) != len(blocks):
            raise ValueError(
                f"widths={list(widths)} blocks={list(blocks)}: expected as many blocks as widths"
            )
        self.arguments: Mapping[str, Any] = {
            "widths": list(widths), "blocks": list(blocks), "head_width": head_width,
        }  # fmt: skip
        self.stem = _convolution(3 * STRIDE**2, widths[0])
        self.down = nn.ModuleList(_convolution(a, b, step=2) for a, b in pairwise(widths))
        self.levels = nn.ModuleList(
            nn.Sequential(*(_Block(width) for _ in range(count)))
            for width, count in zip(widths, blocks, strict=True)
        )
        self.context = nn.Sequential(
            nn.Linear(widths[-1], widths[-1]), nn.ReLU(), nn.Linear(widths[-1], widths[-1])
        )
        self.lateral = nn.ModuleList(nn.Conv2d(b, a, 1, bias=False) for a, b in pairwise(widths))
        self.merge = nn.ModuleList(_convolution(width, width) for width in widths[:-1])
        self.features = _convolution(widths[0], head_width)
        self.coarse = nn.ModuleDict({name: nn.Conv2d(head_width, n, 1) for name, n in COARSE.items()})
        self.fine = nn.Conv2d(head_width, 4 * (1 + len(PARTS)), 1)

    @property
    def stride(self) -> int:
        """What the sides of pictures have to be a multiple of."""
        return int(STRIDE * 2 ** len(self.down))

    def forward(self, pictures: Float[Tensor, "batch 3 height width"]) -> PortraitOutput:
        """Looks at pictures, sRGB in [0, 1]; their sides are multiples of `stride`."""
        x = functional.pixel_unshuffle((pictures - MEAN) / SPREAD, STRIDE)
        x = self.levels[0](self.stem(x.contiguous(memory_format=torch.channels_last)))
        kept = [x]
        for down, level in zip(self.down, self.levels[1:], strict=True):
            x = level(down(x))
            kept.append(x)
        x = x + self.context(x.mean(dim=(2, 3)))[:, :, None, None]
        for number in reversed(range(len(self.merge))):
            up = functional.interpolate(self.lateral[number](x), scale_factor=2, mode="nearest")
            x = self.merge[number](kept[number] + up)
        return self._heads(self.features(x))

    def _heads(self, features: Tensor) -> PortraitOutput:
        fine = functional.pixel_shuffle(self.fine(features), 2).float()
        coarse = {name: head(features).float() for name, head in self.coarse.items()}
        return PortraitOutput(
            alpha=fine[:, 0],
            parts=fine[:, 1:],
            normals=functional.normalize(coarse["normals"], dim=1, eps=1e-4),
            concentration=functional.softplus(coarse["concentration"][:, 0] + 2.0).clamp(
                0.05, MOST_CONCENTRATION
            ),
            canonical=coarse["canonical"] * CANONICAL_UNIT_MM,
            scale=(CANONICAL_UNIT_MM * (coarse["scale"] - 1.0).exp()).clamp(LEAST_SCALE_MM, MOST_SCALE_MM),
            strand=functional.normalize(coarse["strand"], dim=1, eps=1e-4),
            depth=coarse["depth"][:, 0] * DEPTH_UNIT_MM,
        )


class _Block(nn.Module):
    """Two convolutions about which the input passes by."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.norm(self.second(self.first(x))))


def _convolution(inputs: int, outputs: int, step: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=step, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def save_network(path: Path, network: PortraitNetwork, about: Mapping[str, Any]) -> None:
    """Writes a network in half precision, norms in single; the same bytes for the same network.

    Args:
        path: The file.
        network: The network.
        about: The facts of its making, ready for JSON.
    """
    tensors = {
        name: (value.half() if value.ndim > 1 else value.float()).cpu().contiguous()
        for name, value in sorted(network.state_dict().items())
        if value.is_floating_point()
    }
    content = {"format": FORMAT, "arguments": dict(network.arguments), "about": dict(about)}
    with replacing(path) as temporary:  # one entry of metadata, whose order the library could not change
        temporary.write_bytes(save(tensors, {"portrait": json.dumps(content, sort_keys=True)}))


def load_network(path: Path) -> PortraitNetwork:
    """Reads a network of `save_network`, in evaluation mode.

    Raises:
        PerceptionError: There is no such file, or it is broken or of another kind.
    """
    if not path.is_file():
        raise PerceptionError(
            f"{path} does not exist: expected a network of headrecon-pretrain network=portrait"
        )
    with reading(path, PerceptionError, "a portrait network"), safe_open(path, framework="pt") as file:
        content = table(json.loads((file.metadata() or {}).get("portrait", "{}")))
        if content.get("format") != FORMAT:
            raise ValueError(f"its format is {content.get('format')!r}, expected {FORMAT!r}")
        arguments = check_arguments(content["arguments"])
        with torch.device("meta"):
            network = PortraitNetwork(**arguments)
        wanted = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        if shapes != {name: tuple(value.shape) for name, value in wanted.items()}:
            raise ValueError("its tensors are not those of its arguments")
        network = PortraitNetwork(**arguments)
        network.load_state_dict({name: file.get_tensor(name).float() for name in shapes}, strict=False)
    return fast_on_cpu(network.eval())


def fast_on_cpu(network: PortraitNetwork) -> PortraitNetwork:
    """The network with its weights in the order in which CPUs convolve fastest."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class PortraitSegmenter:
    """The portrait network on photographs of any size: first on the whole picture, then on a crop about the head.

    Args:
        path: File of the network.
        size: Side of the maps, pixels.
    """

    def __init__(self, path: str | Path, size: int = 512) -> None:
        self.path, self.size = Path(path).expanduser(), size

    @cached_property
    def network(self) -> PortraitNetwork:
        """The network, read when it is first asked for."""
        return load_network(self.path)

    def see(self, photograph: Photograph, face: Face | None = None) -> tuple[Crop, PortraitMaps]:
        """Looks at a photograph.

        Args:
            photograph: The photograph.
            face: A face that was found, about which the head is looked for; the whole picture by default.

        Returns:
            The crop about the head, `size` pixels wide, and the maps of its pixels.
        """
        width, height = photograph.size
        first = Crop(width / 2, height / 2, float(max(width, height)), 0.0, SIZE)
        if face is not None:
            first = Crop(*face.place, 2.6 * face.size, face.roll, SIZE)
        pyramid = pyramid_of(photograph)
        second = about_head(self._look(pyramid.crops([first], border=False)), first)
        output = self._look(pyramid.crops([second], border=False))
        whole = Crop(second.x, second.y, second.side, second.roll, self.size)
        guide = pyramid.crops([whole], border=False)[0].numpy()
        return whole, upsampled(output, guide)

    def mask(self, photograph: Photograph, face: Face | None) -> Float[np.ndarray, "height width"]:
        """(height, width) float32 share of each pixel that shows the person; 0 beyond the crop about the head."""
        crop, maps = self.see(photograph, face)
        result = np.zeros(photograph.size[::-1], np.float32)
        paste(result, maps.alpha, crop)
        return result

    def _look(self, pictures: Float[Tensor, "batch height width 3"]) -> PortraitOutput:
        with torch.inference_mode():
            output: PortraitOutput = self.network(pictures.permute(0, 3, 1, 2))
        return output


def about_head(output: PortraitOutput, crop: Crop) -> Crop:
    """The crop in which the head that a network sees is upright and of the size that it was trained for.

    An affine camera is fitted to the canonical coordinates of skin and hair.

    Args:
        output: What the network says of a crop, one picture.
        crop: The crop; it is returned where no head is seen in it.
    """
    head = output.shares(SKINS + HAIRS)[0]
    if head.mean() < LEAST_HEAD:
        return crop
    side = head.shape[0]
    v, u = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    pixels = torch.stack([u, v], dim=-1).reshape(-1, 2).double() * (crop.size / side)
    weight = (head.clamp_min(0) / output.scale[0].mean(dim=0)).reshape(-1, 1).double() * (
        head.reshape(-1, 1) > 0.5
    )
    points = output.canonical[0].reshape(3, -1).T.double()
    rows = torch.cat([points, torch.full_like(points[:, :1], 100.0)], dim=1)
    ridge = 1e-2 * float((weight * rows.square()).sum()) * torch.eye(4, dtype=torch.float64) / 4
    matrix = torch.linalg.solve(rows.T @ (weight * rows) + ridge * 0.01, rows.T @ (weight * pixels)).numpy()
    middle = np.array([*MIDDLE_MM, 100.0]) @ matrix
    scale = float(np.sqrt((matrix[:3] ** 2).sum() / 2))
    up = matrix[1]
    roll = math.atan2(up[0], -up[1]) if np.hypot(*up) > 0.5 * scale else 0.0
    x, y = crop.to_photograph(middle)
    wanted = HEAD_MM * scale / FILL * crop.side / crop.size
    if not (np.isfinite([x, y, wanted]).all() and 0.05 * crop.side < wanted < 4 * crop.side):
        return crop
    return Crop(float(x), float(y), wanted, crop.roll + roll, crop.size)


def upsampled(output: PortraitOutput, guide: Float[np.ndarray, "size size 3"]) -> PortraitMaps:
    """Brings what the network says to the size of a picture, along the picture's edges.

    Args:
        output: What the network says of one picture.
        guide: The picture, at the size that is wanted.
    """
    size = guide.shape[0]

    def larger(values: Tensor) -> Tensor:
        return functional.interpolate(values, (size, size), mode="bilinear", align_corners=False)[0]

    probability = output.parts.softmax(dim=1)
    fine = torch.cat([output.alpha.sigmoid()[:, None], probability], dim=1)
    picture = torch.from_numpy(np.ascontiguousarray(guide.transpose(2, 0, 1)))[None]
    followed = guided(fine, picture)[0].clamp(0, 1).permute(1, 2, 0).numpy()
    parts = followed[..., 1:] / np.maximum(followed[..., 1:].sum(axis=2, keepdims=True), 1e-6)
    hair = output.shares(HAIRS)[:, None] + 1e-3
    head = hair + output.shares(SKINS)[:, None]

    def within(values: Tensor, weight: Tensor) -> np.ndarray:
        # values of what is beside count little where the network has a clear view of one of them
        found: np.ndarray = (larger(values * weight) / larger(weight)).permute(1, 2, 0).numpy()
        return found

    def unit(values: np.ndarray) -> np.ndarray:
        length = np.linalg.norm(values, axis=2, keepdims=True)
        return (values / np.maximum(length, 1e-6)).astype(np.float32)

    return PortraitMaps(
        alpha=np.ascontiguousarray(followed[..., 0]),
        parts=parts,
        normals=unit(larger(output.normals).permute(1, 2, 0).numpy()),
        normal_concentration=larger(output.concentration[:, None])[0].numpy(),
        canonical=within(output.canonical, head),
        canonical_sigma=within(output.canonical_sigma, head),
        strand=unit(within(output.strand, hair)),
        depth=within(output.depth[:, None], hair)[..., 0],
    )


def guided(
    values: Float[Tensor, "1 maps half half2"], guide: Float[Tensor, "1 3 height width"]
) -> Float[Tensor, "1 maps height width"]:
    """Brings maps to the size of a picture along its edges: the fast guided filter (He and Sun 2015) by luminance.

    Args:
        values: Maps of any number at a lower resolution.
        guide: The picture.
    """
    grey = guide.mean(dim=1, keepdim=True)
    small = functional.interpolate(grey, values.shape[2:], mode="area")

    def mean(maps: Tensor) -> Tensor:
        return functional.avg_pool2d(maps, 2 * RADIUS + 1, 1, RADIUS, count_include_pad=False)

    level, middle = mean(small), mean(values)
    slope = (mean(small * values) - level * middle) / (mean(small * small) - level * level + EPSILON)
    both = mean(torch.cat([slope, middle - slope * level], dim=1))
    both = functional.interpolate(both, guide.shape[2:], mode="bilinear", align_corners=False)
    slope, offset = both.chunk(2, dim=1)
    return slope * grey + offset
