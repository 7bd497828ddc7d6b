"""Training samples of the portrait network: a picture in its frame, turned, mirrored and cropped, and the maps that
belong to it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from recon.perception.portrait_maps import BACKGROUND, EYEWEAR, HAIRS, OCCLUDER, SKINS
from recon.synth.portraits.shards import Stored

IGNORED = -1
"""Part of pixels beyond the stored portrait, of which nothing is known."""


@dataclass(frozen=True, eq=False)
class PortraitBatch:
    """Pictures and what is to be seen in them; maps at half and a quarter of the pictures' side.

    Attributes:
        pictures: sRGB in [0, 1].
        alpha: Share of a pixel that shows the person, half size.
        parts: Number of the part, `IGNORED` where it is not known, half size.
        normals: Unit normals, camera axes, quarter size as are those below.
        canonical: Canonical coordinates, mm.
        strand: Unit directions of hair in the picture.
        depth: Depth beyond the head's origin, mm.
        normal_weight: Share of each cell whose normal is known.
        canonical_weight: Share of each cell with canonical coordinates.
        hair_weight: Share of each cell that shows hair or beard.
    """

    pictures: Float[Tensor, "batch 3 height width"]
    alpha: Float[Tensor, "batch half half2"]
    parts: Int[Tensor, "batch half half2"]
    normals: Float[Tensor, "batch 3 quarter quarter2"]
    canonical: Float[Tensor, "batch 3 quarter quarter2"]
    strand: Float[Tensor, "batch 2 quarter quarter2"]
    depth: Float[Tensor, "batch quarter quarter2"]
    normal_weight: Float[Tensor, "batch quarter quarter2"]
    canonical_weight: Float[Tensor, "batch quarter quarter2"]
    hair_weight: Float[Tensor, "batch quarter quarter2"]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.pictures)

    def to(self, device: torch.device) -> PortraitBatch:
        """The batch on a device."""
        return PortraitBatch(
            **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        )


@dataclass(frozen=True)
class Placement:
    """How the picture of a sample is cut from that of a portrait: mirrored, then turned, scaled and moved.

    Attributes:
        mirrored: Whether left and right are exchanged.
        turn_deg: Turn of what is seen, clockwise in the picture.
        scale: Size of what is seen, against the portrait.
        shift: Movement of what is seen, to the right and down, in sides of the picture.
    """

    mirrored: bool = False
    turn_deg: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Placement:
        """Draws a placement."""
        return cls(
            bool(rng.uniform() < 0.5),
            float(np.clip(rng.normal(0.0, 9.0), -25.0, 25.0)),
            float(np.exp(rng.uniform(np.log(0.85), np.log(1.5)))),
            (float(rng.normal(0.0, 0.06)), float(rng.normal(0.0, 0.06))),
        )

    def rotation(self) -> Float[np.ndarray, "2 2"]:
        """Rotation of directions in the picture, x right and y down."""
        turn = np.radians(self.turn_deg)
        return np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])

    def source_from_target(self) -> Float[np.ndarray, "2 3"]:
        """Affine map from places in the sample to places in the portrait, both from −1 to 1 between outer borders."""
        inverse = self.rotation().T / self.scale
        move = -inverse @ (2.0 * np.array(self.shift))
        matrix = np.concatenate([inverse, move[:, None]], axis=1)
        if self.mirrored:
            matrix[0] *= -1
        return matrix


def mirrored(stored: Stored) -> Stored:
    """The portrait of the mirrored person: canonical coordinates, normals and strands exchange left and right."""
    flipped = {f.name: np.ascontiguousarray(getattr(stored, f.name)[:, ::-1]) for f in fields(stored)}
    for name in ("canonical", "normals", "strand"):
        flipped[name] = flipped[name] * np.array([-1.0, *([1.0] * (flipped[name].shape[2] - 1))], np.float32)
    return replace(stored, **flipped)


def placed(
    stored: Stored, picture: Float[np.ndarray, "h w channels"], placement: Placement, *, padded: bool
) -> tuple[Tensor, PortraitBatch]:
    """Cuts a sample from a portrait.

    Args:
        stored: The portrait's maps.
        picture: The portrait before its background, in any light.
        placement: How it is cut.
        padded: Whether what is beyond the portrait is black background, as about a crop that reaches beyond a
            photograph; otherwise its border goes on, and nothing is asked there.

    Returns:
        The picture (1, 3, h, w) in the light that was given, and a batch of one with the maps and no pictures.
    """
    size = picture.shape[0]
    matrix = torch.from_numpy(placement.source_from_target()).float()[None]
    mode = "zeros" if padded else "border"

    def warped(values: Tensor, side: int, how: str = "bilinear", padding: str = "zeros") -> Tensor:
        grid = functional.affine_grid(matrix, [1, 1, side, side], align_corners=False)
        return functional.grid_sample(values, grid, how, padding, align_corners=False)

    source = _channels(picture)
    seen = source if placement == Placement() else warped(source, size, padding=mode)
    maps, weight = _pooled(stored)
    coarse = warped(torch.cat([maps, weight], dim=1), size // 4)
    maps, weight = coarse[:, :9], coarse[:, 9:]
    maps = maps / weight[:, [0, 0, 0, 1, 1, 1, 2, 2, 2]].clamp_min(1e-3)
    sign = -1.0 if placement.mirrored else 1.0
    maps = maps * torch.tensor([sign, 1, 1, sign, 1, 1, sign, 1, 1])[None, :, None, None]
    rotation = torch.from_numpy(placement.rotation()).float()
    across, strand = (torch.einsum("ij,bjhw->bihw", rotation, maps[:, k : k + 2]) for k in (0, 6))
    normals = torch.cat([across, maps[:, 2:3]], dim=1)

    labels = _channels(stored.parts.astype(np.float32)[..., None]) + 1.0  # beyond the portrait zeros come
    parts = warped(labels, size // 2, "nearest")[:, 0].round().long() - 1
    alpha = warped(functional.avg_pool2d(_channels(stored.alpha[..., None]), 2), size // 2)[:, 0]
    if padded:
        parts = parts.clamp_min(0)
    batch = PortraitBatch(
        pictures=torch.zeros(1, 3, 0, 0),
        alpha=alpha,
        parts=parts,
        normals=functional.normalize(normals, dim=1, eps=1e-4),
        canonical=maps[:, 3:6],
        strand=functional.normalize(strand, dim=1, eps=1e-4),
        depth=maps[:, 8],
        normal_weight=weight[:, 0],
        canonical_weight=weight[:, 1],
        hair_weight=weight[:, 2] * (strand.norm(dim=1) > 0.2),
    )
    return seen, batch


def _pooled(stored: Stored) -> tuple[Float[Tensor, "1 9 h w"], Float[Tensor, "1 3 h w"]]:
    """Normals, canonical coordinates, strands and depths where they are known, and where that is, at half size."""
    shown = ~np.isin(stored.parts, (BACKGROUND, EYEWEAR, OCCLUDER)) & (
        np.abs(stored.normals).sum(axis=2) > 0.1
    )
    hair = np.isin(stored.parts, HAIRS)
    known = hair | np.isin(stored.parts, SKINS)
    values = np.concatenate(
        [stored.normals * shown[..., None], stored.canonical * known[..., None], stored.strand * hair[..., None],
         (stored.depth * hair)[..., None]], axis=2,
    )  # fmt: skip
    weights = np.stack([shown, known, hair], axis=2).astype(np.float32)
    both = functional.avg_pool2d(_channels(np.concatenate([values, weights], axis=2)), 2)
    return both[:, :9], both[:, 9:]


def _channels(values: np.ndarray) -> Float[Tensor, "1 channels h w"]:
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]


def joined(samples: list[PortraitBatch]) -> PortraitBatch:
    """Samples as one batch."""
    return PortraitBatch(
        **{f.name: torch.cat([getattr(each, f.name) for each in samples]) for f in fields(PortraitBatch)}
    )
