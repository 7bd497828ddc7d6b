"""The scale of a scene's world: fits are made in a world whose head is about life-size, whatever the scene's unit is.

Photographs of several directions show how large a head is in units of the distances between their cameras. So the size
is found first, from masks and landmarks, and everything that is given in millimetres then means millimetres of a
life-size head. A single photograph does not show the size: there the unit of the world says what heads measure in it.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from recon.fitting import HeadFit, InitialHead, life_size
from recon.priors.prior import SceneObservations
from recon.scene.carving import TYPICAL_MM, disc_radius, unit_by_size

log = logging.getLogger(__name__)

Found = TypeVar("Found", InitialHead, HeadFit)

NEAR, SETTLED, SEARCHES = 0.12, 0.003, 4
"""Logarithm of the size against life-size up to which a search is believed but for the size (that by masks is good to
0.04 where photographs show heads with shoulders), up to which it is the result, and the largest number of further ones.
"""

LIKELY_MM = (60.0, 330.0)
"""Radius of what one mask shows outside of which the unit of its world is not believed to be one of length."""


def start_scale(observations: SceneObservations, unit_mm: float) -> float:
    """Factor of all lengths of a world after which its head is about life-size.

    The size is that of a given pose; else of one photograph by the unit of the world, and of several by their masks.

    Args:
        observations: The input views.
        unit_mm: Radius of the canonical ball of a life-size head, mm.
    """
    pose = observations.canonical_from_world
    if pose is not None:
        return 1.0 / life_size(pose, unit_mm)
    world_from_unit = observations.world_from_unit
    unit_from_world, scale = np.linalg.inv(world_from_unit), np.cbrt(np.linalg.det(world_from_unit[:3, :3]))
    ignored = observations.ignored or [np.zeros_like(mask) for mask in observations.masks]
    radii = [
        disc_radius(camera.transformed(unit_from_world), int((mask & ~unknown).sum()))
        for camera, mask, unknown in zip(observations.cameras, observations.masks, ignored, strict=True)
    ]
    radius = float(scale * np.median(radii))
    if not radius > 0:
        return 1.0  # empty masks, which the search refuses
    known = unit_by_size(radius)
    if len(observations.cameras) == 1 and known and LIKELY_MM[0] < radius * known[1] < LIKELY_MM[1]:
        return known[1]
    return TYPICAL_MM / radius


def found_life_size(
    observations: SceneObservations, unit_mm: float, search: Callable[[SceneObservations], Found]
) -> tuple[Found, float]:
    """Searches for a head in a world in which it is about life-size.

    Args:
        observations: The input views.
        unit_mm: Radius of the canonical ball of a life-size head, mm.
        search: Finds the head in given observations.

    Returns:
        The head in a scaled world, and the factor by which all lengths of that world are longer. With several
        photographs it is life-size there.
    """
    factor = start_scale(observations, unit_mm)
    found = search(observations.scaled(factor))
    if len(observations.cameras) == 1:
        return found, factor
    for _ in range(SEARCHES):
        size = life_size(found.canonical_from_world, unit_mm)
        factor /= size
        pose = rescaled(found.canonical_from_world, 1 / size)
        if abs(np.log(size)) < SETTLED:
            break
        # Far from life-size the shape is a compromise and the heading may be wrong; near to it only the size is.
        known = observations.canonical_from_world is not None or abs(np.log(size)) < NEAR
        scaled = observations.scaled(factor)
        found = search(replace(scaled, canonical_from_world=pose) if known else scaled)
    log.info("one unit of the world is %.4g mm of a life-size head", factor)
    return replace(found, canonical_from_world=pose), factor


def rescaled(canonical_from_world: np.ndarray, factor: float) -> np.ndarray:
    """The pose of the same head in a world in which every length is so many times longer."""
    return canonical_from_world @ np.diag([1 / factor, 1 / factor, 1 / factor, 1.0])
