"""The portrait network: shapes, files, the crop about a head, maps at full size."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from recon.errors import PerceptionError
from recon.perception.crops import Crop
from recon.perception.photograph import Photograph
from recon.perception.portrait import (
    FILL,
    HEAD_MM,
    PortraitNetwork,
    PortraitOutput,
    PortraitSegmenter,
    about_head,
    load_network,
    save_network,
    upsampled,
)
from recon.perception.portrait_maps import (
    BACKGROUND,
    HAIR,
    PARTS,
    SKIN,
    draw_canonical,
    draw_directions,
    draw_parts,
    draw_strands,
)

TINY = {"widths": [8, 8, 16], "blocks": [1, 1, 1], "head_width": 8}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return PortraitNetwork(**TINY).eval()


def test_maps_come_at_half_and_a_quarter_of_any_picture_that_the_stride_divides(network):
    assert network.stride == 16
    with torch.no_grad():
        output = network(torch.rand(2, 3, 64, 96))
    assert output.alpha.shape == (2, 32, 48) and output.parts.shape == (2, len(PARTS), 32, 48)
    assert output.canonical.shape == (2, 3, 16, 24) and output.depth.shape == (2, 16, 24)
    torch.testing.assert_close(output.normals.norm(dim=1), torch.ones(2, 16, 24), atol=1e-3, rtol=0)
    torch.testing.assert_close(output.strand.norm(dim=1), torch.ones(2, 16, 24), atol=1e-3, rtol=0)
    assert (output.scale > 0).all() and (output.concentration > 0).all()
    with pytest.raises(ValueError, match=r"widths=\[8\] blocks=\[1, 1\]"):
        PortraitNetwork([8], [1, 1])


def test_a_network_is_read_as_it_was_written_in_half_the_bytes(network, tmp_path):
    path = tmp_path / "portrait.safetensors"
    save_network(path, network, {"people": 3})
    first = path.read_bytes()
    read = load_network(path)
    picture = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        one, other = network(picture), read(picture)
    torch.testing.assert_close(one.canonical, other.canonical, atol=0.5, rtol=0.01)
    torch.testing.assert_close(one.alpha, other.alpha, atol=0.02, rtol=0.01)
    save_network(path, network, {"people": 3})
    assert path.read_bytes() == first
    weights = sum(p.numel() for p in network.parameters() if p.ndim > 1)
    assert len(first) < 2 * weights + 20_000


def test_a_file_that_is_no_network_is_one_error(network, tmp_path):
    path = tmp_path / "portrait.safetensors"
    with pytest.raises(PerceptionError, match="does not exist: expected a network of headrecon-pretrain"):
        load_network(path)
    path.write_bytes(b"x" * 100)
    with pytest.raises(PerceptionError, match=r"portrait.safetensors cannot be read as a portrait network"):
        load_network(path)
    network.arguments = {**TINY, "widths": [8, 8, 24]}
    save_network(path, network, {})
    with pytest.raises(PerceptionError, match="its tensors are not those of its arguments"):
        load_network(path)


def seen_head(size, middle, px_per_mm, roll_deg):
    """What a perfect network says of a ball of 100 mm about the head's middle, from the front, without perspective."""
    turn = np.radians(roll_deg)
    right, up = np.array([np.cos(turn), np.sin(turn)]), np.array([np.sin(turn), -np.cos(turn)])
    side = size // 4
    v, u = np.meshgrid(np.arange(side) * 4 + 2.0, np.arange(side) * 4 + 2.0, indexing="ij")
    offset = (np.stack([u, v], axis=-1) - middle) / px_per_mm
    x, y = offset @ right, offset @ up
    inside = x**2 + y**2 < 100**2
    z = np.sqrt(np.where(inside, 100**2 - x**2 - y**2, 0))
    canonical = torch.from_numpy(np.stack([x, y + 25.0, z])).float()[None]
    parts = torch.full((1, len(PARTS), 2 * side, 2 * side), -20.0)
    head = torch.from_numpy(np.kron(inside, np.ones((2, 2))) > 0)
    top = torch.from_numpy(np.kron(y > 30, np.ones((2, 2))) > 0)
    parts[0, BACKGROUND][~head] = 20.0
    parts[0, SKIN][head & ~top] = 20.0
    parts[0, HAIR][head & top] = 20.0
    zero = torch.zeros(1, side, side)
    straight = torch.zeros(1, 2, side, side)
    straight[:, 1] = 1.0
    normals = torch.zeros(1, 3, side, side)
    normals[:, 2] = -1.0
    return PortraitOutput(
        torch.where(head, 20.0, -20.0)[None], parts, normals, zero + 5.0, canonical, torch.ones_like(canonical),
        straight, zero + 7.0,
    )  # fmt: skip


@pytest.mark.parametrize("roll_deg", [0.0, 25.0, -160.0])
def test_the_second_crop_has_the_head_upright_in_its_middle(roll_deg):
    first = Crop(1000.0, 800.0, 2048.0, 0.0, 256)
    second = about_head(seen_head(256, np.array([150.0, 100.0]), 0.5, roll_deg), first)
    # pixels of the first crop are 8 of the photograph
    assert abs(second.x - (1000 + 22 * 8)) < 8 and abs(second.y - (800 - 28 * 8)) < 8
    assert abs(second.side - HEAD_MM * 0.5 * 8 / FILL) < 0.05 * second.side
    assert abs((np.degrees(second.roll) - roll_deg + 180) % 360 - 180) < 1.0


def test_where_no_head_is_seen_the_crop_stays():
    first = Crop(10.0, 20.0, 300.0, 0.1, 256)
    assert about_head(seen_head(256, np.array([-900.0, 100.0]), 0.5, 0.0), first) == first


def test_maps_at_full_size_follow_the_pictures_edges():
    output = seen_head(256, np.array([128.0, 128.0]), 0.88, 0.0)
    size = 512  # where a millimetre is 1.76 pixels
    y, x = np.mgrid[:size, :size] + 0.5
    disc = (x - 256) ** 2 + (y - 256) ** 2 < 176**2
    guide = np.where(disc[..., None], 0.8, 0.1).astype(np.float32) * np.ones(3, np.float32)
    maps = upsampled(output, guide)
    assert maps.alpha.shape == (size, size) and maps.parts.shape == (size, size, len(PARTS))
    assert ((maps.alpha > 0.5) != disc).mean() < 0.004
    np.testing.assert_allclose(maps.parts.sum(axis=2), 1.0, atol=1e-4)
    assert maps.labels()[256, 256] == SKIN and maps.labels()[140, 256] == HAIR and maps.labels()[9, 9] == 0
    np.testing.assert_allclose(maps.strand[140, 256], [0, 1], atol=1e-3)
    np.testing.assert_allclose(maps.depth[140, 256], 7.0, atol=0.1)
    np.testing.assert_allclose(maps.canonical_sigma[256, 256], np.sqrt(2), atol=1e-3)
    # the middle of the picture is that of the head
    np.testing.assert_allclose(maps.canonical[256, 340, :2], [84.5 / 1.76, 25.0 - 0.5 / 1.76], atol=0.3)


def test_a_photograph_of_any_size_is_looked_at_twice(network, tmp_path):
    path = tmp_path / "portrait.safetensors"
    save_network(path, network, {})
    segmenter = PortraitSegmenter(path, size=64)
    photograph = Photograph(
        np.random.default_rng(0).random((90, 140, 3)).astype(np.float32), tmp_path / "a.jpg"
    )
    crop, maps = segmenter.see(photograph)
    assert crop.size == 64 and all(np.isfinite(getattr(maps, f.name)).all() for f in fields(maps))
    mask = segmenter.mask(photograph, None)
    assert mask.shape == (90, 140) and 0 <= mask.min() and mask.max() <= 1


def test_pictures_of_maps_have_the_colours_that_are_promised():
    labels = np.array([[0, HAIR]], np.uint8)
    assert draw_parts(labels)[0, 1].tolist() == [150, 92, 220]
    towards = np.array([[[0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]])
    assert draw_directions(towards)[0].tolist() == [[128, 128, 255], [255, 128, 128]]
    shown = np.array([[True, False]])
    strands = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    assert draw_strands(strands, shown)[0].tolist() == [
        [255, 255, 128],
        [40, 40, 40],
    ]  # straight down is yellow
    points = np.array([[[-120.0, 180.0, 0.0], [0.0, 0.0, 0.0]]])
    assert draw_canonical(points, shown)[0].tolist() == [[0, 255, 128], [40, 40, 40]]
