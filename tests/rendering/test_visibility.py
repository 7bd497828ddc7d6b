import numpy as np
import pytest
import trimesh

from recon.rendering.visibility import mesh_visibility
from recon.scene import Camera
from tests.support import ellipsoid

FOCAL, SIZE = 600.0, 400
K = np.array([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1.0]])


def camera_at(distance, azimuth=0.0):
    """A camera that looks at the origin from a distance along -z, turned about y."""
    turn = np.array(
        [[np.cos(azimuth), 0, np.sin(azimuth)], [0, 1, 0], [-np.sin(azimuth), 0, np.cos(azimuth)]]
    )
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, turn @ [0, 0, -distance]
    return Camera(K, pose, SIZE, SIZE)


def sphere(centre, radius, subdivisions=6):
    """Mesh of a sphere with its exact normals."""
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    normals = mesh.vertices / radius
    return trimesh.Trimesh(mesh.vertices + centre, mesh.faces, process=False), normals


@pytest.mark.parametrize("azimuth", [0.0, 2.0])
@pytest.mark.parametrize("grazing_deg", [80.0, 60.0])
def test_a_sphere_is_seen_where_it_faces_the_camera(azimuth, grazing_deg):
    mesh, normals = sphere([0, 0, 0], 100.0)
    camera = camera_at(500.0, azimuth)
    result = mesh_visibility(mesh, normals, camera, grazing_deg=grazing_deg)
    to_camera = camera.centre - mesh.vertices
    cosine = (normals * to_camera).sum(1) / np.linalg.norm(to_camera, axis=1)
    np.testing.assert_array_equal(result.seen, cosine > np.cos(np.radians(grazing_deg)))
    # The outline of a sphere is the cone that touches it: sin of half its angle is radius / distance.
    radius_px = FOCAL * np.tan(np.arcsin(100 / 500))
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    disc = np.hypot(x - SIZE / 2, y - SIZE / 2)
    wrong = result.silhouette != (disc < radius_px)
    assert np.abs(disc[wrong] - radius_px).max(initial=0) < 0.3


def test_a_sphere_in_front_hides_the_one_behind():
    front, front_normals = sphere([20.0, 10.0, -200.0], 60.0)
    back, back_normals = sphere([0, 0, 0], 100.0)
    both = trimesh.util.concatenate([front, back])
    camera = camera_at(600.0)
    seen = mesh_visibility(both, np.concatenate([front_normals, back_normals]), camera).seen[
        len(front.vertices) :
    ]
    offset, axis = back.vertices - camera.centre, np.array([20.0, 10.0, -200.0]) - camera.centre
    to_camera = np.linalg.norm(offset, axis=1)
    faced = -(back_normals * offset).sum(1) / to_camera > np.cos(np.radians(80))
    apart = np.arccos(offset @ axis / to_camera / np.linalg.norm(axis)) - np.arcsin(60 / np.linalg.norm(axis))
    # The edge of the shadow is good to a pixel.
    sure = np.abs(apart) > 1.0 / FOCAL
    assert sure.mean() > 0.95 and (faced & (apart < 0)).sum() > 1000
    np.testing.assert_array_equal(seen[sure], (faced & (apart > 0))[sure])


def test_touching_parts_do_not_speckle_and_thin_gaps_are_found():
    """A plate 6 mm before a wall hides it; the wall itself is seen everywhere else."""
    wall = trimesh.creation.box([200, 200, 10]).subdivide_to_size(2.5)
    plate = trimesh.creation.box([60, 60, 1]).subdivide_to_size(2.5)
    plate.apply_translation([0, 0, -12.0])
    both = trimesh.util.concatenate([wall, plate])
    flat = np.abs(both.vertices[:, 2] + 5.0) < 1e-6
    forward = flat | (np.abs(both.vertices[:, 2] + 12.5) < 1e-6)
    normals = np.where(forward[:, None], [0.0, 0.0, -1.0], [0.0, 0.0, 1.0])
    camera = camera_at(500.0)
    seen = mesh_visibility(both, normals, camera).seen
    points = both.vertices[flat]
    shadow = 30 * (points[:, 2] + 500) / (500 - 12.5)
    away = np.abs(points[:, :2]).max(1) - shadow
    np.testing.assert_array_equal(seen[flat][away < -1.5], False)
    np.testing.assert_array_equal(seen[flat][away > 1.5], True)


def test_what_is_outside_the_picture_or_behind_the_camera_is_not_seen():
    mesh, normals = sphere([0, 0, 0], 100.0, 4)
    shifted = K.copy()
    shifted[0, 2] += SIZE
    beside = Camera(shifted, camera_at(500.0).world_from_camera, SIZE, SIZE)
    assert not mesh_visibility(mesh, normals, beside).seen.any()
    away = camera_at(500.0).world_from_camera.copy()
    away[:3, :3] = away[:3, :3] @ np.diag([-1.0, 1.0, -1.0])
    result = mesh_visibility(mesh, normals, Camera(K, away, SIZE, SIZE))
    assert not result.seen.any() and not result.silhouette.any()


def test_the_silhouette_of_an_ellipsoid_is_its_photographs_mask():
    mesh = trimesh.creation.icosphere(subdivisions=6)
    normals = mesh.vertices / ellipsoid.SEMI_AXES_MM
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    mesh = trimesh.Trimesh(
        mesh.vertices * ellipsoid.SEMI_AXES_MM + ellipsoid.CENTRE_MM, mesh.faces, process=False
    )
    for pose in ellipsoid.poses(3):
        camera = Camera(ellipsoid.intrinsics(), pose, ellipsoid.WIDTH, ellipsoid.HEIGHT)
        mask = ellipsoid.photograph(pose)[1] > 0
        assert (mesh_visibility(mesh, normals, camera).silhouette != mask).sum() <= 8
