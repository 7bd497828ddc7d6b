import numpy as np
import pytest

from recon.errors import EvaluationError
from recon.evaluation import Evaluator, Prediction
from recon.evaluation.alignment import check_sides, procrustes, similarity_icp
from recon.geometry.frames import transform
from recon.geometry.nearest import PointSet
from tests.support import official_cases as cases


def test_procrustes_has_the_ratio_of_radii_as_scale():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(6, 3))
    turn = cases.rotation([0.3, -0.2, 0.5])
    matrix = procrustes(a, a @ turn.T * 2.5 + [1, 2, 3])
    np.testing.assert_allclose(matrix[:3, :3], 2.5 * turn, atol=1e-12)
    np.testing.assert_allclose(matrix[:3, 3], [1, 2, 3], atol=1e-12)
    noisy = a + rng.normal(size=a.shape)
    scale = np.cbrt(np.linalg.det(procrustes(a, noisy)[:3, :3]))
    spread = lambda p: np.sqrt(((p - p.mean(axis=0)) ** 2).sum(axis=1).mean())  # noqa: E731
    assert scale == pytest.approx(spread(noisy) / spread(a))
    rigid = procrustes(a, noisy, scale=False)[:3, :3]
    np.testing.assert_allclose(rigid @ rigid.T, np.eye(3), atol=1e-12)


def test_reflection_only_where_it_is_allowed():
    a = np.random.default_rng(1).normal(size=(20, 3))
    mirrored = a * [-1, 1, 1]
    assert np.linalg.det(procrustes(a, mirrored, reflection=True)[:3, :3]) == pytest.approx(-1)
    assert np.linalg.det(procrustes(a, mirrored, reflection=False)[:3, :3]) > 0
    with pytest.raises(EvaluationError, match="three pairs"):
        procrustes(a[:2], a[:2])
    with pytest.raises(EvaluationError, match="coincide"):
        procrustes(np.zeros((4, 3)), a[:4])


def test_icp_stops_by_the_threshold_and_by_the_cap():
    rng = np.random.default_rng(2)
    target = PointSet(rng.random((500, 3)) * 100)
    moving = target.points[:100] @ cases.rotation([0.0, 0.0, 0.01]).T
    settled = similarity_icp(moving, target)
    assert not settled.capped and settled.iterations < 5
    np.testing.assert_allclose(transform(settled.matrix, moving), target.points[:100], atol=1e-9)
    assert similarity_icp(moving + 30, target, max_iterations=3).capped
    # dividing the cost by three shrinks the decrease that must stay above the threshold
    assert similarity_icp(moving, target, cost_divisor=1e9).iterations == 2


def test_a_step_of_icp_by_hand():
    # nearest: (0,0,0)->(0,0,1), (10,0,0)->(12,0,1), (0,10,0)->(0,12,1):
    # the triangle grows by 1.2 and moves up by 1
    moving = np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 0]])
    target = PointSet(np.array([[0.0, 0, 1], [12, 0, 1], [0, 12, 1], [99, 99, 99]]))
    result = similarity_icp(moving, target, max_iterations=1)
    np.testing.assert_allclose(transform(result.matrix, moving), target.points[:3], atol=1e-12)
    assert result.capped and result.cost == pytest.approx(0, abs=1e-20)


def test_exchanged_sides_of_landmarks_are_said_and_others_are_not(caplog):
    gt, landmarks, regions = cases.ground_truth()
    truth = {name: gt.vertices[index] for name, index in landmarks.items()}
    rng = np.random.default_rng(0)
    other = {"left": "right", "right": "left"}

    def seen(change):
        turn, size = cases.rotation(rng.normal(size=3)), rng.uniform(0.5, 2)
        return {name: size * turn @ (place + rng.normal(scale=4, size=3)) for name, place in change.items()}

    for _ in range(20):
        check_sides(truth, seen(truth), "head.ply")
    assert not caplog.records
    swapped = {
        name.replace(side, other[side]): truth[name] for name in truth for side in other if side in name
    }
    check_sides(truth, seen(truth | swapped), "head.ply")
    assert "head.ply: its landmarks have left and right exchanged" in caplog.text
    caplog.clear()
    names = {side: landmarks[side] for side in landmarks}
    names["left_eye"], names["right_eye"] = names["right_eye"], names["left_eye"]
    names["left_lips"], names["right_lips"] = names["right_lips"], names["left_lips"]
    evaluator, prediction = Evaluator(cases.Truth(gt, landmarks, regions)), Prediction(gt, landmarks=names)
    for region in (None, "face_sphere"):
        evaluator.evaluate(prediction, region=region)
    assert caplog.text.count("left and right exchanged") == 1
