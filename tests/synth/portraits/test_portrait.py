"""Portraits of the toy subject: what their maps say is what the camera and the geometry say."""

from dataclasses import replace

import numpy as np
import pytest

from recon.perception.portrait_maps import CLOTHES, EYES, EYEWEAR, HAIR, OCCLUDER, SKIN
from recon.scene import Camera
from recon.synth.datasets.cameras import look_at
from recon.synth.portraits.framing import Framing
from recon.synth.portraits.people import person_of, sit
from recon.synth.portraits.pieces import Thing, box, disc
from recon.synth.portraits.portrait import shoot
from recon.synth.render.appearance import draw_appearance
from tests.support.toy_subject import CENTRE, toy_subject

SIZE = 96
MIDDLE = np.array([0.0, 20.0, 20.0])


def similarity():
    """A turn by 20 degrees about the vertical, a scale of 1.1 and a move."""
    turn = np.radians(20.0)
    matrix = np.eye(4)
    matrix[:3, :3] = 1.1 * np.array(
        [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    )
    matrix[:3, 3] = [5.0, -8.0, 3.0]
    return matrix


@pytest.fixture(scope="module")
def person():
    return person_of(toy_subject(), draw_appearance(3), similarity(), "toy")


@pytest.fixture(scope="module")
def sitting(person):
    return sit(person, (0, 1))


def framing(azimuth, roll=0.0, distance=800.0):
    pose = look_at(MIDDLE, azimuth, 5.0, distance, roll)
    focal = SIZE * distance / 330.0
    intrinsics = np.array([[focal, 0, SIZE / 2 + 3.0], [0, focal, SIZE / 2], [0, 0, 1.0]])
    return Framing(Camera(intrinsics, pose, SIZE, SIZE), azimuth, 5.0, roll, 50.0)


def pixel_centres(mask):
    rows, columns = np.nonzero(mask)
    return np.stack([columns, rows], axis=1) + 0.5


def test_canonical_points_of_hair_project_to_their_pixels_and_give_the_camera_back(person, sitting):
    view = framing(150.0, roll=12.0)
    portrait = shoot(sitting, view, [])
    hair = portrait.parts == HAIR
    assert hair.sum() > 300
    points = portrait.canonical[hair].astype(np.float64)
    to_camera = view.camera.camera_from_world @ np.linalg.inv(person.canonical_from_head)
    seen = (points @ to_camera[:3, :3].T + to_camera[:3, 3]) @ view.camera.intrinsics.T
    np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], pixel_centres(hair), atol=0.02)

    # direct linear transform: the camera from nothing but the map
    pixels = pixel_centres(hair)
    scaled = np.concatenate([points / 100.0, np.ones((len(points), 1))], axis=1)
    u, v = ((pixels - SIZE / 2) / SIZE).T
    zero = np.zeros_like(scaled)
    rows = np.concatenate(
        [np.concatenate([scaled, zero, -u[:, None] * scaled], axis=1),
         np.concatenate([zero, scaled, -v[:, None] * scaled], axis=1)]
    )  # fmt: skip
    matrix = np.linalg.svd(rows, full_matrices=False)[2][-1].reshape(3, 4)
    centre = -np.linalg.solve(matrix[:, :3], matrix[:, 3]) * 100.0
    wanted = -np.linalg.inv(to_camera[:3, :3]) @ to_camera[:3, 3]
    assert np.linalg.norm(centre - wanted) < 0.02 * np.linalg.norm(wanted)


def test_skin_has_the_point_of_the_mean_head_that_it_corresponds_to(sitting):
    # the toy's skin is its own mean head, so its canonical points are those of its own frame
    view = framing(-30.0)
    portrait = shoot(sitting, view, [])
    skin = portrait.parts == SKIN
    pixels, depth = view.camera.project(portrait.canonical[skin].astype(np.float64))
    np.testing.assert_allclose(pixels, pixel_centres(skin), atol=0.02)
    origin = (view.camera.camera_from_world @ np.linalg.inv(similarity()) @ [0, 0, 0, 1])[2]
    np.testing.assert_allclose(portrait.depth[skin], depth - origin, atol=0.05)
    assert (portrait.parts == EYES).any() and (portrait.parts == CLOTHES).any()
    assert not portrait.canonical[portrait.parts == CLOTHES].any()


def test_normals_of_a_ball_are_its_radii_in_camera_axes(sitting):
    view = framing(40.0, roll=-20.0)
    portrait = shoot(sitting, view, [])
    skin = portrait.parts == SKIN
    radii = (portrait.canonical[skin] - CENTRE) / 100.0
    wanted = radii @ view.camera.world_from_camera[:3, :3]
    np.testing.assert_allclose(portrait.normals[skin], wanted, atol=0.02)
    assert portrait.normals[skin][:, 2].min() < -0.98 and portrait.normals[skin][:, 2].max() < 0.1


@pytest.mark.parametrize("azimuth", [100.0, 170.0, -120.0])
def test_strands_point_from_root_to_tip_as_their_projections_do(sitting, azimuth):
    view = framing(azimuth)
    portrait = shoot(sitting, view, [])
    hair = portrait.parts == HAIR
    points = portrait.canonical[hair].astype(np.float64)
    own = (points - similarity()[:3, 3]) @ np.linalg.inv(similarity()[:3, :3]).T
    radius = (own - CENTRE - [0, 6.0, -8.0]) / 104.0
    down = np.array([0.0, -1.0, 0.0]) + radius * radius[:, 1:2]
    steep = np.linalg.norm(down, axis=1) > 0.5
    first, _ = view.camera.project(own)
    second, _ = view.camera.project(own + 0.5 * down)
    flow = (second - first) / np.linalg.norm(second - first, axis=1, keepdims=True)
    cosine = (portrait.strand[hair] * flow).sum(axis=1)
    assert np.median(cosine[steep]) > 0.98 and np.median(portrait.strand[hair][:, 1]) > 0.8  # downwards
    np.testing.assert_allclose(np.linalg.norm(portrait.strand[hair], axis=1), 1.0, atol=1e-4)
    assert not portrait.strand[~hair].any()


def test_the_mirrored_camera_of_a_symmetric_person_sees_mirrored_maps(person):
    level = replace(person, canonical_from_head=np.eye(4))
    dull = sit(level, (0, 2))
    # the principal point is mirrored too
    left, right = framing(35.0, roll=8.0), framing(-35.0, roll=-8.0)
    intrinsics = right.camera.intrinsics.copy()
    intrinsics[0, 2] = SIZE - intrinsics[0, 2]
    right = replace(right, camera=replace(right.camera, intrinsics=intrinsics))
    one, other = shoot(dull, left, []), shoot(dull, right, [])
    skin = (one.parts == SKIN) & (other.parts[:, ::-1] == SKIN)
    assert skin.sum() > 500
    for name in ("canonical", "normals"):
        flipped = getattr(other, name)[:, ::-1] * np.array([-1.0, 1.0, 1.0])
        apart = np.abs(getattr(one, name) - flipped)[skin].max(axis=1)
        assert np.median(apart) < 0.01
    assert (one.parts != other.parts[:, ::-1]).mean() < 0.02


def board(camera, depth_mm, label=OCCLUDER, worn=False, half=(30.0, 30.0, 1.0)):
    """A board across the line of sight, at a depth from the camera."""
    axes = camera.world_from_camera[:3, :3].T
    return Thing(
        "board", label, worn, (box(camera.centre + depth_mm * axes[2], axes, np.array(half), np.ones(3)),)
    )


def test_things_hide_what_is_behind_them_and_nothing_else(sitting):
    view = framing(0.0)
    bare = shoot(sitting, view, [])
    hidden = shoot(sitting, view, [board(view.camera, 950.0)])  # inside the head
    np.testing.assert_array_equal(hidden.parts, bare.parts)
    np.testing.assert_allclose(hidden.light, bare.light)

    before = shoot(sitting, view, [board(view.camera, 500.0)])
    shown = before.parts == OCCLUDER
    side = 60.0 * view.camera.intrinsics[0, 0] / 499.0  # its nearer side
    assert abs(shown.sum() - side**2) < 5 * side
    inner = shown & (
        np.roll(shown, 2, 0) & np.roll(shown, -2, 0) & np.roll(shown, 2, 1) & np.roll(shown, -2, 1)
    )
    assert before.alpha[inner].max() < 1e-6 and before.cover[inner].min() > 1 - 1e-6
    np.testing.assert_array_equal(before.parts[~shown], bare.parts[~shown])
    np.testing.assert_allclose(before.twin_light, bare.light)
    np.testing.assert_allclose(before.twin_alpha, bare.alpha)
    worn = shoot(sitting, view, [board(view.camera, 500.0, worn=True)])
    np.testing.assert_allclose(worn.alpha[inner], 1.0, atol=1e-6)
    assert before.things == ("board",) and bare.things == ()


def test_one_sees_through_glass(sitting):
    view = framing(0.0)
    bare = shoot(sitting, view, [])
    axes = view.camera.world_from_camera[:3, :3]
    turn = np.linspace(0, 2 * np.pi, 30, endpoint=False)
    ring = (
        view.camera.centre
        + 500 * axes[:, 2]
        + 40 * (np.cos(turn)[:, None] * axes[:, 0] + np.sin(turn)[:, None] * axes[:, 1])
    )
    for opacity, label in ((0.25, SKIN), (0.75, EYEWEAR)):
        glass = Thing("glass", EYEWEAR, True, (disc(ring, np.zeros(3), np.zeros(3), opacity=opacity),))
        seen = shoot(sitting, view, [glass])
        row, column = SIZE // 2, SIZE // 2 + 3
        assert bare.parts[row, column] == SKIN and seen.parts[row, column] == label
        np.testing.assert_allclose(
            seen.light[row, column], (1 - opacity) * bare.light[row, column], rtol=1e-3
        )
