"""Training pixels drawn from photographs: every batch is a function of (seed, step).

`PixelStore` holds the pixels of some views; `ImageSampler` and `SceneSampler` draw a `RayBatch` from it for each step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from recon.scene import View


@dataclass(frozen=True)
class RayBatch:
    """The pixels of a training step.

    Attributes:
        views: index of each pixel's view among the training views.
        pixels: (x, y) of the pixel centres, in pixels.
        mask: whether the mask has the object there.
        colour: of the photograph, in [-1, 1].
    """

    views: Int[Tensor, " rays"]
    pixels: Float[Tensor, "rays 2"]
    mask: Bool[Tensor, " rays"]
    colour: Float[Tensor, "rays 3"]

    def __len__(self) -> int:
        """Number of pixels."""
        return len(self.views)

    def to(self, device: torch.device) -> "RayBatch":
        """The same batch on another device."""
        return RayBatch(*(to_device(part, device) for part in vars(self).values()))


class PixelStore:
    """All pixels of some views, decoded once; views may differ in size.

    Args:
        views: the views.

    Attributes:
        sizes: height and width of each view.
        masks: of each view.
        ignored: the ignored pixels of each view.
        usable: row-major indices of the pixels of each view that are not ignored; None where none is ignored.
    """

    def __init__(self, views: Sequence[View]) -> None:
        images = [view.image() for view in views]
        masks = [view.mask() for view in views]
        self.sizes = [image.shape[:2] for image in images]
        counts = [height * width for height, width in self.sizes]
        self.offsets = torch.tensor([0, *np.cumsum(counts)])
        self.widths = torch.tensor([width for _, width in self.sizes])
        self.colour = torch.from_numpy(
            np.concatenate([(image.reshape(-1, 3) * 255).round().astype(np.uint8) for image in images])
        )
        self.mask = torch.from_numpy(np.concatenate([mask.reshape(-1) for mask in masks]))
        self.masks = masks
        self.ignored = [view.ignored() for view in views]
        self.usable = [
            torch.from_numpy(np.flatnonzero(~ignored)) if ignored.any() else None for ignored in self.ignored
        ]

    def __len__(self) -> int:
        """Number of views."""
        return len(self.sizes)

    def pixel_at(self, view: int, fraction: Float[Tensor, " rays"]) -> Int[Tensor, " rays"]:
        """Row-major indices at fractions in [0, 1) of a view's list of pixels that are not ignored."""
        usable = self.usable[view]
        if usable is not None:
            return usable[(fraction * len(usable)).long()]
        height, width = self.sizes[view]
        return (fraction * (height * width)).long()

    def select(self, view: int, wanted: Bool[np.ndarray, "h w"]) -> Int[Tensor, " pixels"]:
        """Row-major indices of the wanted pixels of a view that are not ignored; if there are none, of all others."""
        usable = self.usable[view]
        pixels = torch.from_numpy(np.flatnonzero(wanted & ~self.ignored[view]))
        return usable if usable is not None and len(pixels) == 0 else pixels

    def brightness(self, view: int) -> Float[np.ndarray, "h w"]:
        """Mean of the colours of each pixel of a view, in [-1, 1]."""
        height, width = self.sizes[view]
        colour = self.colour[int(self.offsets[view]) : int(self.offsets[view]) + height * width].numpy()
        return colour.mean(axis=1).reshape(height, width) / 127.5 - 1

    def batch(self, views: Int[Tensor, " rays"], indices: Int[Tensor, " rays"]) -> RayBatch:
        """The pixels with the given row-major indices inside the given views."""
        flat = self.offsets[views] + indices
        width = self.widths[views]
        pixels = torch.stack([indices % width, indices // width], dim=1).float() + 0.5
        return RayBatch(views, pixels, self.mask[flat], self.colour[flat].float() / 127.5 - 1)


class ImageSampler:
    """The sampler of IDR's published code: each step takes one image, each epoch all of them in a random order.

    One set of pixels is drawn for each epoch and shared by its images, except those with ignored pixels.

    Args:
        store: the pixels.
        rays: pixels for each step.
        seed: of the draws.
    """

    def __init__(self, store: PixelStore, rays: int, seed: int) -> None:
        self.store, self.rays, self.seed = store, rays, seed

    def __call__(self, step: int) -> RayBatch:
        """The pixels of a step."""
        epoch, turn = divmod(step, len(self.store))
        generator = seeded(self.seed, 1, epoch)
        view = int(torch.randperm(len(self.store), generator=generator)[turn])
        fraction = torch.rand(self.rays, generator=generator, dtype=torch.float64)
        return self.store.batch(torch.full((self.rays,), view), self.store.pixel_at(view, fraction))


class SceneSampler:
    """A sampler of all views in every step, with most pixels inside the masks and near their outlines.

    Args:
        store: the pixels.
        rays: pixels for each step.
        seed: of the draws.
        inside: share of the rays drawn inside the masks.
        outline: share drawn from the band about the masks' outlines; the rest is uniform over the images.
        band: half width of that band, in pixels of a 512-pixel image.
    """

    def __init__(
        self,
        store: PixelStore,
        rays: int,
        seed: int,
        inside: float = 0.6,
        outline: float = 0.25,
        band: float = 12.0,
    ) -> None:
        self.store, self.rays, self.seed = store, rays, seed
        self.inside = [store.select(view, mask) for view, mask in enumerate(store.masks)]
        self.band = [
            store.select(view, _outline(mask, band * max(mask.shape) / 512))
            for view, mask in enumerate(store.masks)
        ]
        self.counts = (round(rays * inside), round(rays * outline))

    def __call__(self, step: int) -> RayBatch:
        """The pixels of a step."""
        generator = seeded(self.seed, 1, step)
        inside, outline = self.counts
        views = torch.randint(len(self.store), (self.rays,), generator=generator)
        fraction = torch.rand(self.rays, generator=generator, dtype=torch.float64)
        indices = torch.empty_like(views)
        for view in range(len(self.store)):
            here = views == view
            for pool, part in (
                (self.inside[view], slice(0, inside)),
                (self.band[view], slice(inside, inside + outline)),
            ):
                at = here[part]
                indices[part][at] = pool[(fraction[part][at] * len(pool)).long()]
            rest = slice(inside + outline, None)
            at = here[rest]
            indices[rest][at] = self.store.pixel_at(view, fraction[rest][at])
        return self.store.batch(views, indices)


def seeded(seed: int, *counters: int) -> torch.Generator:
    """A random generator that depends on the seed and the counters (purpose, step, …) alone."""
    mixed = int(np.random.SeedSequence([len(counters), seed, *counters]).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(mixed & 0x7FFF_FFFF_FFFF_FFFF)


def to_device(tensor: Shaped[Tensor, "*shape"], device: torch.device) -> Shaped[Tensor, "*shape"]:
    """A tensor copied to a device; the tensor itself if it is there already.

    A copy to a GPU goes through page-locked memory, since from any other the host would wait for all work that the GPU
    still has to do.
    """
    if tensor.device.type == "cpu" and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _outline(mask: Bool[np.ndarray, "h w"], width: float) -> Bool[np.ndarray, "h w"]:
    """Pixels within `width` of the mask's outline."""
    distance = np.where(mask, distance_transform_edt(mask), distance_transform_edt(~mask))
    return distance <= max(width, 1.0)
