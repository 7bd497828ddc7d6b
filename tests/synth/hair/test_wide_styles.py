import json

import numpy as np
import pytest

from recon.synth.body.subject import build_subject, draw_recipe
from recon.synth.hair.build import Growth
from recon.synth.hair.flow import CROWN_MM
from recon.synth.hair.parameters import HairStyle
from recon.synth.hair.scalp import Hairline, draw_hairline
from recon.synth.hair.styles import SHARES, WIDE_SHARES, draw_style
from recon.synth.hair.wide_styles import draw_long_beard, draw_receded_hairline
from recon.synth.model.identity import generator, split_of_quantile
from tests.support.head_model import needs_model

NEW = ("topknot", "low_bun", "undercut", "receding")


def test_more_than_half_of_wider_people_have_a_rare_family():
    assert sum(WIDE_SHARES.values()) == pytest.approx(1) and set(WIDE_SHARES) == {*SHARES, *NEW}
    drawn = [draw_style(generator(seed, "train", 9), "train", wide=True) for seed in range(1500)]
    families = [style.family if style else "bald" for style in drawn]
    assert set(families) == set(WIDE_SHARES)
    # three standard deviations of a share of 0.55 among 1500 are 0.039
    assert np.mean([family in (*NEW, "bun") for family in families]) == pytest.approx(0.55, abs=0.039)


def test_ordinary_people_have_no_new_family():
    drawn = [draw_style(generator(seed, "train", 9), "train") for seed in range(300)]
    assert {style.family if style else "bald" for style in drawn} <= set(SHARES)


@pytest.mark.parametrize(
    ("family", "quantile"),
    [
        ("topknot", lambda style: (style.bun_mm - 15) / 19),
        ("low_bun", lambda style: (style.bun_mm - 18) / 17),
        ("undercut", lambda style: (style.length_top_mm - 55) / 75),
        ("receding", lambda style: (style.length_top_mm - 7) / 28),
    ],
)
def test_no_size_of_one_split_occurs_in_another(family, quantile):
    for split in ("train", "val", "test"):
        for seed in range(20):
            style = draw_style(generator(seed, split, 9), split, family)
            assert style.family == family and split_of_quantile(quantile(style)) == split


def test_new_styles_survive_json_and_old_recipes_have_no_new_field():
    rng = np.random.default_rng(0)
    for family in NEW:
        for line in (draw_hairline(rng), draw_receded_hairline(rng)):
            grown = Growth(draw_style(rng, "train", family), line, None, 7)
            assert Growth.from_recipe(json.loads(json.dumps(grown.recipe()))) == grown
    old = Growth(draw_style(rng, "train", "bob"), draw_hairline(rng), None, 7).recipe()
    assert "edge_mm" not in old["style"] and "crown_mm" not in old["hairline"]


def test_an_undercut_has_a_hard_edge_all_round():
    style = HairStyle("undercut", length_top_mm=90.0, length_side_mm=2.0, length_back_mm=2.0, edge_mm=90.0)
    below = np.array([[80.0, 88.0, 0.0], [0.0, 88.0, -80.0]])  # temple and back of the head
    assert np.allclose(style.length_mm(below), 2)
    assert np.allclose(style.length_mm(below + np.array([0.0, 12.0, 0.0])), 90)


def test_a_bald_crown_is_as_wide_as_its_radius():
    for away, hair in ((15.0, False), (35.0, True)):
        spot = CROWN_MM + np.array([away, 0.0, 0.0])
        assert (Hairline(crown_mm=25.0).distance_mm(spot[None])[0] > 0) == hair
        assert Hairline().distance_mm(spot[None])[0] > 0


def test_receded_hair_leaves_the_forehead_bare_further_up():
    # just inside the neutral hairline (at 42 degrees of elevation) and well inside, 20 degrees off the middle
    up, aside = np.radians([45.0, 60.0]), np.radians(20.0)
    places = np.stack([np.cos(up) * np.sin(aside), np.sin(up), np.cos(up) * np.cos(aside)], axis=1)
    places = 90.0 * places + [0.0, 30.0, 0.0]
    assert (Hairline().distance_mm(places) > 0).all()
    lines = [draw_receded_hairline(np.random.default_rng(seed)) for seed in range(200)]
    bare = np.array([line.distance_mm(places) < 0 for line in lines])
    assert bare[:, 0].all() and 0.1 < bare[:, 1].mean() < 0.6
    assert np.mean([line.crown_mm > 0 for line in lines]) == pytest.approx(0.7, abs=0.1)


def test_long_beards_end_40_to_110_mm_below_the_chin():
    ends = []
    for seed in range(60):
        style, coverage = draw_long_beard(generator(seed, "train", 9), "train")
        assert coverage == "full"
        ends.append(-76.0 - style.cut_mm)
    assert 40 <= min(ends) < 50 and 100 < max(ends) <= 110


@pytest.fixture(scope="module")
def grown():
    """Builds a light subject of a family and returns it with the bounds of its hair."""

    def build(family, beard=None):
        recipe = draw_recipe(9, style=family)
        if recipe["hair"] is not None:
            recipe["hair"]["style"].update(children=1500, guides=200)
        recipe["beard"] = beard
        return build_subject(recipe, spacing_mm=6.0)

    return build


@pytest.mark.slow
@needs_model
def test_a_topknot_stands_on_the_crown_and_a_low_bun_behind_the_nape(grown):
    for family in ("topknot", "low_bun"):
        subject = grown(family)
        skin, hair = subject.part("skin").vertices, subject.part("hair").vertices
        if family == "topknot":
            assert hair[:, 1].max() > skin[:, 1].max() + 30
            assert abs(hair[hair[:, 1].argmax(), 0]) < 35
        else:
            nape = hair[hair[:, 1] < 45]
            assert nape[:, 2].min() < skin[:, 2][skin[:, 1] > -60].min() - 15
        assert subject.truth.is_watertight and subject.truth.body_count == 1


@pytest.mark.slow
@needs_model
def test_a_long_beard_hangs_below_the_chin_and_leaves_the_mouth_free(grown):
    style, coverage = draw_long_beard(generator(0, "train", 9), "train")
    subject = grown("bald", Growth(style, None, coverage, 1).recipe())
    chin, lips = subject.landmarks68[8], subject.landmarks68[60:68]
    beard = subject.part("beard").vertices
    hangs = chin[1] - beard[:, 1].min()
    assert 0.7 * (-76.0 - style.cut_mm) < hangs < -76.0 - style.cut_mm + 35
    before = np.abs(beard[:, :2] - lips[:, :2].mean(axis=0)).max(axis=1) < 4
    assert not before.any()
    assert subject.truth.is_watertight and subject.truth.body_count == 1
