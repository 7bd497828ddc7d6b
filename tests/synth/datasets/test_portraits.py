"""Portraits: face points lie on the face, and their brightness is that of the face."""

import numpy as np
import pytest

from recon.synth.datasets.portraits import FacePoints, make_portraits
from recon.synth.model.head_model import load_head_model
from recon.synth.model.identity import draw_identity, shape_head
from tests.support.head_model import needs_model


@pytest.fixture(scope="module")
def face_points():
    return FacePoints.from_model(load_head_model())


@pytest.mark.slow
@needs_model
def test_marks_are_spread_over_the_face_and_move_with_it(face_points):
    model = load_head_model()
    canonical = model.refinement.canonical[face_points.skin]
    assert 1000 < len(face_points.skin) < 2500
    assert (canonical[:, 2] > 35).all() and np.ptp(canonical[:, 1]) > 150
    gaps = np.linalg.norm(canonical[:, None] - canonical[None], axis=2) + 99 * np.eye(len(canonical))
    assert gaps.min() > 3.9 and np.median(gaps.min(axis=1)) < 6.0  # mm
    shape = shape_head(model, draw_identity(model, 3, "train"))
    normals = face_points.normals(shape, model)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-6)
    towards = face_points.on(shape) - shape.skin.mean(axis=0)
    assert ((normals * towards).sum(axis=1) > 0).mean() > 0.9  # they point outwards


@pytest.mark.slow
@needs_model
def test_brows_are_darker_than_the_forehead_and_blur_levels_them(face_points):
    model = load_head_model()
    taken = make_portraits(1, "train", face_points, (0.3, 8.0), model=model)
    canonical = model.refinement.canonical[face_points.skin]
    from recon.synth.model.face_map import brows

    brow = brows(canonical)[0] > 0.7
    forehead = (canonical[:, 1] > 70) & (canonical[:, 1] < 85) & (np.abs(canonical[:, 0]) < 30)
    seen = taken.visible[0, : len(face_points.skin)]
    sharp, soft = taken.values[0, :, : len(face_points.skin)]
    contrast = [v[forehead & seen].mean() - v[brow & seen].mean() for v in (sharp, soft)]
    assert contrast[0] > 0.5 and contrast[1] < 0.7 * contrast[0]  # logarithms
    left, right = (
        taken.visible[:, : len(face_points.skin)][:, side * canonical[:, 0] > 30].mean(1) for side in (1, -1)
    )
    # The camera at −45° stands on the subject's right, that at 45° on the left.
    assert right[1] > left[1] + 0.3 and left[2] > right[2] + 0.3
