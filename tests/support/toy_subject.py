"""A subject that needs no head model: a ball with eyes, a cap of hair and a collar."""

import numpy as np
import trimesh

from recon.synth.parts import CLOTH, EYE, HAIR, SKIN, Part, Strands, Subject

CENTRE = np.array([0.0, 20.0, 20.0])


def _ball(radii: float | tuple[float, ...], centre: np.ndarray, subdivisions: int) -> trimesh.Trimesh:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=1.0)
    return trimesh.Trimesh(mesh.vertices * np.array(radii) + centre, mesh.faces, process=False)


def _part(name: str, mesh: trimesh.Trimesh, label: int, tangent: np.ndarray | None = None) -> Part:
    vertices = np.asarray(mesh.vertices, np.float64)
    return Part(
        name,
        vertices,
        np.asarray(mesh.faces, np.int64),
        vertices.astype(np.float32),
        np.zeros(vertices.shape, np.float32) if tangent is None else tangent.astype(np.float32),
        label,
    )


def _landmarks68() -> np.ndarray:
    """Only the eyes matter to appearance: rings around (±31, 36)."""
    out = np.zeros((68, 3))
    for first, side in ((36, -1.0), (42, 1.0)):
        x = np.array([-13.0, -5.0, 5.0, 13.0, 5.0, -5.0]) + 31.0 * side
        y = np.array([0.0, 4.0, 4.0, 0.0, -4.0, -4.0]) + 36.0
        z = CENTRE[2] + np.sqrt(100.0**2 - x**2 - (y - CENTRE[1]) ** 2)
        out[first : first + 6] = np.stack([x, y, z], axis=1)
    return out


def toy_subject(seed: int = 0) -> Subject:
    head = _ball(100.0, CENTRE, 5)
    cap = _ball((104.0, 104.0, 104.0), CENTRE + np.array([0, 6.0, -8.0]), 4)
    down = np.array([0.0, -1.0, 0.0]) - cap.vertex_normals * -cap.vertex_normals[:, 1:2]
    down /= np.maximum(np.linalg.norm(down, axis=1, keepdims=True), 1e-9)
    # Only the upper back half of the cap: an open surface.
    centre = cap.triangles_center - CENTRE
    keep = (centre[:, 1] > 0) & (centre[:, 2] < 60)
    cap_part = _part("hair", trimesh.Trimesh(cap.vertices, cap.faces[keep], process=False), HAIR, down)
    collar = _ball((130.0, 40.0, 90.0), np.array([0.0, -110.0, 0.0]), 4)
    eyes = [
        _part(name, _ball(15.0, np.array([x, 36.14, 104.0]), 3), EYE)
        for name, x in (("eye_left", 30.94), ("eye_right", -30.94))
    ]
    truth = trimesh.util.concatenate([head, collar])
    roots = cap.vertices[cap.vertices[:, 1] > 60][::20]
    points = np.stack([roots + np.array([0, -2.0 * k, 0]) for k in range(4)], axis=1).reshape(-1, 3)
    strands = Strands(
        points.astype(np.float32),
        np.arange(len(roots) + 1, dtype=np.int64) * 4,
        np.zeros(len(roots), np.int64),
        np.zeros(len(roots), np.int64),
    )
    near = np.flatnonzero(np.linalg.norm(truth.vertices - [0, 20, 120], axis=1) < 60)
    return Subject(
        seed,
        "toy",
        (_part("skin", head, SKIN), *eyes, cap_part, _part("cloth", collar, CLOTH)),
        truth,
        {},
        _landmarks68(),
        {"nose_tip": int(near[0])},
        {"face": near, "face_sphere": near, "nose": near[:5], "ears": near[5:8]},
        strands,
        {"style": "toy"},
    )
