import numpy as np
import pytest
import torch

from recon.rendering import ImageSampler, PixelStore, SceneSampler, seeded, to_device
from recon.scene import View


class FakeView(View):
    """A photograph whose colour tells its pixel."""

    def __init__(self, height, width, view, bar=slice(0)):
        self.height, self.width, self.view, self.bar = height, width, view, bar

    def image(self):
        rows, columns = np.mgrid[: self.height, : self.width]
        return np.stack([rows / 255, columns / 255, np.full_like(rows, self.view) / 255], -1).astype(
            np.float32
        )

    def mask(self):
        rows, columns = np.mgrid[: self.height, : self.width]
        return (rows - self.height / 2) ** 2 + (columns - self.width / 2) ** 2 < (self.width / 4) ** 2

    def ignored(self):
        bar = np.zeros((self.height, self.width), dtype=bool)
        bar[:, self.bar] = True
        return bar


@pytest.fixture
def store():
    return PixelStore([FakeView(60, 80, 0), FakeView(40, 50, 1), FakeView(60, 80, 2)])


def expected_batch(batch, store):
    """What `FakeView` shows at the batch's pixels: the colours that tell them, and the mask there."""
    x, y = batch.pixels.floor().long().T
    colour = torch.stack([y, x, batch.views], dim=1) / 127.5 - 1
    masks = zip(batch.views.tolist(), y.tolist(), x.tolist(), strict=True)
    return colour, torch.tensor([bool(store.masks[view][row, column]) for view, row, column in masks])


@pytest.mark.parametrize("sampler", [ImageSampler, SceneSampler])
def test_colour_mask_and_position_belong_together(store, sampler):
    for step in range(5):
        batch = sampler(store, 200, seed=3)(step)
        colour, mask = expected_batch(batch, store)
        assert (batch.pixels % 1 == 0.5).all()
        torch.testing.assert_close(batch.colour, colour)
        assert torch.equal(batch.mask, mask)


@pytest.mark.parametrize("sampler", [ImageSampler, SceneSampler])
def test_a_step_is_a_function_of_seed_and_step(store, sampler):
    first, again = sampler(store, 100, seed=1), sampler(store, 100, seed=1)
    first(0), first(1)
    assert torch.equal(first(7).pixels, again(7).pixels)
    assert not torch.equal(first(7).pixels, first(10).pixels)
    assert not torch.equal(first(7).pixels, sampler(store, 100, seed=2)(7).pixels)


def test_an_epoch_takes_every_image_once_with_the_same_pixels(store):
    sampler = ImageSampler(store, 50, seed=0)
    epoch = [sampler(step) for step in range(3, 6)]
    assert sorted(int(batch.views[0]) for batch in epoch) == [0, 1, 2]
    large = [batch.pixels for batch in epoch if int(batch.views[0]) != 1]
    assert torch.equal(large[0], large[1])
    orders = {tuple(int(sampler(3 * e + i).views[0]) for i in range(3)) for e in range(20)}
    assert len(orders) > 2


def test_scene_sampler_keeps_its_shares(store):
    batch = SceneSampler(store, 4000, seed=0, inside=0.5, outline=0.25, band=40.0)(0)
    assert batch.mask[:2000].all()
    assert 0.2 < batch.mask[2000:3000].float().mean() < 0.8
    share = np.mean([m.mean() for m in store.masks])
    assert abs(batch.mask[3000:].float().mean() - share) < 0.06
    assert torch.bincount(batch.views).min() > 1200


def test_seeded_generators_differ_in_every_counter():
    draws = {
        float(torch.rand(1, generator=seeded(*key)))
        for key in [(0, 1, 2), (0, 2, 1), (1, 1, 2), (0, 1, 2, 0), (0, 1)]
    }
    assert len(draws) == 5


@pytest.mark.parametrize("sampler", [ImageSampler, SceneSampler])
def test_ignored_pixels_are_never_drawn_and_all_others_are(sampler):
    store = PixelStore([FakeView(40, 50, 0, slice(20, 32)), FakeView(40, 50, 1)])
    draw = sampler(store, 2000, seed=3)
    batches = [draw(step) for step in range(20)]
    for batch in batches:
        colour, mask = expected_batch(batch, store)
        torch.testing.assert_close(batch.colour, colour)
        assert torch.equal(batch.mask, mask)
    views = torch.cat([batch.views for batch in batches])
    columns = torch.cat([batch.pixels[:, 0] for batch in batches]).long()
    assert set(columns[views == 0].tolist()) == set(range(50)) - set(range(20, 32))
    assert set(columns[views == 1].tolist()) == set(range(50))


def test_views_without_ignored_pixels_are_drawn_as_ever(store):
    # the draw of a pixel uniformly over the picture, written out
    batch = ImageSampler(store, 50, seed=5)(0)
    view = int(batch.views[0])
    height, width = store.sizes[view]
    generator = seeded(5, 1, 0)
    torch.randperm(3, generator=generator)
    index = (torch.rand(50, generator=generator, dtype=torch.float64) * height * width).long()
    expected = torch.stack([index % width, index // width], dim=1) + 0.5
    torch.testing.assert_close(batch.pixels, expected.float())


def test_a_head_that_is_wholly_ignored_in_one_view_leaves_its_other_pixels():
    store = PixelStore([FakeView(40, 50, 0, slice(5, 45)), FakeView(40, 50, 1)])
    batch = SceneSampler(store, 400, seed=0)(0)
    x = batch.pixels[batch.views == 0, 0]
    assert len(x) > 100 and not ((x > 5) & (x < 45)).any()


def test_a_tensor_on_its_device_is_not_copied():
    tensor = torch.ones(3)
    assert to_device(tensor, torch.device("cpu")) is tensor


def test_other_devices_take_a_plain_copy():
    assert to_device(torch.ones(3), torch.device("meta")).device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_copy_to_a_gpu_waits_for_nothing():
    tensor = torch.arange(5)
    torch.cuda.set_sync_debug_mode("error")
    try:
        copy = to_device(tensor, torch.device("cuda"))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(copy.cpu(), tensor)
