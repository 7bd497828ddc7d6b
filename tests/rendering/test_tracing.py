import math
import threading

import pytest
import torch
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from recon.rendering import TracingSettings, seeded, trace
from recon.rendering.search import secant
from recon.rendering.tracing import cached_weights, intersect_sphere
from tests.support.surfaces import sphere, sphere_depth, torus, unit_rays


@pytest.mark.parametrize("scale", [1.0, 0.5, 1.8])
def test_sphere_depths_even_where_the_distance_is_wrong_by_a_factor(scale):
    origins, directions = unit_rays(2000)
    expected, hits = sphere_depth(origins, directions, 0.6)
    clear = (sphere_depth(origins, directions, 0.59)[1]) | ~(sphere_depth(origins, directions, 0.61)[1])
    found = trace(sphere(0.6, scale), origins, directions)
    assert hits.sum() > 400 and (~hits).sum() > 400
    assert torch.equal(found.hit[clear], hits[clear])
    error = (found.depth - expected)[found.hit & clear].abs()
    assert error.max() < 1e-3 and error.mean() < 2e-4


@pytest.mark.slow
def test_torus_takes_the_first_of_its_crossings():
    origins, directions = unit_rays(3000, seed=1)
    t = torch.linspace(1.9, 4.2, 4001, dtype=torch.float64)
    values = torus((origins[:, None] + t[:, None] * directions[:, None]).reshape(-1, 3)).reshape(
        len(origins), -1
    )
    inside = values < 0
    first = t[inside.to(torch.uint8).argmax(1)]
    found = trace(torus, origins, directions)
    sure = inside.sum(1) > 40  # a grazing chord may be missed by the published search too
    never = values.min(1).values > 5e-3
    assert found.hit[sure].all() and not found.hit[never].any()
    assert (found.depth - first)[sure].abs().max() < 2e-3


def test_rays_past_the_sphere_miss_and_have_no_depth():
    origins = torch.tensor([[0.0, 2.0, -3.0]])
    found = trace(sphere(0.6), origins, torch.tensor([[0.0, 0.0, 1.0]]))
    assert not found.hit.any() and found.depth.item() == 0


def test_nothing_to_hit_anywhere():
    origins, directions = unit_rays(50)
    assert not trace(lambda p: p.norm(dim=1) + 1, origins, directions).hit.any()


def test_camera_behind_the_object_sees_nothing():
    found = trace(sphere(0.6), torch.tensor([[0.0, 0.0, 3.0]]), torch.tensor([[0.0, 0.0, 1.0]]))
    assert not found.hit.any()


def test_training_rays_without_a_hit_get_their_least_distance():
    origins, directions = unit_rays(800, seed=2)
    mask = torch.ones(800, dtype=torch.bool)
    found = trace(sphere(0.6), origins, directions, mask=mask, generator=seeded(0, 1))
    closest = -(origins * directions).sum(1)
    missed = ~found.hit
    assert missed.sum() > 50
    least = (origins + closest[:, None] * directions).norm(dim=1)
    reached = (origins + found.depth[:, None] * directions).norm(dim=1)
    # 100 random depths over at most 2 units: the nearest is a few hundredths away, where the distance is flat
    assert (reached - least)[missed].max() < 0.02
    outside = missed & (least > 1)
    assert outside.any()
    torch.testing.assert_close(found.depth[outside], closest[outside])


def test_hits_outside_the_mask_go_to_the_deepest_point():
    origins, directions = torch.tensor([[0.0, 0.0, -3.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    nowhere = torch.tensor([False])
    found = trace(sphere(0.6), origins, directions, mask=nowhere, generator=seeded(0, 1))
    assert found.hit.all() and abs(found.depth.item() - 3.0) < 0.05


def test_the_same_generator_gives_the_same_trace():
    origins, directions = unit_rays(300, seed=3)
    mask = torch.arange(300) % 3 == 0
    first, second, third = (
        trace(torus, origins, directions, mask=mask, generator=seeded(0, 2, step)).depth for step in (5, 5, 6)
    )
    assert torch.equal(first, second) and not torch.equal(first, third)


def test_chunks_do_not_change_the_result():
    origins, directions = unit_rays(200, seed=4)
    whole = trace(torus, origins, directions)
    small = trace(torus, origins, directions, TracingSettings(chunk=17))
    assert torch.equal(whole.hit, small.hit)
    torch.testing.assert_close(whole.depth, small.depth, atol=1e-12, rtol=0)


def test_sphere_intersection_by_hand():
    origins = torch.tensor([[0.0, 0.0, -2.0], [0.0, 0.6, -2.0], [0.0, 1.5, -2.0], [0.0, 0.0, 0.5]])
    directions = torch.tensor([[0.0, 0.0, 1.0]]).expand(4, 3)
    near, far, meets = intersect_sphere(origins, directions, 1.0)
    torch.testing.assert_close(near, torch.tensor([1.0, 1.2, 2.0, 0.0]))
    torch.testing.assert_close(far, torch.tensor([3.0, 2.8, 2.0, 0.5]))
    assert meets.tolist() == [True, True, False, True]


def test_secant_finds_the_root_of_a_cubic():
    root = secant(
        lambda t: 8 - t**3,
        torch.tensor([1.0]),
        torch.tensor([3.0]),
        torch.tensor([7.0]),
        torch.tensor([-19.0]),
        30,
    )
    assert math.isclose(root.item(), 2.0, abs_tol=1e-4)


def test_weights_are_computed_once_within_the_context_and_anew_after():
    layer = weight_norm(torch.nn.Linear(2, 2))
    with cached_weights():
        assert layer.weight is layer.weight
        before = layer.weight.detach().clone()
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(2)
    torch.testing.assert_close(layer.weight, 2 * before)


def test_the_weight_cache_counts_its_threads():
    """Many threads enter and leave at once; a lost count would leave the cache on."""
    begin = threading.Barrier(8)

    def often():
        begin.wait()
        for _ in range(2000):
            with cached_weights():
                pass

    threads = [threading.Thread(target=often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert parametrize._cache_enabled == 0


def test_an_error_within_the_context_ends_the_weight_cache():
    try:
        with cached_weights():
            raise ValueError
    except ValueError:
        pass
    assert parametrize._cache_enabled == 0 and not parametrize._cache
