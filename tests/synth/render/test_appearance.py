"""Appearances, noise, light and skin: seeded, bounded, and right where the answer is known."""

import numpy as np
import pytest
import trimesh

from recon.synth.hair.curves import surface_normals
from recon.synth.model import face_map
from recon.synth.render import noise, room
from recon.synth.render.appearance import draw_appearance
from recon.synth.render.eyes import eye_normal
from recon.synth.render.light import bake, harmonic_basis, irradiance_harmonics
from recon.synth.render.sensor import develop, srgb
from recon.synth.render.skin import BASE, paint_skin


def white_room(*lamps: room.Lamp) -> room.Room:
    return room.Room(np.full((16, 32, 3), 0.5, np.float32), lamps)


def overhead() -> room.Lamp:
    return room.Lamp(np.array([0.0, 1.0, 0.0]), np.ones(3), 3.0)


def test_noise_is_seeded_centred_and_its_gradient_is_a_derivative():
    points = np.random.default_rng(0).uniform(-80, 80, (4000, 3)).astype(np.float32)
    value, gradient = noise.noise_gradient(points, 6.0, 3)
    np.testing.assert_array_equal(value, noise.noise(points, 6.0, 3))
    assert not np.allclose(value, noise.noise(points, 6.0, 4))
    assert abs(value.mean()) < 0.02 and 0.2 < value.std() < 0.4 and np.abs(value).max() < 1.6
    step = 0.02
    moved = points + np.array([0, step, 0], np.float32)
    slope = (noise.noise(moved, 6.0, 3) - value) / (step / 6.0)
    np.testing.assert_allclose(slope, gradient[:, 1], atol=0.03)
    # Zero on the lattice, whatever the gradients are.
    lattice = np.array([[6.0, 12.0, -18.0], [0.0, 0.0, 0.0]], np.float32)
    np.testing.assert_allclose(noise.noise(lattice, 6.0, 9), 0.0, atol=1e-6)


def test_streaks_run_along_the_tangent():
    rng = np.random.default_rng(1)
    points = rng.uniform(-50, 50, (3000, 3)).astype(np.float32)
    along = np.tile(np.array([1, 0, 0], np.float32), (3000, 1))
    here = noise.streaks(points, along, 0.6, 8.0, 2)
    ahead = noise.streaks(points + 3 * along, along, 0.6, 8.0, 2)
    aside = noise.streaks(points + np.array([0, 3.0, 0], np.float32), along, 0.6, 8.0, 2)
    assert here.std() == pytest.approx(1.0, abs=0.15)
    assert np.corrcoef(here, ahead)[0, 1] > 0.6
    assert abs(np.corrcoef(here, aside)[0, 1]) < 0.1


def test_panorama_is_looked_up_where_it_was_painted():
    panorama = np.zeros((64, 128, 3), np.float32)
    panorama[:8] = [0, 0, 1]  # up
    panorama[24:40, 60:69] = [1, 0, 0]  # around the middle column: +Z
    shown = room.Room(panorama, ()).radiance(np.array([[0, 1, 0], [0, 0, 1.0], [0, 0, -1.0], [0, -1, 0]]))
    np.testing.assert_allclose(shown, [[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0]], atol=1e-6)
    left = np.zeros((64, 128, 3), np.float32)
    left[24:40, 28:37] = 1.0  # a quarter turn from -Z: +X, the subject's left
    assert room.Room(left, ()).radiance(np.array([[1.0, 0, 0], [-1.0, 0, 0]]))[:, 0].tolist() == [1.0, 0.0]


def test_a_uniform_room_lights_every_normal_alike():
    normals = room.sphere_directions(50)
    light = harmonic_basis(normals) @ irradiance_harmonics(white_room())
    np.testing.assert_allclose(light, 0.5, atol=0.005)


def test_an_open_ball_gets_the_rooms_radiance():
    ball = trimesh.creation.icosphere(subdivisions=4, radius=100.0)
    light = bake(
        np.asarray(ball.vertices), np.asarray(ball.vertex_normals), ball.faces, white_room(overhead())
    )
    np.testing.assert_allclose(light.openness, 1.0, atol=0.03)
    np.testing.assert_allclose(light.ambient, 0.5, atol=0.04)
    # The lamp above sees the upper half and not the lower.
    y = ball.vertices[:, 1]
    assert light.lamps[y > 15, 0].min() > 0.9
    assert light.lamps[y < -15, 0].max() < 0.1


def test_a_roof_throws_a_shadow_on_the_floor():
    floor = trimesh.creation.box((400, 2, 400))
    floor = floor.subdivide().subdivide().subdivide().subdivide()
    roof = trimesh.creation.box((100, 2, 100)).apply_translation([0, 60, 0])
    both = trimesh.util.concatenate([floor, roof])
    normals = np.asarray(both.vertex_normals)
    light = bake(np.asarray(both.vertices), normals, both.faces, white_room(overhead()))
    x, y, z = both.vertices.T
    top = (np.abs(y - 1) < 0.1) & (np.abs(x) < 190) & (np.abs(z) < 190)
    under = top & (np.abs(x) < 35) & (np.abs(z) < 35)
    outside = top & ((np.abs(x) > 65) | (np.abs(z) > 65))
    assert light.lamps[under, 0].max() < 0.05
    assert light.lamps[outside, 0].min() > 0.95
    middle = under & (np.hypot(x, z) < 10)
    # Seen from the floor's middle the roof fills cos-weighted a share that no closed form is needed to bound:
    # the disc of radius 50 fills sin²(atan(50/59)) = 0.418, the square's corners add to it.
    assert 0.38 < light.openness[middle].mean() < 0.60


def test_normals_of_a_ball_point_outward():
    ball = trimesh.creation.icosphere(subdivisions=4, radius=30.0)
    normals = surface_normals(np.asarray(ball.vertices), np.asarray(ball.faces))
    np.testing.assert_allclose(normals, ball.vertices / 30.0, atol=0.01)


def test_eye_normals_are_those_of_a_ball_with_a_bulge():
    centre = face_map.EYE_CENTRE
    front = (centre + np.array([0, 0, 18.0]))[None].astype(np.float32)
    np.testing.assert_allclose(eye_normal(front)[0], [[0, 0, 1]], atol=1e-6)
    # 4 mm off the axis the cornea (radius 8.2 mm) tilts by asin(4 / 8.2) = 29.2 degrees, the ball only by 15.
    off = (centre + np.array([4.0, 0, 17.0]))[None].astype(np.float32)
    assert np.degrees(np.arcsin(eye_normal(off)[0][0, 0])) == pytest.approx(29.2, abs=0.5)
    white = (centre + np.array([12.0, 0, 9.0]))[None].astype(np.float32)
    np.testing.assert_allclose(eye_normal(white)[0], [[0.8, 0, 0.6]], atol=1e-3)


def test_face_map_knows_its_places():
    spots = np.array(
        [
            [0, -30.0, 116],
            [0, -58, 110],
            [33, 61, 101],
            [-33, 61, 101],
            [82, 15, -5],
            [0, 80, 105],
            [30, -60, 90],
        ],
        np.float32,
    )  # lower edge of the upper lip, chin, both brows, ear, forehead, jaw
    np.testing.assert_allclose(face_map.lips(spots), [1, 0, 0, 0, 0, 0, 0], atol=1e-3)
    np.testing.assert_allclose(face_map.brows(spots)[0] > 0.5, [0, 0, 1, 1, 0, 0, 0])
    np.testing.assert_allclose(face_map.ears(spots) > 0.5, [0, 0, 0, 0, 1, 0, 0])
    np.testing.assert_allclose(face_map.beard(spots) > 0.5, [0, 1, 0, 0, 0, 0, 1])
    mirrored = spots * [-1, 1, 1]
    np.testing.assert_allclose(face_map.flushed(spots), face_map.flushed(mirrored.astype(np.float32)))


def test_old_faces_are_folded_where_faces_fold():
    ones = np.ones(60)
    forehead = np.stack([0 * ones, np.linspace(70, 100, 60), 105 * ones], axis=1).astype(np.float32)
    relief = face_map.folds(forehead)
    assert relief.min() < -0.3 and relief.max() > -0.02
    cheek = np.stack([np.linspace(15, 32, 60), -18 * ones, 105 * ones], axis=1).astype(np.float32)
    assert face_map.folds(cheek).min() < -0.8  # from the wing of the nose to the corner of the mouth
    assert face_map.folds(np.array([[0, 4.0, 130.0]], np.float32))[0] > -0.01


def test_looks_are_seeded_and_plausible():
    assert draw_appearance(3).skin == draw_appearance(3).skin
    assert draw_appearance(3).skin != draw_appearance(4).skin
    reflectances = []
    for seed in range(60):
        appearance = draw_appearance(seed)
        painted = paint_skin(np.array([[0, 80, 105.0]], np.float32), appearance.skin)
        pale = np.exp(-painted["melanin"] * 0.80 - painted["blood"] * 0.12) * BASE[0]
        reflectances.append(float(pale[0]))
        if appearance.skin.melanin > 0.7:
            assert appearance.hair.name in ("black", "dark_brown", "brown", "grey", "white")
            assert appearance.eyes.name in ("brown", "hazel")
        assert max(appearance.hair.brow) < 0.14
    # Red albedo of human foreheads lies between about 0.15 and 0.75.
    assert 0.15 < min(reflectances) < 0.35 and 0.5 < max(reflectances) < 0.75


def test_srgb_and_the_sensor():
    # IEC 61966-2-1: linear 0.2140 is sRGB 0.5.
    np.testing.assert_allclose(
        srgb(np.array([0.0, 0.0031308, 0.21404, 1.0, 2.0])), [0, 0.04045, 0.5, 1, 1], atol=1e-4
    )
    sensor = draw_appearance(1).sensor
    grey = np.full((64, 64, 3), 0.2, np.float32)
    first, again, other = (develop(grey, sensor, seed) for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert 70 < first.mean() < 190 and first.std() > 0.3
