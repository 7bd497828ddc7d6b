"""Every fault measured by other means than those that made it; faulty scenes on disk."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import recon.scene
from recon.errors import SceneError
from recon.scene import Camera
from recon.synth.datasets import faults
from recon.synth.datasets.faults import CLEAN, FAULTS
from recon.synth.datasets.faulty_scenes import enclosing_sphere, write_faulty_scene
from tests.support import official_cases as cases
from tests.support.ellipsoid import CENTRE_MM, write_idr_scene

SIZE, RADIUS = 400, 130.0
MIDDLE = np.array([205.3, 196.1])


def disc() -> np.ndarray:
    row, column = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    return np.hypot(column - MIDDLE[0], row - MIDDLE[1]) < RADIUS


def radii(mask: np.ndarray) -> np.ndarray:
    """How far the mask reaches along 2000 rays from the disc's centre, by sampling along them."""
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    reach = np.arange(RADIUS - 40, RADIUS + 40, 0.1)
    at = MIDDLE + reach[None, :, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)[:, None]
    inside = mask[at[..., 1].astype(int), at[..., 0].astype(int)]
    assert inside[:, 0].all() and not inside[:, -1].any()
    return reach[0] + 0.1 * inside.sum(axis=1)


def camera() -> Camera:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", [20, -130, 15], degrees=True).as_matrix()
    pose[:3, 3] = [100.0, -50.0, 700.0]
    return Camera(np.array([[900.0, 0, 256], [0, 900.0, 256], [0, 0, 1]]), pose, 512, 512)


@pytest.mark.parametrize("rms", [1.0, 2.0, 3.0, 5.0])
def test_jitter_moves_the_outline_smoothly_by_its_rms(rms):
    off = radii(faults.jittered(disc(), rms, seed=3, view=7)) - RADIUS
    # The steps of pixels themselves are about 0.3 px.
    assert np.sqrt(np.mean(off**2)) == pytest.approx(np.hypot(rms, 0.3), rel=0.12)
    # Smooth: over 4 px along the outline it changes by far less than it does over 60.
    step = 2000 / (2 * np.pi * RADIUS)
    near, far = (np.std(off - np.roll(off, round(px * step))) for px in (4, 60))
    assert near < 0.5 * rms + 0.4 and far > rms


def test_a_tenth_of_the_contour_is_wrong_by_ten_to_twenty_pixels():
    for view in range(4):
        off = radii(faults.with_wrong_stretches(disc(), 0.1, seed=3, view=view)) - RADIUS
        wrong = np.abs(off) > 5
        assert wrong.mean() == pytest.approx(0.1, abs=0.025)
        assert np.quantile(np.abs(off[~wrong]), 0.98) < 2 and np.abs(off[~wrong]).mean() < 0.5
        amount = np.abs(off[wrong])
        assert 9.5 < np.quantile(amount, 0.15) and amount.max() < 21.5
        assert 2 <= np.count_nonzero(np.diff(wrong.astype(int)) == 1) <= 8


def test_without_displacement_a_mask_stays_and_the_picture_s_edge_is_no_outline():
    mask = disc()
    mask[300:, :] = True  # shoulders that leave the picture at the bottom and the sides
    np.testing.assert_array_equal(faults.displaced(mask, np.zeros(mask.shape)), mask)
    wider = faults.displaced(mask, np.full(mask.shape, 4.0))
    assert wider[296:].all() and not wider[294, 5] and (wider | ~mask).all()
    assert not faults.border(mask)[-1].any()
    for useless in (np.zeros((9, 9), bool), np.ones((9, 9), bool)):
        with pytest.raises(SceneError, match="empty or full"):
            faults.jittered(useless, 1.0, 0, 0)


@pytest.mark.parametrize(("name", "degrees", "shift"), [("camera_025", 0.25, 2), ("camera_1", 1.0, 5)])
def test_cameras_are_off_by_an_angle_and_a_distance(name, degrees, shift):
    true = camera()
    moves, axes = [], []
    for view in range(40):
        noisy = faults.faulty_camera(true, FAULTS[name], 5, view)
        between = true.world_from_camera[:3, :3].T @ noisy.world_from_camera[:3, :3]
        angle = np.degrees(np.arccos((np.trace(between) - 1) / 2))
        assert angle == pytest.approx(degrees, rel=1e-6)
        assert np.linalg.norm(noisy.centre - true.centre) == pytest.approx(shift, rel=1e-9)
        np.testing.assert_array_equal(noisy.intrinsics, true.intrinsics)
        moves.append((noisy.centre - true.centre) / shift)
        axes.append(Rotation.from_matrix(between).as_rotvec(degrees=True) / degrees)
    for directions in (moves, axes):  # of all directions
        assert np.linalg.norm(np.mean(directions, axis=0)) < 0.4


def test_gains_are_within_their_range_and_differ_between_views_and_channels():
    grey = np.full((20, 30, 3), 0.5, np.float32)
    gains = []
    for view in range(50):
        image = faults.faulty_photograph(grey, FAULTS["gain"], 1, view)
        assert np.ptp(image, axis=(0, 1)).max() == 0 and image.dtype == np.float32
        gains.append(image[0, 0] / 0.5)
    assert 0.8 <= np.min(gains) < 0.83 and 1.17 < np.max(gains) <= 1.2
    assert len(np.unique(np.round(gains, 6))) == 150
    assert faults.gained(np.ones((4, 4, 3), np.float32), 0.2, 1, 0).max() <= 1.0


def test_noise_and_compression():
    grey = np.full((120, 120, 3), 0.5, np.float32)
    noisy = faults.noisy(grey, 0.02, 1, 0)
    assert noisy.std() == pytest.approx(0.02, rel=0.02) and noisy.mean() == pytest.approx(0.5, abs=1e-3)
    ramp = np.broadcast_to(np.linspace(0.1, 0.9, 120, dtype=np.float32)[:, None, None], (120, 120, 3))
    assert np.abs(faults.compressed(ramp, 95) - ramp).max() < 0.02
    grain = np.random.default_rng(0).uniform(0.2, 0.8, (120, 120, 1)).astype(np.float32)
    dots = np.repeat(grain, 3, axis=2)
    rough, fine = (np.abs(faults.compressed(dots, quality) - dots).mean() for quality in (70, 95))
    assert rough > 1.2 * fine
    both = faults.faulty_photograph(ramp, FAULTS["noise_jpeg"], 1, 0)
    assert 0.004 < (both - ramp).std() < 0.03


def test_the_world_is_turned_moved_and_scaled_by_what_the_fault_says():
    centre = np.array([10.0, -20.0, 30.0])
    matrix = faults.moved_world(FAULTS["pose"], centre, 4)
    factor = np.cbrt(np.linalg.det(matrix[:3, :3]))
    turn = np.degrees(np.arccos((np.trace(matrix[:3, :3] / factor) - 1) / 2))
    away = matrix[:3, :3] @ centre + matrix[:3, 3] - centre
    assert (factor, turn, np.linalg.norm(away)) == pytest.approx((1.08, 15.0, 20.0))
    np.testing.assert_allclose(faults.moved_world(FAULTS["mask_5px"], centre, 4), np.eye(4), atol=1e-12)


def test_draws_depend_on_seed_and_view_alone():
    mask, image = disc(), np.random.default_rng(0).uniform(0, 1, (50, 50, 3)).astype(np.float32)
    phone = FAULTS["phone"]

    def outcome(seed, view):
        return (
            faults.faulty_mask(mask, phone, seed, view),
            faults.faulty_photograph(image, phone, seed, view),
            faults.faulty_camera(camera(), phone, seed, view).world_from_camera,
        )

    first = outcome(1, 2)
    for once, again in zip(first, outcome(1, 2), strict=True):
        np.testing.assert_array_equal(once, again)
    for other in (outcome(1, 3), outcome(2, 2)):
        assert all((a != b).any() for a, b in zip(first, other, strict=True))
    # A weaker fault goes the same way as a stronger one, alone as together with others.
    weak = faults.faulty_camera(camera(), FAULTS["camera_025"], 1, 2).centre - camera().centre
    np.testing.assert_allclose(weak, first[2][:3, 3] - camera().centre, atol=1e-9)


def test_the_clean_fault_changes_nothing_and_every_other_something():
    mask, image = disc(), np.full((60, 60, 3), 0.4, np.float32)
    for name, fault in FAULTS.items():
        same = [
            np.array_equal(faults.faulty_mask(mask, fault, 0, 0), mask),
            np.array_equal(faults.faulty_photograph(image, fault, 0, 0), image),
            np.array_equal(
                faults.faulty_camera(camera(), fault, 0, 0).world_from_camera, camera().world_from_camera
            ),
            np.allclose(faults.moved_world(fault, np.zeros(3), 0), np.eye(4)),
            not fault.relit,
        ]
        assert all(same) == (name == CLEAN), name
        assert "-" not in name  # names of runs are <fault>-<subject>


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A small scene in the H3DS layout: photographs of an ellipsoid, a head's landmarks and regions."""
    root = tmp_path_factory.mktemp("source")
    photographs = recon.scene.open(write_idr_scene(root / "photographs", 5))
    mesh, landmarks, regions = cases.ground_truth()
    mesh.vertices += CENTRE_MM - cases.PLACE
    folder = recon.scene.h3ds.write_scene(
        root / "heads",
        "ann",
        images=[view.image() for view in photographs.views],
        masks=[view.mask() for view in photographs.views],
        cameras=[view.camera for view in photographs.views],
        scale_mat=photographs.scale_mat,
        mesh=mesh,
        landmarks=landmarks,
        regions=regions,
        default_views={3: [4, 0, 2]},
    )
    return recon.scene.open(folder)


def test_a_faulty_scene_is_a_scene(source, tmp_path):
    fault = dataclasses.replace(FAULTS["phone"], light="as it is", highlights=False, jitter_px=1.0)
    folder, new = write_faulty_scene(tmp_path, source, 3, fault)
    assert new and folder == tmp_path / "ann"
    scene = recon.scene.open(folder)
    recon.scene.validate(scene)
    assert scene.select(3) == [0, 1, 2] and len(scene.views) == 3
    truth, original = scene.ground_truth, source.ground_truth
    np.testing.assert_allclose(truth.mesh().vertices, original.mesh().vertices, atol=1e-4)
    np.testing.assert_array_equal(truth.mesh().faces, original.mesh().faces)
    assert truth.landmarks == original.landmarks and truth.regions() == original.regions()
    for mine, view in zip(scene.views, (4, 0, 2), strict=True):
        theirs = source.views[view]
        apart = np.linalg.norm(mine.camera.centre - theirs.camera.centre)
        assert apart == pytest.approx(2.0, abs=1e-6)
        assert 0.002 < (mine.mask() != theirs.mask()).mean() < 0.1
        gain = mine.image()[theirs.mask()].mean(axis=0) / theirs.image()[theirs.mask()].mean(axis=0)
        assert (np.abs(gain - 1) < 0.25).all() and (np.abs(gain - 1) > 0.005).any()
    record = json.loads((folder / "fault.json").read_text())
    assert record["views"] == [4, 0, 2] and record["fault"]["camera_mm"] == 2.0


def test_the_clean_scene_is_that_of_the_source(source, tmp_path):
    scene = recon.scene.open(write_faulty_scene(tmp_path, source, 3, FAULTS[CLEAN])[0])
    np.testing.assert_array_equal(scene.scale_mat, source.scale_mat)
    for mine, view in zip(scene.views, (4, 0, 2), strict=True):
        theirs = source.views[view]
        np.testing.assert_allclose(mine.camera.projection, theirs.camera.projection, rtol=1e-9, atol=1e-6)
        np.testing.assert_array_equal(mine.mask(), theirs.mask())
        assert np.abs(mine.image() - theirs.image()).mean() < 0.004


def test_a_moved_world_shows_the_same_pictures(source, tmp_path):
    scene = recon.scene.open(write_faulty_scene(tmp_path, source, 3, FAULTS["pose"])[0])
    moved, still = scene.ground_truth.mesh().vertices, source.ground_truth.mesh().vertices
    for mine, view in zip(scene.views, (4, 0, 2), strict=True):
        np.testing.assert_allclose(
            mine.camera.project(np.asarray(moved))[0],
            source.views[view].camera.project(np.asarray(still))[0],
            atol=0.01,
        )
    areas = [each.ground_truth.mesh().area for each in (scene, source)]
    assert np.sqrt(areas[0] / areas[1]) == pytest.approx(1.08, rel=1e-4)
    # The unit sphere stays where it was and holds the head.
    np.testing.assert_array_equal(scene.scale_mat[:3, 3], source.scale_mat[:3, 3])
    unit = (np.asarray(moved) - scene.scale_mat[:3, 3]) / scene.scale_mat[0, 0]
    assert np.linalg.norm(unit, axis=1).max() <= 1.0
    recon.scene.validate(scene)


def test_a_sphere_that_holds_all_points_is_left_alone():
    sphere = np.diag([100.0, 100.0, 100.0, 1.0])
    sphere[:3, 3] = [10.0, 0.0, 0.0]
    np.testing.assert_array_equal(enclosing_sphere(sphere, np.array([[109.0, 0.0, 0.0]])), sphere)
    grown = enclosing_sphere(sphere, np.array([[160.0, 0.0, 0.0], [10.0, 20.0, 0.0]]))
    assert 150.0 <= grown[0, 0] <= 160.0 and (grown[:3, 3] == sphere[:3, 3]).all()


def test_a_scene_is_written_once_and_never_mixed_up(source, tmp_path):
    folder, _ = write_faulty_scene(tmp_path, source, 3, FAULTS["mask_2px"])
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert write_faulty_scene(tmp_path, source, 3, FAULTS["mask_2px"]) == (folder, False)
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    for change, what in (
        ({"fault": FAULTS["mask_3px"]}, "fault"),
        ({"views": [1, 2, 3]}, "views"),
        ({"seed": 1}, "seed"),
    ):
        with pytest.raises(SceneError, match=what):
            write_faulty_scene(
                tmp_path, source, **{"views": 3, "fault": FAULTS["mask_2px"], "seed": 0, **change}
            )
    again, _ = write_faulty_scene(tmp_path / "twin", source, 3, FAULTS["mask_2px"])
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(folder)).read_bytes(), path.name


def test_light_needs_a_subject_that_can_sit_again(source, tmp_path):
    with pytest.raises(SceneError, match="photographed again"):
        write_faulty_scene(tmp_path, source, 3, FAULTS["light_on_camera"])
    asked = []

    def photograph(camera, fault, seed, view):
        asked.append((view, fault.light))
        return np.full((camera.height, camera.width, 3), 0.2 + 0.1 * view, np.float32)

    folder, _ = write_faulty_scene(tmp_path, source, 3, FAULTS["light_on_camera"], relight=lambda: photograph)
    assert asked == [(view, "on the camera") for view in (4, 0, 2)]
    for view, source_view in zip(recon.scene.open(folder).views, (4, 0, 2), strict=True):
        assert view.image().mean() == pytest.approx(0.2 + 0.1 * source_view, abs=0.01)
