import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from recon.errors import SceneError
from recon.scene import Camera

finite = st.floats(-1, 1)
vectors = st.tuples(finite, finite, finite).map(np.array)


@st.composite
def cameras(draw):
    K = np.array(
        [
            [draw(st.floats(50, 5000)), draw(st.floats(-5, 5)), draw(st.floats(-100, 1000))],
            [0, draw(st.floats(50, 5000)), draw(st.floats(-100, 1000))],
            [0, 0, 1],
        ]
    )
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(draw(vectors) * 3).as_matrix()
    pose[:3, 3] = draw(vectors) * 1000
    return Camera(K, pose, 640, 480)


def test_projection_by_hand():
    # At the origin, looking along +z: a point 2 right, 1 down, 4 ahead lies at 100*2/4+10, 200*1/4+20.
    camera = Camera(np.array([[100.0, 0, 10], [0, 200, 20], [0, 0, 1]]), np.eye(4), 64, 48)
    pixels, depth = camera.project(np.array([[2.0, 1.0, 4.0]]))
    assert pixels.tolist() == [[60.0, 70.0]]
    assert depth.tolist() == [4.0]


def test_camera_from_world_is_the_inverse_of_world_from_camera():
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", [10, 20, 30], degrees=True).as_matrix()
    pose[:3, 3] = [1, 2, 3]
    camera = Camera(np.eye(3), pose, 4, 4)
    np.testing.assert_allclose(camera.camera_from_world @ pose, np.eye(4), atol=1e-12)
    assert camera.centre.tolist() == [1, 2, 3]


@given(
    cameras(),
    st.lists(st.tuples(st.floats(0, 640), st.floats(0, 480)), min_size=1, max_size=5),
    st.floats(1, 2000),
)
@settings(max_examples=60, deadline=None)
def test_point_on_a_ray_projects_back_to_its_pixel(camera, pixels, distance):
    pixels = np.array(pixels)
    origins, directions = camera.rays(pixels)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-12)
    back, depth = camera.project(origins + distance * directions)
    np.testing.assert_allclose(back, pixels, atol=1e-6)
    assert (depth > 0).all()


@given(cameras(), st.floats(-1e3, 1e3).filter(lambda x: abs(x) > 1e-3), st.sampled_from([0.0, 0.5]))
@settings(max_examples=100, deadline=None)
def test_decomposition_does_not_depend_on_scale_or_sign(camera, factor, pixel_centre):
    P = factor * camera.projection_for(pixel_centre)
    found = Camera.from_projection(P, camera.width, camera.height, pixel_centre)
    np.testing.assert_allclose(found.intrinsics, camera.intrinsics, rtol=1e-7, atol=1e-6)
    np.testing.assert_allclose(found.world_from_camera, camera.world_from_camera, rtol=1e-7, atol=1e-6)


@given(st.lists(finite, min_size=12, max_size=12))
@settings(max_examples=200, deadline=None)
def test_decomposition_of_any_matrix_agrees_with_the_closed_form(numbers):
    P = np.array(numbers).reshape(3, 4)
    M = P[:, :3]
    assume(abs(np.linalg.det(M)) > 1e-2)
    for sign in (1, -1):
        camera = Camera.from_projection(sign * P, 10, 10, pixel_centre=0.5)
        # Closed form from the rows m1, m2, m3 of M (Faugeras 1993): independent of any matrix factorisation.
        m1, m2, m3 = M * np.sign(np.linalg.det(M)) / np.linalg.norm(M[2])
        cx, cy = m1 @ m3, m2 @ m3
        fy = np.linalg.norm(m2 - cy * m3)
        skew = m1 @ (m2 - cy * m3) / fy
        fx = np.sqrt(max(m1 @ m1 - cx**2 - skew**2, 0))
        np.testing.assert_allclose(camera.intrinsics, [[fx, skew, cx], [0, fy, cy], [0, 0, 1]], atol=1e-5)
        np.testing.assert_allclose(camera.world_from_camera[:3, 2], m3, atol=1e-9)
        np.testing.assert_allclose(P[:, :3] @ camera.centre + P[:, 3], 0, atol=1e-9)
        assert np.linalg.det(camera.world_from_camera[:3, :3]) == pytest.approx(1, abs=1e-9)


def test_integer_pixel_centres_shift_the_principal_point_by_half_a_pixel():
    P = np.hstack([np.diag([100.0, 100, 1]), np.zeros((3, 1))])
    P[0, 2], P[1, 2] = 31.5, 23.5
    camera = Camera.from_projection(P, 64, 48, pixel_centre=0.0)
    assert camera.intrinsics[:2, 2].tolist() == [32.0, 24.0]
    np.testing.assert_allclose(camera.projection_for(0.0), P, atol=1e-12)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.full((3, 4), np.nan), "NaN"),
        (np.zeros((3, 4)), "singular"),
        (np.vstack([np.eye(4)[:2], np.eye(4)[3]]), "singular"),
        (np.eye(4)[:2], "3x4"),
    ],
)
def test_unusable_matrices_are_refused(matrix, words):
    with pytest.raises(SceneError, match=words):
        Camera.from_projection(matrix, 10, 10)


def test_resized_camera_sees_the_resized_picture():
    camera = Camera(np.array([[100.0, 1, 30], [0, 90, 20], [0, 0, 1]]), np.eye(4), 64, 48)
    small = camera.resized(0.5)
    assert (small.width, small.height) == (32, 24)
    points = np.array([[0.1, 0.2, 1.0], [-0.3, 0.1, 2.0]])
    np.testing.assert_allclose(small.project(points)[0], camera.project(points)[0] / 2)
    odd = camera.resized_to(10, 24)
    np.testing.assert_allclose(odd.project(points)[0], camera.project(points)[0] * [10 / 64, 0.5])


def test_transformed_camera_sees_the_same_and_scales_depth():
    similarity = np.eye(4)
    similarity[:3, :3] = 0.01 * Rotation.from_euler("y", 40, degrees=True).as_matrix()
    similarity[:3, 3] = [1, 2, 3]
    pose = np.eye(4)
    pose[:3, 3] = [5, 0, -400]
    camera = Camera(np.array([[100.0, 0, 30], [0, 100, 20], [0, 0, 1]]), pose, 64, 48)
    points = np.array([[10.0, 20, 0], [-30, 5, 50]])
    moved = points @ similarity[:3, :3].T + similarity[:3, 3]
    before, depth = camera.project(points)
    after, depth_unit = camera.transformed(similarity).project(moved)
    np.testing.assert_allclose(after, before)
    np.testing.assert_allclose(depth_unit, 0.01 * depth)
    with pytest.raises(SceneError, match="similarity"):
        camera.transformed(np.diag([1.0, 2.0, 1.0, 1.0]))
    with pytest.raises(SceneError, match="reflection"):
        camera.transformed(np.diag([-1.0, 1.0, 1.0, 1.0]))


def test_a_camera_cannot_be_changed_in_place():
    camera = Camera(np.eye(3), np.eye(4), 4, 4)
    with pytest.raises(ValueError, match="read-only"):
        camera.intrinsics[0, 0] = 2
    with pytest.raises(SceneError, match="positive"):
        Camera(np.eye(3), np.eye(4), 0, 4)


@pytest.mark.parametrize("entry", [(0, 3), (2, 3), (0, 0)])
def test_numbers_that_no_camera_has_are_refused(entry):
    matrix = np.array([[900.0, 0, 300, 0], [0, 900, 200, 0], [0, 0, 1, 700]])
    matrix[entry] = 1e308
    with pytest.raises(SceneError, match=r"too large|singular"):
        Camera.from_projection(matrix, 600, 400)
