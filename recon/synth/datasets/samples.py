"""Training samples for priors: points of synthetic heads with exact signed distances, in one canonical frame.

The canonical frame is that of the mean head, mm: every head is brought there by the similarity that takes its
68 landmarks closest to the mean head's (`recon.geometry.frames`). `sample_files` writes them.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32

from recon.fields import FeatureGrid, spline_values
from recon.geometry.distance_grid import RegularGrid, signed_distance_grid
from recon.geometry.frames import (
    BOX_HIGH_MM,
    BOX_LOW_MM,
    UNIT_CENTRE_MM,
    UNIT_RADIUS_MM,
    similarity,
    transform,
)
from recon.geometry.signed_distance import MeshDistance
from recon.synth.datasets.template import Template, at_rest, rest_skin
from recon.synth.model.head_model import HeadModel, load_head_model
from recon.synth.model.identity import Identity
from recon.synth.parts import Subject


@dataclass(frozen=True)
class SampleCounts:
    """How many points of each kind one head gives.

    Attributes:
        surface: Points on the surface, with normals.
        near: Points near the surface: half within about 2 mm, half within about 12 mm (standard deviations).
        volume: Points uniform in the unit ball.
        lattice_mm: Spacing of a lattice of distances, the same points for every head; None leaves it out.
    """

    surface: int = 40_000
    near: int = 50_000
    volume: int = 10_000
    lattice_mm: float | None = None


NEAR_SIGMAS_MM = (2.0, 12.0)
FINE_BAND = 2.0
"""Distance from the surface up to which the fine lattice counts, in its spacings."""


@dataclass(frozen=True)
class HeadSamples:
    """Samples of one head in the canonical frame, mm.

    Attributes:
        name: The subject's name.
        surface: Points on the surface.
        normals: Their unit outward normals.
        points: Points near the surface and in the volume.
        distances: Their signed distances, mm, negative inside.
        canonical_from_head: Similarity that took the head to the canonical frame.
        landmarks: The 68 landmarks.
        lattice: Signed distances at the points of `lattice_grid`, mm, or None. Exact within one spacing of the
            surface, carried on to first order beyond. With a template, distances of the head that was taken to it.
        fine: With a template, what the distances at the nodes of its fine lattice have more than the interpolated
            `lattice`, mm; 0 where the surface is not near.
        code: With a template, the code of the deformation to it.
    """

    name: str
    surface: Float32[np.ndarray, "surface 3"]
    normals: Float32[np.ndarray, "surface 3"]
    points: Float32[np.ndarray, "points 3"]
    distances: Float32[np.ndarray, " points"]
    canonical_from_head: Float[np.ndarray, "4 4"]
    landmarks: Float[np.ndarray, "68 3"]
    lattice: Float16[np.ndarray, "x y z"] | None = None
    fine: Float16[np.ndarray, " band"] | None = None
    code: Float32[np.ndarray, " modes"] | None = None


def lattice_grid(spacing_mm: float) -> RegularGrid:
    """The points of every head's lattice at a spacing, canonical frame."""
    low, high = np.array(BOX_LOW_MM), np.array(BOX_HIGH_MM)
    x, y, z = (int(n) for n in np.round((high - low) / spacing_mm) + 1)
    return RegularGrid(low, spacing_mm, (x, y, z))


def mean_landmarks(model: HeadModel | None = None) -> Float[np.ndarray, "68 3"]:
    """Landmarks of the mean head, mm: what the canonical frame is fixed by."""
    model = model or load_head_model()
    result: np.ndarray = model.refinement.canonical[model.landmarks]
    return result


def sample_subject(
    subject: Subject,
    *,
    mean: Float[np.ndarray, "68 3"] | None = None,
    counts: SampleCounts | None = None,
    seed: int = 0,
    template: Template | None = None,
    model: HeadModel | None = None,
) -> HeadSamples:
    """Draws samples of one subject's truth.

    Args:
        subject: Whose truth to sample.
        mean: Landmarks of the mean head; by default those of `load_head_model()`.
        counts: How many points of each kind.
        seed: Seed of the draw; the same (subject, seed) gives the same samples.
        template: Template to which lattices are taken; the canonical frame of a head is that of its landmarks
            without expression then.
        model: Head model of the subject and the template; by default that of `load_head_model()`.
    """
    counts = counts or SampleCounts()
    if template is None:
        to_canonical = similarity(subject.landmarks68, mean_landmarks() if mean is None else mean)
    else:
        model = model or load_head_model()
        neutral, to_canonical = at_rest(model, Identity.from_recipe(subject.recipe["identity"]))
    vertices = transform(to_canonical, np.asarray(subject.truth.vertices))
    faces = np.asarray(subject.truth.faces, dtype=np.int64)
    rng = np.random.default_rng(
        [int.from_bytes(hashlib.sha256(subject.name.encode()).digest()[:8], "big"), seed]
    )

    surface, normals = _on_surface(rng, vertices, faces, counts.surface)
    points = _off_surface(rng, vertices, faces, counts)
    # distances belong to the rounded points that are kept
    distances = MeshDistance(vertices, faces)(points.astype(np.float64)) if len(points) else np.zeros(0)
    lattice = fine = code = None
    if template is not None and model is not None:
        skin, still = (
            transform(to_canonical, each) for each in (subject.part("skin").vertices, neutral.skin)
        )
        code = template.code_of(skin, still, rest_skin(model))
        vertices = template.to_template(vertices, code)
    if counts.lattice_mm is not None:
        lattice = _on_lattice(vertices, faces, counts.lattice_mm)
        if template is not None:
            fine = _on_fine_lattice(vertices, faces, template, lattice, counts.lattice_mm)
    return HeadSamples(
        subject.name,
        surface.astype(np.float32),
        normals.astype(np.float32),
        points,
        distances.astype(np.float32),
        to_canonical,
        transform(to_canonical, subject.landmarks68),
        lattice,
        fine,
        None if code is None else code.astype(np.float32),
    )


def _off_surface(
    rng: np.random.Generator, vertices: np.ndarray, faces: np.ndarray, counts: SampleCounts
) -> Float32[np.ndarray, "points 3"]:
    """Points near the surface, then points of the unit ball."""
    near, _ = _on_surface(rng, vertices, faces, counts.near)
    sigma = np.where(np.arange(counts.near) < counts.near // 2, *NEAR_SIGMAS_MM)
    near = near + rng.normal(size=near.shape) * sigma[:, None]
    return np.concatenate([near, _in_ball(rng, counts.volume)]).astype(np.float32)


def _on_fine_lattice(
    vertices: np.ndarray,
    faces: np.ndarray,
    template: Template,
    lattice: Float16[np.ndarray, "x y z"],
    spacing_mm: float,
) -> Float16[np.ndarray, " band"]:
    """What the fine lattice adds to the interpolated coarse one, near the surface."""
    grid = template.fine
    high = grid.origin + grid.spacing_mm * (np.array(grid.shape) - 1)
    corners = vertices[faces]
    reach = FINE_BAND * grid.spacing_mm
    # Along x whole rows count, for the sign.
    near = (corners.max(1) > grid.origin - reach) & (corners.min(1) < high + reach)
    faces = faces[near[:, 1] & near[:, 2]]
    exact = signed_distance_grid(vertices, faces, grid, reach)[template.inside]
    nodes = grid.origin + grid.spacing_mm * np.argwhere(template.inside)
    coarse = lattice_grid(spacing_mm)
    low = coarse.origin - spacing_mm / 2
    size = spacing_mm * np.array(coarse.shape)
    splines = FeatureGrid(low.tolist(), (low + size).tolist(), coarse.shape, 1)
    values = torch.from_numpy(spline_values(lattice.astype(np.float32)).reshape(-1, 1))
    smooth = splines.interpolated(torch.from_numpy(nodes.astype(np.float32)), values)[:, 0].numpy()
    fade = np.clip((reach - np.abs(exact)) / grid.spacing_mm, 0, 1)
    result: np.ndarray = ((exact - smooth) * fade * template.window).astype(np.float16)
    return result


def _on_lattice(vertices: np.ndarray, faces: np.ndarray, spacing_mm: float) -> np.ndarray:
    grid = lattice_grid(spacing_mm)
    return signed_distance_grid(vertices, faces, grid, 1.1 * spacing_mm, extend=True).astype(np.float16)


def _on_surface(
    rng: np.random.Generator, vertices: np.ndarray, faces: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Area-uniform points of a mesh with the normals of their triangles."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    area = np.linalg.norm(normal, axis=1)
    mass = np.cumsum(area)
    chosen = np.minimum(
        np.searchsorted(mass, rng.uniform(size=count) * mass[-1], side="right"), len(faces) - 1
    )
    r, t = np.sqrt(rng.uniform(size=(count, 1))), rng.uniform(size=(count, 1))
    points = (1 - r) * a[chosen] + r * (1 - t) * b[chosen] + r * t * c[chosen]
    return points, normal[chosen] / area[chosen, None]


def _in_ball(rng: np.random.Generator, count: int) -> np.ndarray:
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    radius = UNIT_RADIUS_MM * rng.uniform(size=(count, 1)) ** (1 / 3)
    result: np.ndarray = np.asarray(UNIT_CENTRE_MM) + direction * radius
    return result
