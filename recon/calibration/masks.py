"""Masks once the head is known: what the network took for the person is judged anew by where the head is seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import trimesh
from jaxtyping import Bool

from recon.calibration.joint import below_collar
from recon.calibration.observing import ObservedPhotograph
from recon.fitting import Shape
from recon.geometry.frames import CanonicalFrame
from recon.geometry.raster import rasterise
from recon.meshing import extract
from recon.perception import PersonMask
from recon.perception.refinement import refined_mask
from recon.scene import Camera

CHIN_MM = -80.0
"""Height of the chin in the canonical frame."""
RESOLUTION = 128
"""Cells across the canonical ball of the mesh that outlines are drawn of."""
MOST_OUTLINE_MM = 3.0
"""A head whose outline is further from the masks says nothing of them: hair or clothes that the shape model lacks."""


def with_head(
    photograph: ObservedPhotograph, camera: Camera, head: Bool[np.ndarray, "height width"], outline_mm: float
) -> ObservedPhotograph:
    """The photograph with a mask of the person whose head was fitted; a user's mask stays, and so does the network's
    where the head contradicts it altogether.

    Args:
        photograph: With the network's probability of a person.
        camera: Of it, canonical mm.
        head: Where it sees the fitted head.
        outline_mm: Typical distance between the outlines of head and masks.
    """
    if photograph.probability is None or outline_mm > MOST_OUTLINE_MM:
        return photograph
    seen = PersonMask(
        photograph.mask,
        np.zeros_like(photograph.mask) if photograph.ignored is None else photograph.ignored,
        photograph.probability,
        "network",
        hidden=photograph.hidden,
    )
    found = refined_mask(
        photograph.image,
        seen,
        head,
        below_collar(camera, CHIN_MM),
        float(camera.intrinsics[0, 0] / np.linalg.norm(camera.centre)),
        outline_mm,
    )
    return photograph if found is None else replace(photograph, mask=found[0], ignored=found[1])


def head_mesh(head: Shape, canonical: CanonicalFrame) -> trimesh.Trimesh:
    """The surface of a head, canonical mm."""
    mesh = extract(
        lambda points: head.sdf(points.float()).to(points.dtype), resolution=RESOLUTION, dtype=torch.float32
    )
    mesh.apply_transform(canonical.mm_from_unit)
    return mesh


def silhouette(mesh: trimesh.Trimesh, camera: Camera) -> Bool[np.ndarray, "height width"]:
    """Where a camera sees a mesh."""
    pixels, depth = camera.project(np.asarray(mesh.vertices, float))
    points = np.concatenate([pixels, depth[:, None]], axis=1)
    covered: np.ndarray = rasterise(points, np.asarray(mesh.faces), camera.height, camera.width).face >= 0
    return covered
