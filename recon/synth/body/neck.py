"""Heads turned on their necks: the body below the neck turns about a joint, the head stays where it is."""

from dataclasses import replace

import numpy as np
import trimesh
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from recon.synth.body.truth import nearest_vertices
from recon.synth.parts import Part, Strands, Subject

JOINT_MM = np.array([0.0, -110.0, -25.0])
"""Joint of the neck, canonical head frame: on the axis of the neck, half-way between skull and shoulders."""
RAMP_MM = (-160.0, -75.0)
"""Range of `leaning_height` over which the neck twists: above it the head stays, below it the body turns as a whole."""
LEAN = 0.35
"""Slope of the neck's upper border: the chin is as low as the middle of the nape, and belongs to the head."""
LIMITS_DEG = (30.0, 20.0, 20.0)
"""Largest turns that are drawn: about the vertical (yaw), the transverse (pitch) and the sagittal axis (roll)."""


def leaning_height(points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
    """Height along the neck, mm: y of the canonical head frame, more where a point lies further forward."""
    height: np.ndarray = points[:, 1] + LEAN * points[:, 2]
    return height


def body_share(points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
    """Share of the body's turn that points take: 1 below the neck, 0 on the head, smooth between (a cubic step)."""
    low, high = RAMP_MM
    along = np.clip((high - leaning_height(points)) / (high - low), 0.0, 1.0)
    share: np.ndarray = along * along * (3.0 - 2.0 * along)
    return share


def draw_turn(rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    """Draws a turn of the body against the head, a rotation vector in radians; uniform in yaw, pitch and roll."""
    yaw, pitch, roll = np.radians([rng.uniform(-limit, limit) for limit in LIMITS_DEG])
    return Rotation.from_euler("YXZ", [yaw, pitch, roll]).as_rotvec()


def turned_points(
    points: Float[np.ndarray, "points 3"], turn: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "points 3"]:
    """Turns points of the neck and the body about the joint.

    Args:
        points: Canonical head frame, mm.
        turn: Rotation vector of the body, radians.
    """
    share = body_share(points)
    moved = points.astype(np.float64)
    below = share > 0
    rotation = Rotation.from_rotvec(share[below, None] * turn)
    moved[below] = JOINT_MM + rotation.apply(moved[below] - JOINT_MM)
    return moved


def turned_on_neck(subject: Subject, turn: Float[np.ndarray, " 3"]) -> Subject:
    """Returns the subject with its body turned against its head, which stays in the canonical frame.

    Surfaces, hair and truth follow the same map of space, so that vertices, triangles, landmarks and regions keep
    their numbers. Hair that lies on the shoulders goes with them.

    Args:
        subject: The person.
        turn: Rotation vector of the body, radians.
    """
    vertices = turned_points(np.asarray(subject.truth.vertices), turn)
    truth = trimesh.Trimesh(vertices, subject.truth.faces, process=False)
    return replace(
        subject,
        parts=tuple(_turned_part(part, turn) for part in subject.parts),
        truth=truth,
        landmark_vertices=nearest_vertices(vertices, subject.landmarks) if subject.landmark_vertices else {},
        strands=None if subject.strands is None else _turned_strands(subject.strands, turn),
    )


def _turned_part(part: Part, turn: Float[np.ndarray, " 3"]) -> Part:
    share = body_share(part.vertices)
    tangent = Rotation.from_rotvec(share[:, None] * turn).apply(part.tangent)
    return replace(part, vertices=turned_points(part.vertices, turn), tangent=tangent.astype(np.float32))


def _turned_strands(strands: Strands, turn: Float[np.ndarray, " 3"]) -> Strands:
    return replace(strands, points=turned_points(strands.points, turn).astype(np.float32))
