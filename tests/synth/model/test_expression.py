import numpy as np
import pytest
import trimesh

from recon.synth.model.defects import TOLERANCE_MM3, visible_defects_mm3
from recon.synth.model.expression import WIDE_KINDS, draw_wide, with_wide_expression
from recon.synth.model.head_model import MOUTH_CAP_DEPTH_MM, load_head_model
from recon.synth.model.identity import Identity, draw_identity, mouth_depth_mm, mouth_opening_mm, shape_head
from tests.support.head_model import needs_model

STILL = {"eyeBlink_L": 0.2, "eyeBlink_R": 0.2, "mouthPress_L": 0.1, "mouthPress_R": 0.1}


def shaped(expression):
    return shape_head(load_head_model(), Identity(np.zeros(100), expression))


def between_lips_mm(shape):
    return float(shape.landmarks68[62, 1] - shape.landmarks68[66, 1])


@pytest.fixture(scope="module")
def drawn():
    """Sixty draws of each kind over the same mild expression."""
    names = load_head_model().expression_names
    return {
        kind: [draw_wide(np.random.default_rng(seed), kind, STILL, names) for seed in range(60)]
        for kind in WIDE_KINDS
    }


@needs_model
def test_weights_are_in_range_and_mild_stays(drawn):
    assert sum(WIDE_KINDS.values()) == pytest.approx(1)
    for weights in (each for kind in drawn.values() for each in kind):
        assert all(0 < w <= 1 for w in weights.values()) and weights.get("jawOpen", 0) <= 0.6
    assert all(weights == STILL for weights in drawn["mild"])


@needs_model
def test_smiles_open_mouths_and_closed_eyes_reach_their_ends(drawn):
    def strongest(kind, name):
        return [max(w.get(f"{name}_L", 0), w.get(f"{name}_R", 0), w.get(name, 0)) for w in drawn[kind]]

    assert min(strongest("smile", "mouthSmile")) >= 0.35 and max(strongest("smile", "mouthSmile")) > 0.9
    assert min(strongest("open", "jawOpen")) >= 0.1 and max(strongest("open", "jawOpen")) > 0.5
    assert min(strongest("closed_eyes", "eyeBlink")) >= 0.75
    lopsided = [abs(w.get("mouthSmile_L", 0) - w.get("mouthSmile_R", 0)) for w in drawn["smile"]]
    assert max(lopsided) > 0.3 and np.median(lopsided) < 0.15


@needs_model
def test_an_open_mouth_is_open_and_its_cap_lies_behind_the_teeth():
    still, wide = shaped({}), shaped({"jawOpen": 0.6})
    # the model's jawOpen parts the middle of the lips by 32.7 mm per unit
    assert between_lips_mm(still) < 1.5 and 18 < between_lips_mm(wide) < 22
    refinement = load_head_model().refinement
    mouth = next(cap for cap in refinement.caps if cap.name == "mouth")
    for shape, least, most in ((still, MOUTH_CAP_DEPTH_MM, MOUTH_CAP_DEPTH_MM), (wide, 15.0, 20.0)):
        depth = shape.skin[mouth.loop, 2].mean() - shape.skin[mouth.apex, 2]
        assert least - 1e-9 <= depth <= most + 1e-9
        assert trimesh.Trimesh(shape.skin, refinement.faces, process=False).is_watertight


@needs_model
def test_a_closed_eye_covers_its_iris():
    lids = {
        name: shaped({"eyeBlink_L": w, "eyeBlink_R": w}).landmarks68
        for name, w in (("open", 0.1), ("shut", 1.0))
    }
    # upper and lower lid of both eyes, in their middles
    gaps = {
        name: [at[u, 1] - at[d, 1] for u, d in ((37, 41), (38, 40), (43, 47), (44, 46))]
        for name, at in lids.items()
    }
    assert min(gaps["open"]) > 6 and max(gaps["shut"]) < 1.5


@needs_model
def test_mild_expressions_leave_the_cap_of_the_mouth_alone():
    model = load_head_model()
    for seed in range(4):
        weights = model.expression_weights(draw_identity(model, seed).expression)
        assert mouth_opening_mm(model, weights) < 0.3
        assert mouth_depth_mm(model, weights) == MOUTH_CAP_DEPTH_MM


@pytest.mark.slow
@needs_model
def test_wide_people_keep_their_shape_and_are_sound():
    model = load_head_model()
    changed = 0
    for seed in range(8):
        plain = draw_identity(model, seed)
        wide = with_wide_expression(model, plain, seed, "train")
        assert np.array_equal(wide.identity, plain.identity)
        again = with_wide_expression(model, plain, seed, "train")
        assert again.expression == wide.expression
        changed += wide.expression != plain.expression
        assert visible_defects_mm3(model, shape_head(model, wide).skin) <= TOLERANCE_MM3
    assert 3 <= changed <= 8
