import json

import numpy as np
import pytest
import trimesh

from recon.errors import ConfigError
from recon.synth.model.defects import TOLERANCE_MM3, inside_out, visible_defects_mm3
from recon.synth.model.head_model import load_head_model
from recon.synth.model.identity import (
    ADULT_RANGES_MM,
    CLIP,
    Identity,
    anatomy,
    draw_identity,
    generator,
    is_adult,
    shape_head,
    split_of_identity,
    split_of_quantile,
    split_quantile,
)
from tests.support.head_model import ball, needs_model


def test_splits_own_disjoint_bins_of_the_quantile():
    u = (np.arange(4800) + 0.5) / 4800
    bins = {}
    for split in ("train", "val", "test"):
        q = np.array([split_quantile(x, split) for x in u])
        assert {split_of_quantile(x) for x in q} == {split}
        bins[split] = np.unique((q * 64).astype(int))
        # the split still covers the whole range evenly
        assert abs(q.mean() - 0.5) < 0.06 and q.min() < 0.13 and q.max() > 0.87
    assert sorted(np.concatenate(list(bins.values()))) == list(range(64))
    assert bins["test"].tolist() == [7, 15, 23, 31, 39, 47, 55, 63]


def test_split_quantile_by_hand():
    # test owns one bin in eight: u = 0.5 is the first point of its fifth bin, 39
    assert split_quantile(0.5, "test") == pytest.approx((39 + 0.001) / 64)
    # train owns six in eight: u = 0.25 of 48 bins is the first point of its thirteenth, 16
    assert split_quantile(0.25, "train") == pytest.approx((16 + 0.001) / 64)


def test_generators_do_not_share_streams():
    draws = {generator(s, split, p).random() for s in (0, 1) for split in ("train", "test") for p in (0, 1)}
    assert len(draws) == 8
    assert generator(3, "val", 0).random() == generator(3, "val", 0).random()
    with pytest.raises(ConfigError, match="train, val, test"):
        generator(0, "training", 0)
    with pytest.raises(ConfigError, match="negative"):
        generator(-1, "train", 0)


def test_adult_ranges_decide():
    middle = {name: (low + high) / 2 for name, (low, high) in ADULT_RANGES_MM.items()}
    assert is_adult(middle)
    assert not is_adult({**middle, "interpupillary": 80.0})


@pytest.mark.slow
@needs_model
def test_identities_belong_to_their_split_and_repeat():
    model = load_head_model()
    for split in ("train", "val", "test"):
        for seed in range(4):
            drawn = draw_identity(model, seed, split)
            assert split_of_identity(drawn) == split
            assert np.abs(drawn.identity).max() <= CLIP
            assert all(0 < w <= 0.45 for w in drawn.expression.values()) and "jawOpen" not in drawn.expression
    again = draw_identity(model, 3, "test")
    assert np.array_equal(again.identity, drawn.identity) and again.expression == drawn.expression


@needs_model
def test_recipe_survives_json_exactly():
    drawn = draw_identity(load_head_model(), 5)
    read = Identity.from_recipe(json.loads(json.dumps(drawn.recipe())))
    assert np.array_equal(read.identity, drawn.identity) and read.expression == drawn.expression


@pytest.mark.slow
@needs_model
def test_anatomy_is_adult_and_varied():
    model = load_head_model()
    rows = [anatomy(model, draw_identity(model, seed)) for seed in range(24)]
    ipd = np.array([row["interpupillary"] for row in rows])
    height = np.array([row["chin_vertex"] for row in rows])
    assert all(is_adult(row) for row in rows)
    # adults: 63 ± 4 mm between the pupils, about 220 mm from chin to vertex
    assert 60 < ipd.mean() < 68 and 2 < ipd.std() < 5
    assert 210 < height.mean() < 232 and 5 < height.std() < 14


@needs_model
def test_one_mode_moves_the_head_as_the_model_says():
    model = load_head_model()
    still = shape_head(model, Identity(np.zeros(100), {}))
    moved = shape_head(model, Identity(np.eye(100)[3] * 2.0, {}))
    coarse = model.refinement.matrix @ (2.0 * model.skin_identity[3])
    assert np.allclose((moved.skin - still.skin)[: len(coarse)], coarse, atol=1e-4)
    assert np.allclose(still.skin[: len(coarse)], model.refinement.canonical[: len(coarse)], atol=1e-6)
    skin = trimesh.Trimesh(moved.skin, model.refinement.faces, process=False)
    assert skin.is_watertight and skin.volume > 0


@needs_model
def test_smile_lifts_the_corners_of_the_mouth():
    model = load_head_model()
    smile = {"mouthSmile_L": 0.4, "mouthSmile_R": 0.4}
    still, smiling = (shape_head(model, Identity(np.zeros(100), e)) for e in ({}, smile))
    lift = smiling.landmarks68[[48, 54]] - still.landmarks68[[48, 54]]
    assert (lift[:, 1] > 1.0).all() and lift[0, 0] < 0 < lift[1, 0]


def test_crossed_walls_are_found_where_they_cross():
    # a ball with a dent pushed so far that it comes out on the other side
    vertices, faces = ball(20.0, level=4)
    dent = np.exp(-((np.linalg.norm(vertices - [0, 0, 20], axis=1) / 8) ** 2))
    for depth, crossed in ((30.0, False), (50.0, True)):
        pushed = vertices - dent[:, None] * [0.0, 0.0, depth]
        places = inside_out(pushed, faces, np.full(3, -35.0), np.full(3, 35.0))
        assert (len(places) > 0) == crossed
    assert np.abs(places[:, :2]).max() < 8 and places[:, 2].max() < -15


@needs_model
def test_drawn_heads_are_sound_and_a_known_bad_one_is_not():
    model = load_head_model()
    for seed in range(6):
        assert visible_defects_mm3(model, shape_head(model, draw_identity(model, seed)).skin) <= TOLERANCE_MM3
    skin = model.refinement.canonical.copy()
    assert visible_defects_mm3(model, skin) == 0
    # push the inner wall of the left nostril out through the wing
    wing = np.linalg.norm(skin - skin[model.landmarks[35]], axis=1) < 14
    inner = wing & (np.abs(skin[:, 0]) < np.abs(skin[wing, 0]).max() - 4)
    skin[inner, 0] += 12
    assert visible_defects_mm3(model, skin) > TOLERANCE_MM3
