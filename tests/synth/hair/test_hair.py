import json

import numpy as np
import pytest
import trimesh

from recon.errors import ConfigError
from recon.geometry.distance_grid import RegularGrid, signed_distance_grid
from recon.geometry.signed_distance import MeshDistance
from recon.synth.body.subject import build_subject, draw_recipe, make_subject
from recon.synth.hair.build import Growth
from recon.synth.hair.flow import flow_direction, off_the_face
from recon.synth.hair.grow import (
    CollisionField,
    clump,
    curl,
    cut_below,
    frizz,
    grow_guides,
    interpolate_children,
)
from recon.synth.hair.parameters import HairStyle
from recon.synth.hair.scalp import Hairline, Roots, draw_hairline, sample_roots, scalp_mask
from recon.synth.hair.styles import BEARD_COVERAGE, FAMILIES, SHARES, SHORT_FAMILIES, draw_beard, draw_style
from recon.synth.hair.volume import hair_surface, strand_density
from recon.synth.model.head_model import load_head_model
from recon.synth.model.identity import generator, split_of_quantile
from tests.support.head_model import ball, needs_model

RADIUS = 90.0


@pytest.fixture(scope="module")
def body() -> CollisionField:
    """A ball for a head, at the neutral place and size."""
    vertices, faces = ball(RADIUS, (0, 40, 0))
    grid = RegularGrid.around(vertices.min(0), vertices.max(0), 4.0, 120.0)
    distance = signed_distance_grid(vertices, faces, grid, 6.0, extend=True)
    return CollisionField(grid, distance, np.zeros(3), np.ones(3))


def roots_on_ball(count: int, rng: np.random.Generator) -> Roots:
    vertices, faces = ball(RADIUS, (0, 40, 0))
    normals = (vertices - [0, 40, 0]) / RADIUS
    return sample_roots(rng, count, vertices, normals, vertices, faces, vertices[:, 1] - 60.0)


def straight(count: int = 40, points: int = 60, length: float = 120.0) -> np.ndarray:
    """Vertical strands on a square of 20 mm."""
    rng = np.random.default_rng(0)
    foot = rng.uniform(-10, 10, (count, 1, 3)) * [1, 0, 1]
    return foot + np.linspace(0, length, points)[None, :, None] * [0.0, 1.0, 0.0]


# --- scalp -------------------------------------------------------------------------------------------------


def test_hair_grows_where_it_should():
    inside = Hairline().distance_mm(
        np.array(
            [
                [0.0, 145.0, 0.0],  # vertex
                [0.0, 60.0, -88.0],  # back of the head
                [0.0, 80.0, 98.0],  # forehead
                [0.0, -70.0, 105.0],  # chin
                [88.0, 10.0, 0.0],  # ear
                [72.0, 20.0, 29.0],  # sideburn
                [0.0, -90.0, -60.0],  # neck
            ]
        )
    )
    assert np.array_equal(inside > 0, [True, True, False, False, False, True, False])
    assert inside[0] > 40 and inside[3] < -40


def test_hairline_moves_by_millimetres():
    brow = np.array([[0.0, 30 + 90 * np.sin(np.radians(50)), 90 * np.cos(np.radians(50))]])
    still = Hairline().distance_mm(brow)[0]
    assert Hairline(front_mm=6.0).distance_mm(brow)[0] == pytest.approx(still - 6, abs=0.5)
    low = np.array([[0.0, 30 - 85 * np.sin(np.radians(52)), -85 * np.cos(np.radians(52))]])
    assert Hairline(nape_mm=-8.0).distance_mm(low)[0] < Hairline().distance_mm(low)[0] - 4


def test_scalp_mask_is_half_at_the_line():
    assert np.allclose(scalp_mask(np.array([-20.0, 0.0, 20.0])), [0, 0.5, 1])


def test_roots_are_uniform_over_area():
    # two triangles, one with three times the other's area
    vertices = np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 0], [100, 0, 0], [130, 0, 0], [100, 10, 0]])
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    up = np.tile([0.0, 0.0, 1.0], (6, 1))
    roots = sample_roots(np.random.default_rng(0), 4000, vertices, up, vertices, faces, np.full(6, 50.0))
    assert abs((roots.faces == 1).mean() - 0.75) < 0.002  # stratified: far closer than chance
    right = roots.positions[roots.faces == 1]
    assert np.allclose(right.mean(axis=0), [110, 10 / 3, 0], atol=0.5)
    assert np.allclose(roots.normals, [0, 0, 1])


def test_roots_thin_out_at_the_hairline():
    roots = roots_on_ball(3000, np.random.default_rng(1))
    assert roots.inside_mm.min() > -2  # the triangles on the line
    # equal bands of height have equal area on a ball: the border's first 4 mm hold half their share
    first, second = ((roots.inside_mm > a) & (roots.inside_mm < a + 4) for a in (0, 12))
    assert 0.25 < first.sum() / second.sum() < 0.75


# --- growing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", ["whorl", "back", "part", "fringe", "loose", "down", "tie", "out", "beard"])
def test_guides_stay_outside_the_head_and_have_their_length(body, flow):
    rng = np.random.default_rng(2)
    style = HairStyle(
        "x", flow=flow, length_top_mm=80.0, length_side_mm=80.0, length_back_mm=80.0, raggedness=0.0
    )
    roots = roots_on_ball(150, rng)
    guides = grow_guides(style, roots, body, rng)
    assert guides.shape == (150, style.points, 3) and np.isfinite(guides).all()
    assert np.array_equal(guides[:, 0], roots.positions)
    height = np.linalg.norm(guides[:, 1:] - [0, 40, 0], axis=2) - RADIUS
    assert height.min() > -0.5
    if flow != "tie":
        length = np.linalg.norm(np.diff(guides, axis=1), axis=2).sum(axis=1)
        inner = roots.inside_mm > 20
        assert (length <= 85).all() and np.median(length[inner]) > 60


def test_strands_ride_in_their_layer(body):
    rng = np.random.default_rng(3)
    roots = roots_on_ball(200, rng)
    style = HairStyle("x", flow="whorl", length_top_mm=90.0, length_side_mm=90.0, length_back_mm=90.0,
                      volume_top_mm=20.0, volume_side_mm=20.0, tuck=0.0, gravity=0.0)  # fmt: skip
    guides = grow_guides(style, roots, body, rng)
    top = roots.inside_mm > 40
    height = np.linalg.norm(guides[top, -1] - [0, 40, 0], axis=1) - RADIUS
    assert 14 < np.median(height) < 26


def test_parting_sends_hair_to_its_sides(body):
    rng = np.random.default_rng(4)
    roots = roots_on_ball(300, rng)
    style = HairStyle("x", flow="down", parting_mm=20.0, length_top_mm=150.0, length_side_mm=150.0)
    moved = grow_guides(style, roots, body, rng)[:, -1, 0] - roots.positions[:, 0]
    front = (roots.canonical[:, 2] > 10) & (roots.canonical[:, 1] > 100)
    left = roots.canonical[:, 0] > 20
    assert np.median(moved[front & left]) > 10 and np.median(moved[front & ~left]) < -10


def test_tied_hair_meets_at_the_tie_and_hangs(body):
    rng = np.random.default_rng(5)
    roots = roots_on_ball(120, rng)
    tie = (0.0, 60.0, -95.0)
    style = HairStyle("x", flow="tie", tie_mm=tie, tail_mm=150.0, points=44, gravity=0.0, volume_top_mm=6.0,
                      volume_side_mm=5.0)  # fmt: skip
    guides = grow_guides(style, roots, body, rng)
    assert np.linalg.norm(guides - np.asarray(tie), axis=2).min(axis=1).max() < 25
    assert np.median(guides[:, -1, 1]) < 0  # well below the tie


def test_bun_stays_in_a_ball_behind_the_tie(body):
    rng = np.random.default_rng(6)
    style = HairStyle("x", flow="tie", tie_mm=(0.0, 100.0, -75.0), bun_mm=26.0, points=48, gravity=0.0)
    guides = grow_guides(style, roots_on_ball(120, rng), body, rng)
    ends = guides[:, -8:].reshape(-1, 3)
    assert np.percentile(np.linalg.norm(ends - ends.mean(axis=0), axis=1), 95) < 45


def test_cut_ends_strands_at_the_plane(body):
    style = HairStyle("x", cut_mm=-30.0, raggedness=0.0)
    down = straight(length=200.0) * [1, -1, 1] + [150.0, 40.0, 0.0]
    cut = cut_below(down, style, body, np.random.default_rng(0))
    assert np.allclose(cut[:, -1, 1], -30.0, atol=1e-6)
    assert np.array_equal(cut[:, 0], down[:, 0])
    steps = np.linalg.norm(np.diff(cut, axis=1), axis=2)
    assert np.allclose(steps, 70 / 59, atol=1e-6)
    short = straight(length=20.0) * [1, -1, 1] + [150.0, 40.0, 0.0]
    assert np.allclose(cut_below(short, style, body, np.random.default_rng(0)), short)


def test_children_start_at_their_roots_between_the_guides(body):
    rng = np.random.default_rng(7)
    style = HairStyle("x", flow="out", gravity=0.0)
    guide_roots, roots = roots_on_ball(300, rng), roots_on_ball(500, rng)
    guides = grow_guides(style, guide_roots, body, rng)
    strands, guide_of = interpolate_children(guides, guide_roots, roots, body, rng, 0.0)
    assert np.array_equal(strands[:, 0], roots.positions)
    gap = np.linalg.norm(guide_roots.positions[guide_of] - roots.positions, axis=1)
    every = np.linalg.norm(guide_roots.positions[None] - roots.positions[:, None], axis=2).min(axis=1)
    assert np.allclose(gap, every)


def test_push_out_clears_the_head(body):
    inside = np.random.default_rng(8).uniform(-1, 1, (500, 3)) * 25 + [60, 60, 30]
    pushed = body.push_out(inside, 3.0)
    assert (np.linalg.norm(pushed - [0, 40, 0], axis=1) - RADIUS).min() > 1.5
    far = np.array([[150.0, 40.0, 0.0]])
    assert np.array_equal(body.push_out(far, 3.0), far)


# --- detail ------------------------------------------------------------------------------------------------


def test_full_clumping_joins_the_tips():
    strands = straight()
    guides = strands[:3]
    joined = clump(strands, guides, np.arange(40) % 3, HairStyle("x", clumping=1.0))
    assert np.allclose(joined[:, -1], guides[np.arange(40) % 3, -1])
    assert np.allclose(joined[:, 0], strands[:, 0])


def test_curl_is_a_helix_of_its_radius():
    strands = straight(points=200)
    style = HairStyle("x", curl_radius_mm=4.0, curl_length_mm=20.0)
    curled = curl(strands, np.zeros(40, dtype=np.int64), style, np.random.default_rng(0))
    offset = np.linalg.norm((curled - strands)[:, 80:], axis=2)  # past the ramp of 24 mm
    assert np.allclose(offset, offset[0, 0]) and 0.6 * 4 <= offset[0, 0] <= 1.2 * 4
    assert np.allclose(curled[:, 0], strands[:, 0])
    # turns per length: the sideways offset changes sign twice a wavelength
    x = (curled - strands)[0, 80:, 0]
    turns = (np.diff(np.sign(x)) != 0).sum() / 2
    assert 72 / (20 * 1.3) - 1 <= turns <= 72 / (20 * 0.75) + 1
    assert curl(strands, np.zeros(40, dtype=np.int64), HairStyle("x"), np.random.default_rng(0)) is strands


def test_frizz_leaves_roots_and_grows():
    strands = straight()
    rough = np.linalg.norm(
        frizz(strands, HairStyle("x", frizz_mm=1.0), np.random.default_rng(0)) - strands, axis=2
    )
    assert rough[:, 0].max() == 0 and rough[:, 40:].mean() > 2 * rough[:, 1:10].mean()


def test_company_tells_stray_hairs_from_locks():
    lock = straight(count=60)
    stray = straight(count=1) + np.array([80.0, 0.0, 0.0])
    share = strand_density(np.concatenate([lock, stray]))
    assert share[:60, 10:-10].min() > 0.9 and share[60].max() < 0.1


def test_hair_off_the_face_keeps_to_its_side():
    style = HairStyle("x", flow="down", parting_mm=0.0)
    at = np.array([[10.0, 20.0, 90.0], [-30.0, 20.0, 90.0], [10.0, 20.0, -50.0], [10.0, 130.0, 60.0]])
    moved = off_the_face(style, at, np.array([[5.0, 100, 60], [-5, 100, 60], [5, 100, 60], [5, 100, 60]]))
    assert moved[0, 0] > 50 and moved[1, 0] < -50
    assert np.array_equal(moved[2:], at[2:])
    assert off_the_face(HairStyle("x", flow="fringe"), at, at) is at


def test_unknown_flow_is_an_error():
    with pytest.raises(ValueError, match="sideways"):
        flow_direction(HairStyle("x", flow="sideways"), np.zeros((1, 3)), np.zeros((1, 3)))


# --- surface -----------------------------------------------------------------------------------------------


def test_hair_surface_is_closed_filled_and_holds_its_strands():
    # strands on the rim of a tube of 6 mm: its hollow must be filled
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    foot = np.stack([6 * np.cos(angle), np.zeros(60), 6 * np.sin(angle)], axis=1)
    strands = foot[:, None] + np.linspace(0, 60, 30)[None, :, None] * [0.0, 1.0, 0.0]
    mesh = hair_surface(strands, 2.0)
    assert mesh.is_watertight and mesh.volume > 0 and mesh.body_count == 1
    distance = MeshDistance(np.asarray(mesh.vertices), np.asarray(mesh.faces))
    assert distance(strands[:, 2:-4].reshape(-1, 3)).max() < 0.3
    assert distance(np.array([[0.0, 30.0, 0.0]]))[0] < -5
    assert mesh.extents[0] < 6 * 2 + 4 * 2


def test_gaps_wider_than_the_closing_stay_open():
    strands = np.concatenate([straight(), straight() + np.array([60.0, 0.0, 0.0])])
    mesh = hair_surface(strands, 2.0, closing_mm=5.0)
    assert mesh.body_count == 2


# --- families ----------------------------------------------------------------------------------------------


def test_families_cover_the_brief_and_lean_to_short():
    assert set(FAMILIES) == {"bald", "buzz", "short", "side_parted", "swept_back", "curly", "afro", "fringe",
                             "bob", "long", "ponytail", "bun"}  # fmt: skip
    assert sum(SHARES.values()) == pytest.approx(1)
    drawn = [draw_style(generator(seed, "train", 9), "train") for seed in range(1500)]
    families = [style.family if style else "bald" for style in drawn]
    assert set(families) == set(FAMILIES)
    assert np.mean([family in SHORT_FAMILIES for family in families]) > 0.42


def test_no_length_of_one_split_occurs_in_another():
    # the afro's length is 22 + 55 q: read the quantile back
    for split in ("train", "val", "test"):
        for seed in range(40):
            style = draw_style(generator(seed, split, 9), split, "afro")
            assert split_of_quantile((style.volume_top_mm - 22.0) / 55.0) == split


def test_styles_survive_json():
    rng = np.random.default_rng(0)
    for family in FAMILIES[1:]:
        style = draw_style(rng, "train", family)
        grown = Growth(style, draw_hairline(rng), None, 7)
        assert Growth.from_recipe(json.loads(json.dumps(grown.recipe()))) == grown
    style, coverage = draw_beard(rng, "train")
    beard = Growth(style, None, coverage, 8)
    assert coverage in BEARD_COVERAGE and Growth.from_recipe(json.loads(json.dumps(beard.recipe()))) == beard


def test_unknown_family_is_named():
    with pytest.raises(ConfigError, match="mohawk"):
        draw_style(np.random.default_rng(0), "train", "mohawk")


# --- on a head ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bob():
    recipe = draw_recipe(21, style="bob")
    recipe["hair"]["style"].update(children=2500, guides=250)
    return build_subject(recipe, spacing_mm=6.0)


@pytest.mark.slow
@needs_model
def test_strands_of_a_subject_do_not_enter_the_head(bob):
    skin = bob.part("skin")
    distance = MeshDistance(skin.vertices, skin.faces)(bob.strands.points[::9].astype(np.float64))
    assert (distance < -1.5).mean() < 0.005 and distance.min() > -6


@needs_model
def test_hair_part_is_closed_and_carries_directions(bob):
    hair = bob.part("hair")
    assert trimesh.Trimesh(hair.vertices, hair.faces, process=False).is_watertight
    length = np.linalg.norm(hair.tangent, axis=1)
    assert np.abs(length - 1)[length > 0].max() < 1e-4 and (length > 0).mean() > 0.99
    assert 0 <= hair.scalars["along"].min() and hair.scalars["along"].max() <= 1
    # down the back hair points down
    back = (hair.vertices[:, 2] < -70) & (np.abs(hair.vertices[:, 0]) < 40) & (hair.vertices[:, 1] < 60)
    outside = back & (hair.vertices[:, 2] < np.percentile(hair.vertices[back, 2], 30))
    assert np.median(hair.tangent[outside, 1]) < -0.7


@needs_model
def test_strand_bookkeeping(bob):
    strands = bob.strands
    assert strands.offsets[0] == 0 and strands.offsets[-1] == len(strands.points)
    assert (
        len(strands) == len(strands.roots) == len(strands.guides) == bob.recipe["hair"]["style"]["children"]
    )
    assert strands.strand(5).shape == (bob.recipe["hair"]["style"]["points"], 3)


@needs_model
def test_hair_leaves_the_face_free(bob):
    face = bob.part("skin")
    hair = bob.part("hair")
    distance = MeshDistance(hair.vertices, hair.faces)
    canonical = face.canonical
    middle = (
        (np.abs(canonical[:, 0]) < 40)
        & (canonical[:, 1] < 70)
        & (canonical[:, 1] > -70)
        & (canonical[:, 2] > 70)
    )
    assert (distance(face.vertices[middle].astype(np.float64)) < 0).mean() < 0.01


@needs_model
def test_bald_heads_have_no_hair_and_beards_are_parts():
    model = load_head_model()
    bald = make_subject(2, style="bald", spacing_mm=6.0, model=model)
    assert bald.strands is None and all(part.name != "hair" for part in bald.parts)
    with pytest.raises(KeyError, match="no part 'hair'"):
        bald.part("hair")
