import numpy as np
import trimesh
from scipy.spatial.transform import Rotation

from recon.synth.body.neck import JOINT_MM, LIMITS_DEG, draw_turn, turned_on_neck, turned_points
from recon.synth.parts import CLOTH, Part, Subject

CHIN, CROWN, NAPE = [0.0, -95.0, 75.0], [0.0, 120.0, 0.0], [0.0, -45.0, -75.0]
SHOULDERS = np.array([[150.0, -210.0, 0.0], [-150.0, -210.0, 0.0], [0.0, -230.0, 60.0]])
TO_THE_LEFT = np.array([0.0, np.pi / 6, 0.0])


def test_the_head_stays_and_the_body_turns_as_a_whole_about_the_joint():
    head = np.array([CHIN, CROWN, NAPE])
    assert np.array_equal(turned_points(head, TO_THE_LEFT), head)
    # 30 degrees about the vertical through (0, -25) in x and z, worked out by hand
    c, s = np.sqrt(3) / 2, 0.5
    by_hand = [[c * x + s * (z + 25.0), y, -s * x + c * (z + 25.0) - 25.0] for x, y, z in SHOULDERS]
    assert np.allclose(turned_points(SHOULDERS, TO_THE_LEFT), by_hand)


def test_the_neck_twists_without_folding():
    around = np.linspace(0.0, 2 * np.pi, 24, endpoint=False)
    rings = [
        np.stack([55 * np.cos(around), np.full(24, y), 55 * np.sin(around) + JOINT_MM[2]], axis=1)
        for y in np.linspace(-170.0, -60.0, 56)
    ]
    turned = np.stack([turned_points(ring, np.radians([0.0, 30.0, 0.0])) for ring in rings])
    assert (np.diff(turned[..., 1], axis=0) > 0.5).all()  # heights stay in order
    steps = np.linalg.norm(np.diff(turned, axis=0), axis=2)
    assert steps.max() < 2.0 * 1.3  # 2 mm before


def test_turns_are_drawn_within_their_limits():
    turns = np.stack([draw_turn(np.random.default_rng(seed)) for seed in range(200)])
    angles = np.degrees(np.abs(Rotation.from_rotvec(turns).as_euler("YXZ")))
    assert (angles.max(axis=0) <= LIMITS_DEG).all() and (
        angles.max(axis=0) > 0.9 * np.array(LIMITS_DEG)
    ).all()


def test_parts_truth_and_growing_directions_turn_together():
    up = np.tile(np.array([[0.0, 0.0, 1.0]], np.float32), (3, 1))
    body = trimesh.Trimesh(SHOULDERS, [[0, 1, 2]], process=False)
    part = Part("cloth", SHOULDERS, np.array([[0, 1, 2]]), SHOULDERS.astype(np.float32), up, CLOTH)
    subject = Subject(0, "one", (part,), body, {}, np.zeros((68, 3)), {}, {}, None, {})
    turned = turned_on_neck(subject, TO_THE_LEFT)
    assert np.allclose(turned.parts[0].vertices, turned.truth.vertices)
    assert np.allclose(turned.parts[0].tangent, [0.5, 0.0, np.sqrt(3) / 2])
    assert np.array_equal(subject.truth.vertices, SHOULDERS)  # the given one is left as it is
