import json
import pickle

import numpy as np
import pytest
import trimesh
from PIL import Image

from recon.errors import EvaluationError
from recon.evaluation.batch import ScoringOptions, score
from recon.evaluation.heatmap import error_colours, error_sheet, face_frame
from recon.evaluation.predictions import find
from recon.evaluation.tables import Report
from recon.geometry.raster import rasterise
from recon.meshing import save
from recon.scene import GroundTruth
from tests.support import official_cases as cases


@pytest.fixture
def folder(tmp_path):
    gt, _, _ = cases.ground_truth()
    save(gt, tmp_path / "one_3.ply")
    save(trimesh.Trimesh(gt.vertices + np.array([0, 2, 0]), gt.faces, process=False), tmp_path / "two_3.ply")
    save(trimesh.Trimesh(gt.vertices / 1000, gt.faces, process=False), tmp_path / "two_8.ply")
    save(gt, tmp_path / "three_3.ply")
    return tmp_path


@pytest.mark.slow
def test_scores_and_failures_in_one_process_or_two(folder):
    truth = cases.Truth(*cases.ground_truth())
    truths = {"one": truth, "two": pickle.loads(pickle.dumps(truth))}
    jobs = find(folder)
    serial = {
        (s.job.scene, s.job.views): s for s in score(jobs, truths, ScoringOptions(("official",)), workers=1)
    }
    assert serial["one", 3].numbers["official"]["head"]["mean_mm"] < 1e-4  # float32 in the file
    assert set(serial["two", 3].numbers["official"]) == {"face", "head"}
    assert "in metres" in serial["two", 8].error and not serial["two", 8].numbers
    assert "no scene three" in serial["three", 3].error
    parallel = {
        (s.job.scene, s.job.views): s for s in score(jobs, truths, ScoringOptions(("official",)), workers=2)
    }
    assert parallel == serial
    with pytest.raises(EvaluationError, match="nothing to compare"):
        list(score(jobs, {"four": truth}))


def test_warnings_are_kept_with_the_score(folder, caplog):
    truth = cases.Truth(*cases.ground_truth())
    gt = truth.mesh()
    save(trimesh.Trimesh(gt.vertices * 1.2, gt.faces, process=False), folder / "one_4.ply")
    (result,) = score(find(folder, views=[4]), {"one": truth}, ScoringOptions(("official",)))
    assert any("its size is not judged" in warning for warning in result.warnings)
    assert not caplog.records


def test_heat_maps(folder):
    truth = cases.Truth(*cases.ground_truth())
    list(score(find(folder, views=[3]), {"two": truth}, ScoringOptions(("official",), folder / "maps", 3.0)))
    (path,) = (folder / "maps").iterdir()
    assert path.name == f"{folder.name}_two_3.png"
    picture = np.asarray(Image.open(path)) / 255
    assert picture.shape[0] > 800 and picture.shape[1] > 1600
    assert 0.1 < (picture[:, :-120].min(axis=2) < 0.99).mean() < 0.9


def test_the_scale_darkens_steadily():
    colours = error_colours(np.array([0.0, 1.0, 2.5, 4.0, 5.0, 50.0]), 5.0)
    lightness = colours @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness[:5]) < 0).all() and (colours[4] == colours[5]).all()


def test_a_fine_mesh_on_a_coarse_one_of_the_same_surface_has_no_error_in_the_picture(tmp_path):
    coarse = trimesh.creation.box(extents=[180, 240, 200])
    fine = coarse.subdivide().subdivide().subdivide()
    error_sheet(coarse, fine, {}, tmp_path / "map.png", title="the same", clip_mm=5.0)
    red, _, blue = (np.asarray(Image.open(tmp_path / "map.png"))[:, :1680] / 255.0).transpose(2, 0, 1)
    drawn = red > 0.3
    least = (blue[drawn] / red[drawn]).min()
    assert drawn.mean() > 0.9 and least > 0.85  # pale; the first step of the scale is orange


def test_the_viewer_faces_the_face():
    # the face looks towards -z, y is down: the camera's own axes
    gt, landmarks, _ = cases.ground_truth()
    frame = face_frame(np.asarray(gt.vertices), landmarks)
    np.testing.assert_allclose(frame, np.eye(3), atol=0.35)
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(face_frame(np.asarray(gt.vertices), {}), np.eye(3))


def test_raster_by_hand():
    # a near triangle over half of a far square of 4 x 4 pixels
    points = np.array([[0, 0, 5], [4, 0, 5], [0, 4, 5], [4, 4, 5], [0, 0, 1], [4, 0, 3], [0, 4, 1]], float)
    faces = np.array([[0, 1, 2], [1, 3, 2], [4, 5, 6], [0, 0, 1]])
    seen = rasterise(points, faces, 5, 6)
    expected = np.full((5, 6), -1)
    expected[:4, :4] = np.where(np.add.outer(np.arange(4), np.arange(4)) + 1 <= 4, 2, 1)
    np.testing.assert_array_equal(seen.face, expected)
    np.testing.assert_allclose(seen.weights[0, 0], [0.75, 0.125, 0.125])
    np.testing.assert_allclose(seen.weights[expected >= 0].sum(axis=-1), 1)


def test_raster_against_brute_force():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.random((60, 2)) * 40 - 5, rng.random((60, 1))], axis=1)
    faces = rng.integers(0, 60, (50, 3))
    seen = rasterise(points, faces, 30, 28)
    pixels = np.stack(np.meshgrid(np.arange(28) + 0.5, np.arange(30) + 0.5), -1).reshape(-1, 2)
    depth, face = np.full(len(pixels), np.inf), np.full(len(pixels), -1)
    for i, (a, b, c) in enumerate(points[faces]):
        matrix = np.stack([b[:2] - a[:2], c[:2] - a[:2]], axis=1)
        if abs(np.linalg.det(matrix)) < 1e-12:
            continue
        v, w = np.linalg.solve(matrix, (pixels - a[:2]).T)
        z = a[2] + v * (b[2] - a[2]) + w * (c[2] - a[2])
        nearer = (v >= 0) & (w >= 0) & (v + w <= 1) & (z < depth)
        depth[nearer], face[nearer] = z[nearer], i
    np.testing.assert_array_equal(seen.face.reshape(-1), face)


def test_a_ground_truth_without_landmarks_leaves_those_of_predictions_aside(folder):
    gt, _, regions = cases.ground_truth()
    (folder / "one_3.landmarks.json").write_text(
        '{"nose_tip": 1, "left_eye": 7, "right_eye": 300}'
    )  # wrong ones
    truth = cases.Truth(gt, {}, regions)
    (result,) = score(
        find(folder, scene="one", views=[3])[:1], {"one": truth}, ScoringOptions(heatmaps=folder / "maps")
    )
    assert result.job.scene == "one" and result.error is None
    for mode in ("official", "strict"):
        assert max(result.numbers[mode][part]["mean_mm"] for part in ("face", "head")) < 1e-3


def test_regions_that_are_missing_are_all_named_and_explained(folder, tmp_path):
    gt, landmarks, regions = cases.ground_truth()
    root = tmp_path / "root"
    scene = cases.write_root(root, gt, landmarks, {"nose": regions["nose"]})
    paths = root / scene
    truth = GroundTruth(paths / "full_head.obj", paths / "no_landmarks.txt", paths / "regions")
    save(gt, tmp_path / f"{scene}_3.ply")
    (result,) = score(find(tmp_path / f"{scene}_3.ply"), {scene: truth})
    for words in ("regions/face_sphere.txt", "regions/face.txt", "within 95 mm of the tip of the nose"):
        assert words in result.error


def test_a_ground_truth_that_lacks_a_region_is_scored_as_far_as_it_goes(tmp_path):
    gt, landmarks, regions = cases.ground_truth()
    numbers = {}
    for name, held in (("all", regions), ("none", {}), ("face", {"face": regions["face"]})):
        scene = cases.write_root(tmp_path / name, gt, landmarks, held)
        paths = tmp_path / name / scene
        truth = GroundTruth(paths / "full_head.obj", paths / "landmarks.txt", paths / "regions")
        moved = trimesh.Trimesh(gt.vertices * [1.02, 1, 1], gt.faces, process=False)
        save(moved, tmp_path / name / f"{scene}_3.ply")
        (numbers[name],) = score(find(tmp_path / name / f"{scene}_3.ply"), {scene: truth})
        assert numbers[name].error is None
    whole, none, face = numbers["all"], numbers["none"], numbers["face"]
    # The region by its definition is the one of the file: cases.ground_truth() takes the same 95 mm.
    assert none.numbers["official"]["face"]["mean_mm"] == whole.numbers["official"]["face"]["mean_mm"] > 0.05
    assert list(none.numbers["official"]) == list(none.numbers["strict"]) == ["face"]
    assert any("head not scored" in each and "regions/face.txt" in each for each in none.warnings)
    assert any("made of the vertices within 95 mm of nose_tip" in each for each in none.warnings)
    assert face.numbers["strict"]["head"] == whole.numbers["strict"]["head"]
    assert whole.warnings == ()
    report = Report([none], "x")
    assert (
        " / –" in report.text()
        and json.loads(report.json())["table"][0]["views"]["3"]["head"]["mean"] is None
    )
