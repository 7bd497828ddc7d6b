import json
import logging

import numpy as np
import pytest
import trimesh

from recon.errors import EvaluationError
from recon.evaluation import Evaluator, evaluate, project_landmarks
from recon.evaluation.checks import check_mesh
from tests.support import official_cases as cases


@pytest.fixture(scope="module")
def truth():
    return cases.Truth(*cases.ground_truth())


def pred_with(mesh, vertices=None, faces=None):
    return trimesh.Trimesh(
        mesh.vertices if vertices is None else vertices, mesh.faces if faces is None else faces, process=False
    )


@pytest.mark.parametrize("mode", ["official", "strict"])
def test_bad_predictions_are_never_a_number(truth, mode):
    mesh = truth.mesh()
    holes = np.array(mesh.vertices)
    holes[7, 1] = np.nan
    infinite = np.array(mesh.vertices)
    infinite[3] = np.inf
    bad = {
        "1 of .* not finite, the first is vertex 7": pred_with(mesh, holes),
        "not finite, the first is vertex 3": pred_with(mesh, infinite),
        "no faces": trimesh.Trimesh(mesh.vertices, np.zeros((0, 3), int), process=False),
        "empty": trimesh.Trimesh(process=False),
        "divide by 1000": pred_with(mesh, mesh.vertices * 1000),
        "in metres": pred_with(mesh, mesh.vertices / 1000),
        "unit space.*scale_mat": pred_with(mesh, (mesh.vertices - mesh.centroid) / 150),
        "its unit is wrong": pred_with(mesh, mesh.vertices * 50),
        "one place": pred_with(mesh, np.ones_like(mesh.vertices)),
    }
    for message, prediction in bad.items():
        with pytest.raises(EvaluationError, match=message):
            evaluate(truth, prediction, mode=mode)


def test_faces_out_of_range(truth):
    prediction = truth.mesh().copy()
    prediction.faces = np.array(prediction.faces) + 1
    with pytest.raises(EvaluationError, match="but there are only"):
        evaluate(truth, prediction)


def test_not_a_mesh():
    with pytest.raises(EvaluationError, match="PointCloud"):
        check_mesh(trimesh.PointCloud(np.zeros((4, 3))), "prediction")


def test_landmarks_forgive_scale_officially_but_not_strictly(truth, caplog):
    small = pred_with(truth.mesh(), truth.mesh().vertices / 1000)
    with caplog.at_level(logging.WARNING):
        assert evaluate(truth, small, landmarks=truth.landmarks).mean_mm < 1e-9
    assert "the landmarks will scale it" in caplog.text
    with pytest.raises(EvaluationError, match="in metres"):
        evaluate(truth, small, landmarks=truth.landmarks, mode="strict")


def test_suspicious_size_and_place_are_logged(truth, caplog):
    with caplog.at_level(logging.WARNING):
        evaluate(truth, pred_with(truth.mesh(), truth.mesh().vertices * 3), landmarks=truth.landmarks)
        assert "is the scale right" in caplog.text
        caplog.clear()
        evaluate(truth, pred_with(truth.mesh(), truth.mesh().vertices + np.array([500, 0, 0])))
    assert "outside the ground truth's bounding box" in caplog.text


def test_missing_or_foreign_regions(truth):
    mesh, landmarks = truth.mesh(), truth.landmarks
    with pytest.raises(EvaluationError, match="no region 'face'"):
        evaluate(cases.Truth(mesh, landmarks, {}), mesh)
    for indices in ([], [len(mesh.vertices)], [-1]):
        with pytest.raises(EvaluationError, match="must list vertices"):
            evaluate(cases.Truth(mesh, landmarks, {"face": np.array(indices, int)}), mesh)


def test_the_prediction_is_not_changed(truth):
    prediction = pred_with(truth.mesh(), truth.mesh().vertices + 1.0)
    before = prediction.vertices.copy()
    evaluator = Evaluator(truth)
    for mode in ("official", "strict"):
        evaluator.evaluate(prediction, mode=mode, landmarks=truth.landmarks)
    np.testing.assert_array_equal(prediction.vertices, before)


def test_summaries_are_json(truth):
    evaluator = Evaluator(truth)
    for mode in ("official", "strict"):
        summary = evaluator.evaluate(truth.mesh(), region="nose", mode=mode).summary()
        assert json.loads(json.dumps(summary))["region"] == "nose"
        assert mode in summary["protocol"]


def test_landmarks_are_found_by_projection():
    box = trimesh.creation.box((200, 100, 60))
    found = project_landmarks(
        {"nose_tip": np.array([10.0, 5.0, -45.0]), "left_eye": np.array([90.0, 0.0, 3.0])}, box
    )
    np.testing.assert_allclose(found["nose_tip"], [10, 5, -30], atol=1e-9)
    np.testing.assert_allclose(found["left_eye"], [100, 0, 3], atol=1e-9)
    with pytest.raises(EvaluationError, match="three finite"):
        project_landmarks({"nose_tip": np.array([np.nan, 0.0, 0.0])}, box)
