import numpy as np
import pytest

from recon.geometry.frames import FACE_RADIUS_MM
from recon.synth.body.truth import mark_regions, union_mesh
from recon.synth.parts import EYE, SKIN, Part
from tests.support.head_model import ball


def test_union_of_two_balls_is_one_closed_surface():
    mesh = union_mesh([ball(20), ball(20, (25, 0, 0))], spacing_mm=1.0)
    assert mesh.is_watertight and mesh.body_count == 1
    # two balls less their lens: h = 7.5 caps
    cap = np.pi * 7.5**2 * (60 - 7.5) / 3
    assert mesh.volume == pytest.approx(2 * (4 / 3 * np.pi * 20**3 - cap), rel=0.01)
    outside = np.minimum(
        np.linalg.norm(mesh.vertices, axis=1), np.linalg.norm(mesh.vertices - [25, 0, 0], axis=1)
    )
    assert np.abs(outside - 20).max() < 0.5


def test_union_drops_what_touches_nothing():
    mesh = union_mesh([ball(20), ball(5, (60, 0, 0))], spacing_mm=1.5)
    assert mesh.bounds[1, 0] < 25


def test_regions_follow_the_nearest_part():
    skin, skin_faces = ball(50, level=5)
    eye, eye_faces = ball(12, (0, 0, 45))
    zero = np.zeros((len(skin), 3), dtype=np.float32)
    marks = {"face": (skin[:, 2] > 0).astype(np.float32), "nose": (skin[:, 2] > 40).astype(np.float32)}
    parts = (
        Part("skin", skin, skin_faces, zero, zero, SKIN, marks),
        Part("eye_left", eye, eye_faces, zero[: len(eye)], zero[: len(eye)], EYE),
    )
    mesh = union_mesh([(p.vertices, p.faces) for p in parts], spacing_mm=2.0)
    vertices = np.asarray(mesh.vertices)
    regions = mark_regions(vertices, parts, np.array([0.0, 0.0, 57.0]))
    face = np.zeros(len(vertices), dtype=bool)
    face[regions["face"]] = True
    assert face[vertices[:, 2] > 2].all() and not face[vertices[:, 2] < -2].any()
    assert vertices[regions["nose"], 2].min() > 36
    assert np.linalg.norm(vertices[regions["nose"]] - [0, 0, 45], axis=1).min() > 11  # the eye is no nose
    inside = np.linalg.norm(vertices - [0, 0, 57.0], axis=1) <= FACE_RADIUS_MM
    assert np.array_equal(regions["face_sphere"], np.flatnonzero(inside))
