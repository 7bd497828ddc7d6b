import numpy as np
import pytest

from recon.geometry.frames import FACE_RADIUS_MM
from recon.synth.body.truth import mark_regions, union_mesh
from recon.synth.parts import EYE, HAIR, SKIN, Part
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


def test_hair_over_an_ear_takes_it_from_the_region():
    skin, skin_faces = ball(50, level=5)
    hair, hair_faces = ball(20, (45, 0, 0))  # lies over the whole left ear
    zero = np.zeros((len(skin), 3), dtype=np.float32)
    marks = {"face": skin[:, 2] > 0, "ear": (np.abs(skin[:, 0]) > 47) & (skin[:, 2] < 0)}
    marks = {name: marked.astype(np.float32) for name, marked in marks.items()}
    parts = (
        Part("skin", skin, skin_faces, zero, zero, SKIN, marks),
        Part("hair", hair, hair_faces, zero[: len(hair)], zero[: len(hair)], HAIR),
    )
    mesh = union_mesh([(p.vertices, p.faces) for p in parts], spacing_mm=2.0)
    vertices = np.asarray(mesh.vertices)
    ears = vertices[mark_regions(vertices, parts, np.array([0.0, 0.0, 50.0]))["ears"]]
    assert (ears[:, 0] < -44).all() and (ears[:, 2] < 2).all()
    # a spherical cap of height 3, half of it: pi * 50 * 3 mm² at about one vertex for 4 mm² (2 mm grid)
    assert len(ears) == pytest.approx(np.pi * 50 * 3 / 4, rel=0.5)


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
