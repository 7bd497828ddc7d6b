from dataclasses import replace

import pytest
import torch

from recon.rendering import CachedTracing, TracingSettings, seeded
from tests.support.surfaces import sphere, sphere_depth, torus, unit_rays

SETTINGS = CachedTracing(cells=64)


def rays(count, seed=0):
    origins, directions = unit_rays(count, seed)
    return origins.float(), directions.float()


def everywhere(count):
    return torch.ones(count, dtype=torch.bool)


def traced(sdf, origins, directions, mask, settings=SETTINGS, step=0):
    return settings.tracer()(sdf, origins, directions, mask, seeded(0, 1), step)


@pytest.mark.parametrize("scale", [1.0, 0.5, 1.8])
def test_depths_are_those_of_the_true_surface_even_where_the_distance_is_wrong_by_a_factor(scale):
    origins, directions = rays(2000)
    expected, hits = sphere_depth(origins, directions, 0.6)
    clear = sphere_depth(origins, directions, 0.59)[1] | ~sphere_depth(origins, directions, 0.61)[1]
    found = traced(sphere(0.6, scale), origins, directions, everywhere(2000))
    assert torch.equal(found.hit[clear], hits[clear])
    error = (found.depth - expected)[hits & clear].abs()
    assert error.max() < 2e-4 and error.median() < 1e-6  # the reference stops at 5e-5


def test_it_agrees_with_the_reference_on_a_surface_with_a_hole():
    origins, directions = rays(3000, seed=1)
    mask = torch.arange(3000) % 4 > 0
    found = traced(torus, origins, directions, mask)
    wanted = traced(torus, origins, directions, mask, TracingSettings())
    assert (found.hit != wanted.hit).sum() < 30  # rays that graze
    both = found.hit & wanted.hit & mask
    assert both.sum() > 400
    assert torch.quantile((found.depth - wanted.depth)[both].abs(), 0.98) < 2e-4
    lost = ~mask | ~(found.hit | wanted.hit)
    least, reference = (
        torus(origins[lost] + t.depth[lost, None] * directions[lost]) for t in (found, wanted)
    )
    # far from the surface the grid is coarse, and so is the search of the reference
    assert (least - reference).abs().max() < 0.015 and (least - reference).abs().mean() < 1e-3


def test_rays_past_the_sphere_keep_their_closest_approach():
    origins, directions = torch.tensor([[0.0, 2.0, -3.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    found = traced(sphere(0.6), origins, directions, everywhere(1))
    assert not found.hit.any() and found.depth.item() == pytest.approx(3.0)


def test_hits_outside_the_mask_go_to_the_deepest_point():
    origins, directions = torch.tensor([[0.0, 0.0, -3.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    found = traced(sphere(0.6), origins, directions, ~everywhere(1))
    assert found.hit.all() and abs(found.depth.item() - 3.0) < 0.02


def test_between_refreshes_only_hits_evaluate_the_network_and_stale_grids_do_no_harm():
    origins, directions = rays(1000)
    evaluated = []

    def moved(by):
        def sdf(points):
            evaluated.append(len(points))
            return sphere(0.6)(points - torch.tensor([by, 0.0, 0.0]))

        return sdf

    tracer = SETTINGS.tracer()
    tracer(moved(0.0), origins, directions, everywhere(1000), seeded(0, 1), 0)
    evaluated.clear()
    found = tracer(moved(0.005), origins, directions, everywhere(1000), seeded(0, 1), 23)
    missed = int((~found.hit).sum())
    assert sum(evaluated[:3]) <= SETTINGS.corrections * (int(found.hit.sum()) + 20) + missed
    assert sum(evaluated[3:]) < 4000  # the few that the grid was wrong about, by the reference
    points = origins + found.depth[:, None] * directions
    wrong = moved(0.005)(points)[found.hit].abs()
    assert torch.quantile(wrong, 0.9) < 1e-4


def test_fixed_shapes_give_the_same_surface_and_least_distances():
    origins, directions = rays(1000, seed=2)
    mask = torch.arange(1000) % 3 > 0
    few, all_ = (
        traced(torus, origins, directions, mask, replace(SETTINGS, fixed_shapes=fixed))
        for fixed in (False, True)
    )
    assert torch.equal(few.hit, all_.hit)
    agreed = few.hit & mask
    torch.testing.assert_close(few.depth[agreed], all_.depth[agreed], rtol=0, atol=1e-6)
    drawn, sampled = (torus(origins + t.depth[:, None] * directions)[~agreed] for t in (few, all_))
    assert (drawn - sampled).abs().max() < 0.015 and (drawn - sampled).abs().mean() < 1e-3


def test_shapes_are_fixed_where_the_device_is_no_cpu_unless_the_settings_say():
    wanted = {None: {"cpu": False, "cuda": True, "meta": True}, True: {"cpu": True}, False: {"cuda": False}}
    for fixed, devices in wanted.items():
        settings = replace(SETTINGS, fixed_shapes=fixed)
        assert {name: settings.fixed(torch.device(name)) for name in devices} == devices
    assert not TracingSettings().fixed(torch.device("cuda"))


def test_a_refreshed_tracer_does_not_refresh_again():
    origins, directions = rays(500)
    settings = replace(SETTINGS, fixed_shapes=True)
    one, two = settings.tracer(), settings.tracer()
    wanted = one(torus, origins, directions, everywhere(500), seeded(0, 1), 0)
    two.refresh(torus, 0)
    values, kept = two.grid.values, two.grid.values.data_ptr()
    found = two(torus, origins, directions, everywhere(500), None, None)
    assert torch.equal(found.depth, wanted.depth) and torch.equal(found.hit, wanted.hit)
    two.refresh(sphere(0.6), 1)
    assert two.grid.values is values and values.data_ptr() == kept  # a recorded step looks there
    assert torch.equal(two.grid.values, _filled(sphere(0.6)))


def _filled(sdf):
    tracer = SETTINGS.tracer()
    tracer.refresh(sdf, 0)
    return tracer.grid.values


def test_least_distances_are_those_of_the_reference_with_the_same_draws():
    origins, directions = rays(2000, seed=5)
    mask = torch.arange(2000) % 3 > 0
    found, wanted = (
        traced(torus, origins, directions, mask, settings) for settings in (SETTINGS, TracingSettings())
    )
    away = ~(found.hit & mask) & (found.hit == wanted.hit)
    same = (found.depth - wanted.depth)[away].abs() < 1e-6
    assert away.sum() > 500 and same.float().mean() > 0.5
    # the others' next best draw is as good
    least, best = (torus(origins + t.depth[:, None] * directions)[away] for t in (found, wanted))
    assert (least - best).abs().mean() < 5e-4


def test_a_tracer_goes_on_where_its_checkpoint_stood():
    origins, directions = rays(300)
    first, second = SETTINGS.tracer(), SETTINGS.tracer()
    first(sphere(0.6), origins, directions, everywhere(300), seeded(0, 1), 0)
    second.load_state_dict(first.state_dict())
    # no refresh at step 23, so that least distances are still those of the old surface
    nowhere = ~everywhere(300)
    again = [t(torus, origins, directions, nowhere, seeded(0, 1), 23) for t in (first, second)]
    fresh = traced(torus, origins, directions, nowhere, step=23)
    assert torch.equal(again[0].depth, again[1].depth) and not torch.equal(again[0].depth, fresh.depth)


def test_refreshes_are_a_function_of_the_step_and_become_rare():
    settings = CachedTracing(refresh_interval=3, longest_refresh_interval=4, full_refresh_every=3)
    refreshes = {step: what for step in range(30) if (what := settings.refresh_at(step))}
    assert refreshes == {
        0: "whole", 1: "whole", 2: "whole", 3: "whole", 4: "surface", 5: "surface", 6: "whole",
        8: "surface", 10: "surface", 13: "whole", 17: "surface", 21: "surface", 25: "whole", 29: "surface",
    }  # fmt: skip
    usual = [step for step in range(1000) if CachedTracing().refresh_at(step)]
    assert len([step for step in usual if step >= 200]) == 40 and len(usual) < 100


def test_rays_for_which_the_grid_is_wrong_are_traced_by_the_reference():
    origins, directions = rays(2000)
    tracer, mask = SETTINGS.tracer(), everywhere(2000)
    for radius, step in ((0.6, 0), (0.7, 23), (0.5, 25)):  # it grows and shrinks by 3 cells without a refresh
        assert (SETTINGS.refresh_at(step) is None) == (step > 0)
        found = tracer(sphere(radius), origins, directions, mask, seeded(0, 1), step)
        expected, hits = sphere_depth(origins, directions, radius)
        clear = (
            sphere_depth(origins, directions, radius - 0.01)[1]
            | ~sphere_depth(origins, directions, radius + 0.01)[1]
        )
        assert torch.equal(found.hit[clear], hits[clear])
        assert (found.depth - expected)[hits & clear].abs().max() < 2e-4


@pytest.mark.parametrize(
    "wrong",
    [
        {"cells": 30},
        {"longest_refresh_interval": 0},
        {"corrections": 0},
        {"cuda_graphs": True, "fixed_shapes": False},
    ],
)
def test_settings_that_make_no_sense_are_named(wrong):
    with pytest.raises(ValueError, match=f"renderer.{next(iter(wrong))}"):
        CachedTracing(**wrong)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_what_a_cpu_finds_and_never_waits():
    origins, directions = rays(2000)
    mask = torch.arange(2000) % 3 > 0
    wanted = traced(torus, origins, directions, mask)
    tracer = SETTINGS.tracer().cuda()
    on_gpu = [t.cuda() for t in (origins, directions, mask)]
    tracer(torus, *on_gpu, seeded(0, 1), 0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = tracer(torus, *on_gpu, seeded(0, 1), 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    same = found.hit.cpu() == wanted.hit
    assert same.float().mean() > 0.995
    torch.testing.assert_close(found.depth.cpu()[same], wanted.depth[same], rtol=0, atol=1e-3)
