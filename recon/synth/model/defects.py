"""Defects of head shapes: thin walls whose two sides have crossed.

A linear head model can push the inside of a nostril or the back of an ear through the front. Such a place has a
negative winding number.
"""

import numpy as np
from jaxtyping import Bool, Float, Int64

from recon.geometry.distance_grid import RegularGrid, winding_grid
from recon.synth.model.head_model import HeadModel

STEP_MM = 0.5
TOLERANCE_MM3 = 0.3
"""A defect smaller than this is below what a photograph shows."""

_SEPTUM_MM = 6.0


def inside_out(
    skin: Float[np.ndarray, "fine 3"], faces: Int64[np.ndarray, "faces 3"], low: np.ndarray, high: np.ndarray
) -> Float[np.ndarray, "places 3"]:
    """Returns sample points (`STEP_MM` apart, mm) in a box that a closed surface wraps the wrong way."""
    grid = RegularGrid.around(low, high, STEP_MM, 1.0)
    places = np.argwhere(winding_grid(skin, faces, grid) < 0)
    result: np.ndarray = places * STEP_MM + grid.origin
    return result


def visible_defects_mm3(model: HeadModel, skin: Float[np.ndarray, "fine 3"]) -> float:
    """Measures the volume of the crossed walls of ears and nostrils of a head, mm³.

    The wall between the nostrils is left out: it crosses in some heads where nobody can look.

    Args:
        model: The head model.
        skin: Subdivided skin of the head.
    """
    faces = model.refinement.faces
    total = 0
    for zone, nose in _thin_walled(model.refinement.canonical):
        wall = skin[zone]
        places = inside_out(skin, faces, wall.min(axis=0), wall.max(axis=0))
        if nose:
            places = places[np.abs(places[:, 0] - wall[:, 0].mean()) > _SEPTUM_MM]
        total += len(places)
    return total * STEP_MM**3


def _thin_walled(canonical: np.ndarray) -> tuple[tuple[Bool[np.ndarray, " fine"], bool], ...]:
    """Left ear, right ear and lower nose on the neutral head, and which of them is the nose."""
    x, y, z = canonical.T
    ear = (y > -25) & (y < 40) & (z > -22) & (z < 25)
    nose = (np.abs(x) < 26) & (y > -18) & (y < 25) & (z > 88)
    return ((ear & (x > 72), False), (ear & (x < -72), False), (nose, True))
