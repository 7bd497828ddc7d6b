"""The template of synthetic heads, with coarse lattices and few expressions so that it is fitted in seconds."""

import numpy as np
import pytest

from recon.errors import SceneError
from recon.geometry.frames import transform
from recon.synth.datasets import template as templates
from recon.synth.datasets.template import (
    REST,
    at_rest,
    fit_template,
    read_template,
    rest_skin,
    write_template,
)
from recon.synth.model.expression import with_wide_expression
from recon.synth.model.head_model import load_head_model
from recon.synth.model.identity import Identity, draw_identity, shape_head
from tests.support.head_model import needs_model

pytestmark = [needs_model, pytest.mark.slow]


@pytest.fixture(scope="module")
def template():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates, "IDENTITY_CELL_MM", 36.0)
        patch.setattr(templates, "EXPRESSION_CELL_MM", 16.0)
        patch.setattr(templates, "FINE_MM", 3.0)
        return fit_template(load_head_model(), expressions=6)


def vertices(model, identity, expression):
    _, frame = at_rest(model, identity)
    return transform(frame, shape_head(model, Identity(identity.identity, expression)).skin)


def test_heads_of_other_people_come_to_the_template(template):
    model = load_head_model()
    rest = rest_skin(model)
    for seed in (3, 5):
        identity = with_wide_expression(model, draw_identity(model, seed, "val"), seed, "val")
        skin, neutral = (vertices(model, identity, each) for each in (identity.expression, REST))
        code = template.code_of(skin, neutral, rest)
        before = np.linalg.norm(skin - rest, axis=1).mean()
        after = np.linalg.norm(template.to_template(skin, code) - rest, axis=1).mean()
        assert before > 3.0 and after < 0.5 * before


def test_the_template_itself_needs_no_code(template):
    rest = rest_skin(load_head_model())
    code = template.code_of(rest, rest, rest)
    assert np.abs(code).max() < 1e-6
    np.testing.assert_allclose(template.to_template(rest, np.zeros_like(code)), rest, atol=1e-4)


def test_the_fine_lattice_lies_about_face_and_ears_and_fades(template):
    model = load_head_model()
    nodes = template.fine.origin + template.fine.spacing_mm * np.argwhere(template.inside)
    rest = rest_skin(model)[: model.refinement.matrix.shape[0]]
    upper = rest[rest[:, 1] > 0.0]
    ear = upper[np.abs(upper[:, 0]).argmax()]
    for place in (rest[model.landmarks[30]], rest[model.landmarks[51]], ear):
        assert np.linalg.norm(nodes - place, axis=1).min() < 3.0
    back = upper[upper[:, 2].argmin()]
    assert np.linalg.norm(nodes - back, axis=1).min() > 30.0
    assert template.window.min() >= 0 and template.window.max() == 1.0


def test_it_comes_back_from_its_file(template, tmp_path):
    path = tmp_path / "template.safetensors"
    write_template(path, template)
    found = read_template(path)
    assert found.digest == template.digest
    points = np.random.default_rng(0).uniform(-60, 60, (20, 3))
    code = np.random.default_rng(1).normal(size=found.deformation.modes)
    np.testing.assert_array_equal(found.to_template(points, code), template.to_template(points, code))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SceneError, match=r"template\.safetensors cannot be read"):
        read_template(path)
