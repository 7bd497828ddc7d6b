import tracemalloc

import pytest
import torch

from recon.fields import RenderingNetwork, SDFNetwork
from recon.fields.stored import (
    check_arguments,
    check_finite,
    check_shapes,
    lattice_nodes,
    made_to_fit,
    shapes_of,
)

ARGUMENTS = {"width": 12, "depth": 2, "skip": [1], "octaves": 1, "feature_size": 2}
SHAPES = shapes_of(SDFNetwork(**ARGUMENTS).state_dict())


def test_a_module_is_made_for_its_own_state():
    made = made_to_fit(SDFNetwork, ARGUMENTS, SHAPES)
    assert shapes_of(made.state_dict()) == SHAPES and isinstance(made, SDFNetwork)


@pytest.mark.parametrize(
    "change",
    [
        {"width": 100_000, "skip": []},
        {"feature_size": 10**9},
        {"depth": 64, "width": 3000},
        {"depth": 10**9},
        {"octaves": 3000},
        {"width": 13},
        {"radius": float("nan")},
        {"skip": [1] * 100_000},
    ],
)
def test_arguments_that_claim_more_are_refused_without_memory(change):
    tracemalloc.start()
    with pytest.raises(ValueError):
        made_to_fit(SDFNetwork, ARGUMENTS | change, SHAPES)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_no_tensor_beyond_the_budget_is_begun(monkeypatch):
    largest = []
    original = torch.nn.Linear.reset_parameters
    monkeypatch.setattr(
        torch.nn.Linear,
        "reset_parameters",
        lambda self: (largest.append(self.weight.numel()), original(self))[1],
    )
    with pytest.raises(ValueError, match="describe more numbers than it holds"):
        made_to_fit(
            RenderingNetwork, {"width": 60_000, "depth": 4, "feature_size": 2}, {"layers.0.bias": (4,)}
        )
    assert max(largest, default=0) < 1 << 19


def test_shapes_and_numbers_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"tensor a has shape \(2,\), its arguments make \(3,\)"):
        check_shapes({"a": (3,)}, {"a": (2,)})
    with pytest.raises(ValueError, match="tensor b has shape None"):
        check_shapes({"a": (3,), "b": ()}, {"a": (3,)})
    with pytest.raises(ValueError, match="tensor c"):
        check_shapes({}, {"c": (1,)})
    check_finite({"a": torch.ones(3), "b": torch.tensor([1, 2])})
    with pytest.raises(ValueError, match="tensor b holds numbers that are not finite"):
        check_finite({"a": torch.ones(3), "b": torch.tensor([1.0, float("inf")]).half()})


def test_lattices_have_an_extent_and_a_size():
    lattice = {"low": [0, 0, 0], "high": [1, 2, 3.5], "cells": [4, 5, 6]}
    assert lattice_nodes(lattice, "x") == 6 * 7 * 8
    for change in (
        {"high": [1, 0, 1]},
        {"cells": [4, 5]},
        {"cells": [4, 5, 0]},
        {"cells": [10**5] * 3},
        {"low": [0, 0]},
    ):
        with pytest.raises(ValueError, match="x"):
            lattice_nodes(lattice | change, "x")


def test_arguments_are_bounded_at_any_depth():
    assert check_arguments({"a": {"b": [[1, 2.5, "x", None, True]]}}) == {
        "a": {"b": [[1, 2.5, "x", None, True]]}
    }
    for bad in ({"a": 10**9}, {"a": {"depth": 65}}, {"a": [float("inf")]}, [1], {"a": [[[[[[[[1]]]]]]]]}):
        with pytest.raises(ValueError):
            check_arguments(bad)
