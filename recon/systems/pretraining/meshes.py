"""Errors of the meshes that a shape model makes of unseen heads: against points, and by the official protocol."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from scipy.spatial import cKDTree
from torch import Tensor

from recon import scene as scenes
from recon.errors import PriorError, ReconError
from recon.evaluation import Evaluator, Prediction
from recon.geometry.frames import CanonicalFrame
from recon.geometry.surface import Surface
from recon.meshing import clean, extract, to_world
from recon.priors import ShapeNetwork, fit_code
from recon.priors.data.dataset import HeadData
from recon.priors.data.scans import canonical_from_landmarks
from recon.scene.h3ds.layout import scenes_with_mesh
from recon.systems.pretraining.validation import heads_of, regions_of

log = logging.getLogger(__name__)

MESH_SAMPLES = 20_000


def mesh_of(network: ShapeNetwork, code: Float[Tensor, " latent"], resolution: int) -> trimesh.Trimesh:
    """The largest piece of a head's surface, canonical unit space.

    Raises:
        MeshError: There is none.
    """
    return clean(extract(network.shape_of(code).sdf, resolution=resolution, device=code.device))


def point_errors(
    network: ShapeNetwork, canonical: CanonicalFrame, data: HeadData, count: int, fitted: int, resolution: int
) -> dict[str, float]:
    """Compares meshes of codes fitted to points of unseen heads with their other points: means over heads, mm.

    No alignment of any kind. From truth to mesh distances are exact; from mesh to truth they are to the
    tangent plane of the nearest of the truth's points, which are a few millimetres apart.

    Returns:
        `truth_to_mesh_face_mm`, `truth_to_mesh_head_mm`, `mesh_to_truth_head_mm`, and `chamfer_head_mm`, the
        mean of both directions.
    """
    device = next(network.parameters()).device
    rows = []
    for name, shard, row in heads_of(data, count):
        surface, normals = shard.surface[row], shard.normals[row]
        used = min(fitted, len(surface) // 2)
        code = fit_code(network, torch.from_numpy(surface[:used]).to(device))
        try:
            mesh = mesh_of(network, code, resolution)
        except ReconError as error:
            log.warning("%s has no mesh: %s", name, error)
            continue
        face, head = regions_of(surface[used:], canonical)
        there = Surface(mesh).closest(surface[used:].astype(np.float64)).distances
        back = _to_tangent_planes(mesh, surface, normals, canonical)
        rows.append(np.array([there[face].mean(), there[head].mean(), back]) * canonical.radius_mm)
    if not rows:
        return {}
    face_mm, head_mm, back_mm = np.mean(rows, axis=0)
    return {
        "truth_to_mesh_face_mm": round(float(face_mm), 4),
        "truth_to_mesh_head_mm": round(float(head_mm), 4),
        "mesh_to_truth_head_mm": round(float(back_mm), 4),
        "chamfer_head_mm": round(float(head_mm + back_mm) / 2, 4),
    }


def _to_tangent_planes(
    mesh: trimesh.Trimesh, surface: np.ndarray, normals: np.ndarray, canonical: CanonicalFrame
) -> float:
    """Mean distance of even samples of the mesh's head to the tangent planes of the nearest truth points."""
    samples, _ = Surface(mesh).sample(MESH_SAMPLES)
    _, head = regions_of(samples, canonical)
    nearest = cKDTree(surface).query(samples[head])[1]
    offset = samples[head] - surface[nearest]
    return float(np.abs((offset * normals[nearest]).sum(axis=1)).mean())


def official_errors(
    network: ShapeNetwork, canonical: CanonicalFrame, folder: Path, fitted: int, resolution: int
) -> dict[str, float | int]:
    """Measures official and strict H3DS errors of meshes fitted to ground truths of scenes: means over scenes, mm.

    Every scene's landmarks place it in the canonical frame; the code is fitted to `fitted` points of its
    surface, and the mesh goes back to the world.

    Raises:
        PriorError: There is no scene with ground truth, or one has no landmarks.
    """
    found: list[Mapping[str, float]] = []
    for name in scenes_with_mesh(folder):
        truth = scenes.open(folder / name).ground_truth
        assert truth is not None
        mesh = _fitted_to(network, canonical, truth, fitted, resolution)
        scores = scores_of(Evaluator(truth, name=name), Prediction(mesh))
        log.info("%s: %s", name, ", ".join(f"{k} {v:.3f}" for k, v in scores.items()))
        found.append(scores)
    if not found:
        raise PriorError(f"validation.scenes={folder}: there is no scene with a ground truth")
    return {
        "official_scenes": len(found),
        **{name: round(float(np.mean([row[name] for row in found])), 4) for name in found[0]},
    }


def _fitted_to(
    network: ShapeNetwork, canonical: CanonicalFrame, truth: scenes.GroundTruth, fitted: int, resolution: int
) -> trimesh.Trimesh:
    """The shape model's mesh of a ground truth, world mm."""
    mesh = truth.mesh()
    vertices = np.asarray(mesh.vertices, np.float64)
    landmarks = {name: vertices[index] for name, index in truth.landmarks.items()}
    unit_from_world = np.linalg.inv(canonical.mm_from_unit) @ canonical_from_landmarks(landmarks)
    points, _ = Surface(mesh).sample(fitted)
    points = points @ unit_from_world[:3, :3].T + unit_from_world[:3, 3]
    device = next(network.parameters()).device
    code = fit_code(network, torch.from_numpy(points.astype(np.float32)).to(device))
    return to_world(mesh_of(network, code, resolution), np.linalg.inv(unit_from_world))


def scores_of(evaluator: Evaluator, prediction: Prediction) -> dict[str, float]:
    """Official and strict errors of face and head."""
    modes: dict[str, Literal["official", "strict"]] = {"": "official", "_strict": "strict"}
    regions: dict[str, Literal["face_sphere"] | None] = {"face": "face_sphere", "head": None}
    return {
        f"{name}_mm{suffix}": evaluator.evaluate(prediction, region=region, mode=mode).mean_mm
        for suffix, mode in modes.items()
        for name, region in regions.items()
    }
