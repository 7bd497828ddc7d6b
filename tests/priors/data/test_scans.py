import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recon.errors import PriorError
from recon.geometry.frames import LANDMARKS_MM, UNIT_CENTRE_MM, UNIT_RADIUS_MM
from recon.priors.data.scans import ScanFolder, canonical_from_landmarks, scan_points
from tests.support.sample_folders import balls, write_scan

HEAD = {name: np.array(place) for name, place in LANDMARKS_MM.items()}


def moved(scale=0.9, turn=(10.0, 150.0, -20.0), shift=(100.0, -20.0, 50.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = scale * Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def test_landmarks_give_the_similarity():
    matrix = moved()
    placed = {name: matrix[:3, :3] @ place + matrix[:3, 3] for name, place in HEAD.items()}
    np.testing.assert_allclose(canonical_from_landmarks(placed) @ matrix, np.eye(4), atol=1e-9)


def test_too_few_landmarks_are_refused():
    with pytest.raises(PriorError, match="at least 4"):
        canonical_from_landmarks({name: HEAD[name] for name in ("nose_tip", "left_eye")})
    with pytest.raises(PriorError, match="same place"):
        canonical_from_landmarks(dict.fromkeys(HEAD, np.ones(3)))


@pytest.mark.parametrize("name", ["anna.ply", "scene/full_head.obj"])
def test_an_open_scan_becomes_points_with_normals(tmp_path, name):
    (centre, radius), *_ = balls(1)
    write_scan(tmp_path / name, HEAD, (centre, radius), moved())
    points, normals = scan_points(tmp_path / name, 2000, 0)
    from_centre = points * UNIT_RADIUS_MM + UNIT_CENTRE_MM - centre
    assert np.abs(np.linalg.norm(from_centre, axis=1) - radius).max() < 0.02 * radius  # facets
    assert ((from_centre / radius * normals).sum(1) > 0.98).all()
    assert from_centre[:, 1].min() > -0.88 * radius  # the hole stays one
    again, _ = scan_points(tmp_path / name, 2000, 0)
    np.testing.assert_array_equal(points, again)


def test_a_folder_is_split_into_seen_and_unseen(tmp_path):
    for n, ball in enumerate(balls(12)):
        write_scan(tmp_path / f"s{n:02d}.ply", HEAD, ball, landmark_name=f"s{n:02d}_landmarks.txt")
    seen, unseen = (ScanFolder(tmp_path, held_out=held, points=50) for held in (False, True))
    assert len(unseen.names) == 1 and len(seen.names) == 11
    assert not set(seen.names) & set(unseen.names)
    assert seen.load(3).surface.shape == (1, 50, 3) and not seen.has_distances
    with pytest.raises(PriorError, match="lattice"):
        seen.lattice(0)


def test_bad_scans_are_named(tmp_path):
    with pytest.raises(PriorError, match="0 scans"):
        ScanFolder(tmp_path, held_out=False)
    for n, ball in enumerate(balls(2)):
        write_scan(tmp_path / f"s{n}.ply", HEAD, ball, landmark_name=f"s{n}_landmarks.txt")
    (tmp_path / "s1_landmarks.txt").unlink()
    with pytest.raises(PriorError, match=r"s1\.ply has no landmarks.*s1_landmarks\.txt"):
        ScanFolder(tmp_path, held_out=False)
    (tmp_path / "s1_landmarks.txt").write_text("nose_tip 99999\n")
    with pytest.raises(PriorError, match=r"s1_landmarks\.txt names vertices.*99999"):
        scan_points(tmp_path / "s1.ply", 10, 0)
    (tmp_path / "s0.ply").write_bytes(b"ply\nnonsense")
    with pytest.raises(PriorError, match=r"s0\.ply"):
        scan_points(tmp_path / "s0.ply", 10, 0)


def test_a_scan_of_the_wrong_size_is_refused(tmp_path):
    write_scan(tmp_path / "a.ply", HEAD, (np.zeros(3), 500.0))
    with pytest.raises(PriorError, match="landmarks right"):
        scan_points(tmp_path / "a.ply", 100, 0)
