"""Combing of hair: direction fields around the neutral head, by name of the flow.

Coordinates are those of the neutral head in mm (+Y up, +Z face, +X the subject's left).
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from recon.synth.hair.parameters import HairStyle

CROWN_MM = np.array([0.0, 128.0, -48.0])


def flow_direction(
    style: "HairStyle", at: Float[np.ndarray, "points 3"], root: Float[np.ndarray, "points 3"]
) -> Float[np.ndarray, "points 3"]:
    """Computes the combing direction of strands (not normalised, not yet tangential).

    Args:
        style: The style; `style.flow` names the field.
        at: Present points of the strands.
        root: Roots of the strands; decides the side of a parting.
    """
    whorl = _whorl(style, at)
    if style.flow == "whorl":
        return whorl
    if style.flow == "back":
        return _blend(whorl, _back(style, at), _front_weight(at, -75.0))
    if style.flow == "part":
        return _blend(whorl, _part(style, at, root), _front_weight(at, -40.0))
    if style.flow == "down":
        return _down(style, at, root)
    if style.flow == "tie":
        towards = np.asarray(style.tie_mm) - at
        return towards / np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1.0)
    if style.flow == "fringe":
        return _blend(whorl, _forward(at), _front_weight(at, 10.0))
    if style.flow == "out":
        outward = at - np.array([0.0, 40.0, -5.0])
        return outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1.0)
    if style.flow == "loose":
        # away from the crown, but up and aside over the face
        outward = at - np.array([0.0, 60.0, 10.0])
        outward = outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1.0)
        return _blend(0.8 * whorl + 0.4 * outward, _aside(at), _front_weight(at, 15.0))
    if style.flow == "beard":
        return np.stack([0.15 * at[:, 0] / 60.0, np.full(len(at), -1.0), np.full(len(at), 0.12)], axis=1)
    raise ValueError(f"unknown flow {style.flow!r}")


def _whorl(style: "HairStyle", at: np.ndarray) -> np.ndarray:
    """Away from the crown with a swirl, the way short hair grows by itself."""
    away = at - CROWN_MM
    away = away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
    swirl = np.cross([0.0, 0.8, -0.6], away)
    field = away + style.swirl * np.exp(-np.linalg.norm(at - CROWN_MM, axis=1, keepdims=True) / 40.0) * swirl
    # over the ears and at the nape hair grows down and a little back
    low = np.clip((70.0 - at[:, 1]) / 60.0, 0, 1)[:, None]
    result: np.ndarray = field * (1 - 0.7 * low) + low * np.array([0.0, -0.8, -0.35])
    return result


def _front_weight(at: np.ndarray, behind: float) -> np.ndarray:
    """1 over the front and top of the head, 0 behind z = `behind` and low at the sides."""
    back = np.clip((at[:, 2] - behind) / 35.0, 0, 1)
    up = np.clip((at[:, 1] - 55.0) / 35.0, 0, 1)
    result: np.ndarray = (back * up)[:, None]
    return result


def _back(style: "HairStyle", at: np.ndarray) -> np.ndarray:
    x = at[:, 0]
    return np.stack(
        [0.25 * np.tanh(x / 40.0) + style.slant, np.full(len(at), -0.15), np.full(len(at), -1.0)], axis=1
    )


def _forward(at: np.ndarray) -> np.ndarray:
    x = at[:, 0]
    return np.stack([0.3 * np.tanh(x / 40.0), np.full(len(at), -0.4), np.ones(len(at))], axis=1)


def _aside(at: np.ndarray) -> np.ndarray:
    x = at[:, 0]
    return np.stack([np.tanh(x / 12.0), np.full(len(at), 0.1), np.full(len(at), -0.35)], axis=1)


def _part(style: "HairStyle", at: np.ndarray, root: np.ndarray) -> np.ndarray:
    side = np.where(root[:, 0] > style.parting_mm, 1.0, -1.0)
    back = np.full(len(at), -style.slant)
    result: np.ndarray = np.stack([side, np.full(len(at), -0.2), back], axis=1)
    return result


def _down(style: "HairStyle", at: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Long hair from a parting: out to its side over the top, then down; off the face."""
    side = np.where(root[:, 0] > style.parting_mm, 1.0, -1.0)
    top = np.clip((at[:, 1] - 80.0) / 40.0, 0, 1)
    # behind the crown the parting ends and hair falls straight back
    behind = np.clip((-at[:, 2] - 25.0) / 35.0, 0, 1)
    sideways = side * (0.15 + 0.85 * top) * (1 - behind) + behind * np.tanh(at[:, 0] / 50.0) * 0.4
    down = -0.35 - 0.65 * (1 - top)
    face = np.clip((at[:, 2] - 30.0) / 30.0, 0, 1) * np.clip((110.0 - at[:, 1]) / 30.0, 0, 1)
    back = -style.slant * (0.4 + 0.6 * top) - 0.9 * behind * top - 0.8 * face
    # below the chin hair keeps to the neck and falls before or behind the shoulders, not along them
    low = np.clip((-50.0 - at[:, 1]) / 50.0, 0, 1)
    inward = -1.6 * np.sign(at[:, 0]) * np.clip((np.abs(at[:, 0]) - 62.0) / 35.0, 0, 1)
    # neighbours do not all choose the same side of the shoulder
    choice = 22.0 * np.sin(1.7 * root[:, 0] + 2.3 * root[:, 1])
    forth = np.where(root[:, 2] + choice > style.parted_z_mm, 0.9, -0.9)
    across = sideways + 0.3 * side * face
    result: np.ndarray = np.stack(
        [across * (1 - low) + inward * low, down, back * (1 - low) + forth * low], axis=1
    )
    return result


def _blend(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    result: np.ndarray = a * (1 - weight) + b * weight
    return result


def off_the_face(
    style: "HairStyle", at: Float[np.ndarray, "points 3"], root: Float[np.ndarray, "points 3"]
) -> Float[np.ndarray, "points 3"]:
    """Moves points of parted hair that hang before the face aside, to the side that their roots are on."""
    if style.flow != "down":
        return at
    side = np.where(root[:, 0] > style.parting_mm, 1.0, -1.0)
    ahead = np.clip((at[:, 2] - 40.0) / 20.0, 0, 1) * np.clip((102.0 - at[:, 1]) / 25.0, 0, 1)
    free = np.interp(at[:, 1], [-140.0, -90.0, -40.0, 60.0, 100.0], [25.0, 45.0, 60.0, 66.0, 30.0])
    # neighbours keep different distances, or they would line up in a sheet
    free = free * (1.12 + 0.2 * np.sin(1.9 * root[:, 2] + 2.7 * root[:, 0]))
    moved = at.copy()
    moved[:, 0] += side * ahead * np.clip(free - side * at[:, 0], 0, None)
    return moved
