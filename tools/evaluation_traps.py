"""What the two protocols say of predictions whose faults are known: python tools/evaluation_traps.py [docs=FILE].

The ground truth is the demo subject reduced to about 2,000 vertices, its faces split into four three times: coarser
splits of it are the very same surface with fewer vertices.
"""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


import recon
from recon.commands.command_line import options_of, run_tool
from recon.errors import EvaluationError
from recon.evaluation import Evaluator, Prediction
from recon.evaluation.official import official
from recon.geometry import PointSet, Surface
from recon.meshing import clean, extract
from recon.scene import GroundTruth
from tools.benchmark_evaluator import into_docs

DEMO = Path(recon.__file__).parent / "assets" / "heads" / "demo"
MARKS = ("<!-- evaluation_traps -->", "<!-- /evaluation_traps -->")


class Truth:
    """A ground truth in memory, with the demo's landmarks at the nearest vertices of `base`, which come first."""

    def __init__(self, mesh: trimesh.Trimesh, base: trimesh.Trimesh, demo: GroundTruth) -> None:
        self._mesh = mesh
        places = {name: demo.mesh().vertices[index] for name, index in demo.landmarks.items()}
        near = {
            name: np.linalg.norm(np.asarray(base.vertices) - place, axis=1) for name, place in places.items()
        }
        self.landmarks = {name: int(distance.argmin()) for name, distance in near.items()}
        vertices = np.asarray(mesh.vertices)
        front = np.linalg.norm(vertices - places["nose_tip"], axis=1)
        self._regions = {"face": np.flatnonzero(front < 130), "face_sphere": np.flatnonzero(front < 95)}

    def mesh(self) -> trimesh.Trimesh:
        """The mesh."""
        return self._mesh

    def region(self, name: str) -> np.ndarray:
        """Vertex indices."""
        return self._regions[name]


def coarse_demo(truth: GroundTruth, resolution: int = 40) -> trimesh.Trimesh:
    """A marching cubes mesh of the demo's ground truth, mm; signs from its smooth normals."""
    mesh = truth.mesh()
    surface, normals = Surface(mesh), np.asarray(mesh.vertex_normals)
    low, high = np.asarray(mesh.bounds)
    centre, radius = (low + high) / 2, np.linalg.norm(high - low) / 2

    def distance(points: torch.Tensor) -> torch.Tensor:
        queries = points.numpy() * radius + centre
        near = surface.closest(queries)
        corners = surface.faces[near.faces]
        weights = trimesh.triangles.points_to_barycentric(surface.vertices[corners], near.points)
        outward = np.einsum("nk,nkd->nd", weights, normals[corners])
        side = np.where(((queries - near.points) * outward).sum(axis=1) < 0, -1.0, 1.0)
        return torch.as_tensor(side * near.distances / radius)

    unit = clean(extract(distance, resolution=resolution, dtype=torch.float64))
    return other(unit, np.asarray(unit.vertices) * radius + centre)


def other(mesh: trimesh.Trimesh, vertices: np.ndarray, faces: np.ndarray | None = None) -> trimesh.Trimesh:
    """The same faces on other vertices, or other faces too."""
    return trimesh.Trimesh(vertices, mesh.faces if faces is None else faces, process=False)


def predictions(levels: list[trimesh.Trimesh]) -> Iterator[tuple[str, trimesh.Trimesh, bool]]:
    """Name, mesh, and whether it comes with landmarks."""
    for mesh in levels[:3]:
        yield f"the exact surface, {len(mesh.vertices):,} vertices", mesh, False
    exact = levels[2]
    vertices, faces = np.asarray(exact.vertices), np.asarray(exact.faces)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    middle = (low + high) / 2
    yield "exact, 1.3 times too large", other(exact, (vertices - middle) * 1.3 + middle), False
    mirrored = (vertices - middle) * [-1, 1, 1] + middle
    yield "exact, mirrored left to right", other(exact, mirrored, faces[:, ::-1]), False
    part = (vertices[faces][..., 2] < low[2] + 80).all(axis=1)
    hollow = other(exact, vertices * [1, 1, -1] + [0, 0, 2 * low[2] + 50], faces[part][:, ::-1])
    hollow.remove_unreferenced_vertices()
    yield "the face only, concave as a mask seen from behind", hollow, False
    concave = (vertices - middle) * [1, 1, -1] + middle
    yield "exact, front and back exchanged", other(exact, concave, faces[:, ::-1]), False
    wavy = vertices + 3 * np.sin(vertices[:, [1, 2, 0]] / 25)
    yield "waves of 3 mm, well placed", other(exact, wavy), False
    turn = Rotation.from_rotvec(np.radians(12) * np.array([1, 2, 0.5]) / np.sqrt(5.25)).as_matrix()
    turned = (wavy - middle) @ turn.T + middle + [8, -6, 10]
    yield "the same, turned by 12° and 14 mm off", other(exact, turned), False
    yield "the same, with landmarks", other(exact, turned), True
    front = other(exact, vertices, faces[(vertices[faces][..., 2] < middle[2] - 20).all(axis=1)])
    yield "exact, faces of the back left out, vertices kept", front.copy(), False
    front.remove_unreferenced_vertices()
    yield "exact, back left out altogether", front, False
    ball = trimesh.creation.icosphere(subdivisions=4, radius=50)
    behind = np.asarray(ball.vertices) + np.array([middle[0], middle[1], high[2] + 60])
    both = np.concatenate([vertices, behind])
    yield (
        "exact, and a ball behind the head",
        other(exact, both, np.r_[faces, ball.faces + len(vertices)]),
        False,
    )


def line(evaluator: Evaluator, truth: Truth, name: str, mesh: trimesh.Trimesh, landmarks: bool) -> str:
    """One row of the table."""
    prediction = Prediction(mesh, landmarks=truth.landmarks if landmarks else None)
    cells, notes = [], []
    for mode in ("official", "strict"):
        for region in ("face_sphere", None):
            score: Any = evaluator.evaluate(prediction, region=region, mode=mode)
            cells.append(f"{score.mean_mm:.2f}")
            if mode == "official":
                icp = score.result.icp
                found = f"×{score.result.scale:.2f}, {icp.iterations}{'+' if icp.capped else ''} steps"
                notes.append(found + (", mirrored" if score.result.reflected else ""))
    return f"| {name} | " + " | ".join(cells) + f" | {notes[0]} | {notes[1]} |"


def main(arguments: list[str]) -> None:
    """Prints the table, and puts it into the docs if they are named."""
    options = options_of({"docs": None}, arguments)
    logging.disable(logging.WARNING)
    demo = GroundTruth(DEMO / "full_head.obj", DEMO / "landmarks.txt", DEMO / "regions")
    levels = [coarse_demo(demo)]
    for _ in range(3):
        vertices, faces = trimesh.remesh.subdivide(levels[-1].vertices, levels[-1].faces)
        levels.append(other(levels[-1], vertices, faces))
    truth = Truth(levels[3], levels[0], demo)
    evaluator = Evaluator(truth)
    lines = [
        f"Ground truth: {len(levels[3].vertices):,} vertices. The last two columns are what the official alignment did "
        "to the prediction: scale, steps (20+ is stopped unsettled), mirroring.",
        "",
        "| prediction | official face | official head | strict face | strict head | face alignment | head alignment |",
        "|---|---|---|---|---|---|---|",
        *(line(evaluator, truth, *each) for each in predictions(levels)),
    ]
    table = "\n".join(lines) + "\n\n" + unit_space(evaluator, levels[2])
    print(table)
    if options.docs:
        into_docs(Path(options.docs), table, MARKS)


def unit_space(evaluator: Evaluator, exact: trimesh.Trimesh) -> str:
    """What the bare official arithmetic makes of a prediction in unit space, which our evaluator refuses."""
    vertices = np.asarray(exact.vertices)
    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    radius = np.linalg.norm(vertices - middle, axis=1).max()
    small = other(exact, (vertices - middle) / radius)
    result = official(evaluator.points, PointSet(np.asarray(small.vertices)), evaluator.region("face"))
    try:
        evaluator.evaluate(small)
    except EvaluationError as error:
        return (
            f"The exact surface left in unit space: the official arithmetic scales it by {result.scale:.3g} and gives "
            f"{result.mean_mm:.2f} mm for the head. Our evaluator refuses it: `{error}`."
        )
    raise AssertionError("a prediction in unit space was scored")


if __name__ == "__main__":
    run_tool(main, __doc__)
