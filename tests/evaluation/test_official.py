import logging

import numpy as np
import pytest
from scipy.spatial import cKDTree

from recon.errors import EvaluationError
from recon.evaluation import Evaluator, Prediction
from recon.evaluation.alignment import procrustes, similarity_icp
from recon.evaluation.official import coarse_alignment
from recon.geometry.frames import transform
from recon.geometry.nearest import NearestTracker, PointSet
from tests.support import official_cases as cases

TOLERANCE_MM = 1e-9


class Truth:
    """The least that an evaluator asks of a ground truth."""

    def __init__(self, mesh, landmarks, regions):
        self._mesh, self.landmarks, self._regions = mesh, landmarks, regions

    def mesh(self):
        return self._mesh

    def region(self, name):
        return self._regions[name]


def ours(it):
    evaluator = Evaluator(Truth(it.gt, it.landmarks, it.regions))
    return evaluator.evaluate(Prediction(it.pred, landmarks=it.pred_landmarks), region=it.region).result


@pytest.mark.parametrize("seed", range(cases.COUNT))
def test_equals_the_stored_numbers_of_the_published_package(seed):
    with np.load(cases.DATA) as stored:
        forward, backward = stored[f"gt_{seed}"], stored[f"pred_{seed}"]
    result = ours(cases.case(seed))
    np.testing.assert_allclose(result.distances_gt, forward, rtol=0, atol=TOLERANCE_MM)
    np.testing.assert_allclose(result.distances_pred[::5], backward, rtol=0, atol=TOLERANCE_MM)


def test_equals_the_published_package(tmp_path):
    pytest.importorskip("h3ds", reason="the published package is not installed: pip install h3ds")
    for seed in range(100, 100 + cases.COUNT):  # other cases than the stored ones
        it = cases.case(seed)
        scene = cases.write_root(tmp_path / str(seed), it.gt, it.landmarks, it.regions)
        forward, backward, aligned = cases.published(
            tmp_path / str(seed), scene, it.pred, it.pred_landmarks, it.region
        )
        result = ours(it)
        np.testing.assert_allclose(
            result.distances_gt, forward, rtol=0, atol=TOLERANCE_MM, err_msg=f"{seed} {it.kind}"
        )
        np.testing.assert_allclose(result.distances_pred, backward, rtol=0, atol=TOLERANCE_MM)
        np.testing.assert_allclose(result.aligned, aligned, rtol=0, atol=TOLERANCE_MM * 10)


def test_the_cases_are_the_hard_ones():
    results = [(cases.case(seed), ours(cases.case(seed))) for seed in range(cases.COUNT)]
    assert sum(r.icp.capped for _, r in results) >= 5
    assert sum(not r.icp.capped for _, r in results) >= 3
    assert any(r.reflected for _, r in results)
    assert any(it.kind == "partial" and it.region is None for it, _ in results)
    assert {it.region for it, _ in results} == {None, "face", "face_sphere", "nose"}
    assert len({it.pred_landmarks is None for it, _ in results}) == 2


def test_what_is_odd_is_logged(caplog):
    gt, landmarks, regions = cases.ground_truth()
    pred = gt.copy()
    pred.vertices = pred.vertices * 1.3
    with caplog.at_level(logging.WARNING):
        score = Evaluator(Truth(gt, landmarks, regions)).evaluate(Prediction(pred, landmarks=landmarks))
    assert score.mean_mm == pytest.approx(0, abs=1e-9)
    assert score.result.scale == pytest.approx(1 / 1.3)
    assert "its size is not judged" in caplog.text and "mirrored" not in caplog.text
    mirrored = next(c for c in map(cases.case, range(cases.COUNT)) if ours(c).reflected)
    caplog.clear()
    assert ours(mirrored).reflected
    assert "mirrored the prediction" in caplog.text
    capped = next(c for c in map(cases.case, range(cases.COUNT)) if ours(c).icp.capped)
    caplog.clear()
    assert ours(capped).icp.iterations == 20
    assert "stopped at 20 steps" in caplog.text


def test_truth_against_itself_is_zero():
    gt, landmarks, regions = cases.ground_truth()
    evaluator = Evaluator(Truth(gt, landmarks, regions))
    for region in (None, "face", "face_sphere", "nose"):
        score = evaluator.evaluate(gt, region=region)
        assert score.mean_mm < 1e-12
        assert score.result.icp.iterations <= 2


def test_the_mean_is_over_vertices_of_the_region_in_its_own_order():
    # the ICP is fitted on a region that the shifted prediction matches exactly: the shift is undone
    gt, landmarks, regions = cases.ground_truth()
    pred = gt.copy()
    pred.vertices = pred.vertices + np.array([0.5, 0, 0])
    result = Evaluator(Truth(gt, landmarks, regions)).evaluate(pred, region="nose").result
    assert result.distances_gt.shape == regions["nose"].shape
    assert result.distances_pred.shape == (len(pred.vertices),)
    assert result.mean_mm < 1e-9


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


def test_landmarks_by_index_or_place_and_missing_ones():
    it = cases.case(1)
    assert it.pred_landmarks is not None
    evaluator = Evaluator(Truth(it.gt, it.landmarks, it.regions))
    places = {n: np.asarray(it.pred.vertices[i]) for n, i in it.pred_landmarks.items()} | {
        "further": np.zeros(3)
    }
    by_index = evaluator.evaluate(it.pred, landmarks=it.pred_landmarks)
    by_place = evaluator.evaluate(it.pred, landmarks=places)
    assert by_index.mean_mm == by_place.mean_mm
    few = dict(list(it.pred_landmarks.items())[:5])
    for landmarks in (few, {}):
        with pytest.raises(EvaluationError, match=r"lacks the landmarks .*left_lips"):
            evaluator.evaluate(it.pred, landmarks=landmarks)
    with pytest.raises(EvaluationError, match="vertex 99999"):
        evaluator.evaluate(it.pred, landmarks=it.pred_landmarks | {"nose_tip": 99999})
    with pytest.raises(EvaluationError, match="three finite numbers"):
        evaluator.evaluate(it.pred, landmarks=it.pred_landmarks | {"nose_tip": np.array([np.nan, 0, 0])})
    with pytest.raises(EvaluationError, match="to Prediction"):
        evaluator.evaluate(Prediction(it.pred), landmarks=it.pred_landmarks)
    assert coarse_alignment(places, places) == pytest.approx(np.eye(4), abs=1e-9)


def test_tracking_gives_what_the_tree_gives():
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(*[np.arange(12.0)] * 3), -1).reshape(-1, 3)  # ties galore
    for points in (rng.random((3000, 3)) * 10, grid, np.repeat(rng.random((400, 3)) * 10, 6, axis=0)):
        target = PointSet(points)
        tracker = NearestTracker(target)
        queries = np.concatenate([rng.random((500, 3)) * 12 - 1, np.round(rng.random((200, 3)) * 22) / 2])
        for step in (0, 0, 1e-3, 0.01, 0.3, 0.5, 4, 1e-4):
            queries = queries + np.array([step, -step, step / 2])
            chosen, expected = tracker.nearest(queries), cKDTree(points).query(queries)[1]
            np.testing.assert_array_equal(points[chosen], points[expected])
    assert NearestTracker(PointSet(points[:2])).nearest(queries).max() <= 1
