"""Time our official evaluator against the published package, and compare every distance.

    python tools/benchmark_evaluator.py [vertices=100000] [predictions=7] [repeats=3] [docs=FILE]

It needs `pip install h3ds` (0.4.0) for the comparison. Head and face of every prediction are scored. The
published package reads the ground truth and measures both directions in each call; ours is given the same
file, reads it once, and measures from prediction to ground truth, which is no part of the score, if asked to.
"""

import importlib
import logging
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from recon.commands.command_line import options_of, run_tool
from recon.evaluation import Evaluator, Prediction
from recon.files import replacing
from recon.meshing import clean, extract, to_world
from recon.scene import GroundTruth

REGIONS: tuple[Any, ...] = (None, "face_sphere")
SCENE = "0123456789abcdef"
SCALE_MM = 150.0
MARKS = ("<!-- benchmark_evaluator -->", "<!-- /benchmark_evaluator -->")


def head(bumps: float, seed: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Something like the distance to a head looking towards -z, y down, with smooth errors (unit space)."""
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.randn(8, 3, generator=generator) * 4
    phase = torch.rand(8, generator=generator) * 6.28

    def distance(x: torch.Tensor) -> torch.Tensor:
        skull = (x / x.new_tensor([0.55, 0.75, 0.65])).norm(dim=1) * 0.6 - 0.6
        nose = (x - x.new_tensor([0.0, 0.1, -0.68])).norm(dim=1) - 0.1
        blended = -torch.logsumexp(torch.stack([-skull, -nose]) * 20, dim=0) / 20
        return blended + bumps * torch.sin(x @ frequency.T + phase).sum(dim=1) / 8

    return distance


def mesh_of(bumps: float, seed: int, vertices: int) -> trimesh.Trimesh:
    """A marching cubes mesh of about that many vertices, mm."""
    probe = len(extract(head(bumps, seed), resolution=64).vertices)
    resolution = round(64 * (vertices / probe) ** 0.5)
    return to_world(clean(extract(head(bumps, seed), resolution=resolution)), np.diag([SCALE_MM] * 3 + [1.0]))


def write_root(root: Path, mesh: trimesh.Trimesh) -> None:
    """As much of the H3DS layout as the published evaluator reads."""
    folder = root / SCENE
    (folder / "regions").mkdir(parents=True)
    vertices = np.asarray(mesh.vertices)
    tip = int(vertices[:, 2].argmin())
    near = np.linalg.norm(vertices - vertices[tip], axis=1)
    regions = {"face": vertices[:, 2] < 0.1 * SCALE_MM, "face_sphere": near < 95, "nose": near < 35}
    for name, inside in regions.items():
        (folder / "regions" / f"{name}.txt").write_text("\n".join(map(str, np.flatnonzero(inside))) + "\n")
    names = ("right_eye", "left_eye", "nose_tip", "nose_base", "right_lips", "left_lips")
    (folder / "landmarks.txt").write_text("\n".join(f"{name} {tip}" for name in names))
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    lines += [f"f {a} {b} {c}" for a, b, c in np.asarray(mesh.faces) + 1]
    (folder / "full_head.obj").write_text("\n".join(lines) + "\n")
    (root / "version.txt").write_text("0.0\n")
    (root / "config.toml").write_text(
        f'version = 0.0\nfile_id = ""\nfile_md5 = ""\n[scenes.{SCENE}]\nviews = 0\n'
        f"[scenes.{SCENE}.default_views_configs]\n"
    )


def ours(root: Path, predictions: list[trimesh.Trimesh], both: bool) -> list[tuple[np.ndarray, ...]]:
    """Distances for each prediction and region, in both directions or only those that are scored."""
    folder = root / SCENE
    truth = GroundTruth(folder / "full_head.obj", folder / "landmarks.txt", folder / "regions")
    evaluator = Evaluator(truth)
    found: list[tuple[np.ndarray, ...]] = []
    for mesh in predictions:
        prediction = Prediction(mesh)
        for region in REGIONS:
            result: Any = evaluator.evaluate(prediction, region=region).result
            found.append((result.distances_gt, result.distances_pred) if both else (result.distances_gt,))
    return found


def published(root: Path, predictions: list[trimesh.Trimesh]) -> list[tuple[np.ndarray, ...]]:
    """The same by the published package."""
    dataset = importlib.import_module("h3ds.dataset")
    data = dataset.H3DS(path=str(root), config_path=str(root / "config.toml"))
    return [data.evaluate_scene(SCENE, mesh, None, region)[:2] for mesh in predictions for region in REGIONS]


def prepare_published() -> bool:
    """Imports the published package, gives it the alias it needs, and takes the process's logging back."""
    logger_class = logging.getLoggerClass()
    try:
        importlib.import_module("h3ds.dataset")
    except ImportError:
        return False
    finally:
        logging.setLoggerClass(logger_class)
    if not hasattr(np, "int"):
        np.int = int  # type: ignore[attr-defined]
    return True


def timed(repeats: int, function: Callable[..., Any], *arguments: Any) -> tuple[float, float, Any]:
    """Shortest wall time, shortest processor time, result."""
    best, result = (np.inf, np.inf), None
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        result = function(*arguments)
        best = min(best[0], time.perf_counter() - wall), min(best[1], time.process_time() - cpu)
    return *best, result


def main(arguments: list[str]) -> None:
    """Prints the table, and puts it into the docs if they are named."""
    defaults = {"vertices": 100_000, "predictions": 7, "repeats": 3, "docs": None}
    options = options_of(defaults, arguments)
    logging.disable(logging.WARNING)
    truth = mesh_of(0.0, 0, options.vertices)
    errors = np.geomspace(0.06, 0.005, options.predictions)
    predictions = [mesh_of(float(e), i + 1, options.vertices) for i, e in enumerate(errors)]
    with tempfile.TemporaryDirectory() as folder:
        write_root(Path(folder), truth)
        wall_1, cpu_1, _ = timed(options.repeats, ours, Path(folder), predictions, False)
        wall_2, cpu_2, mine = timed(options.repeats, ours, Path(folder), predictions, True)
        rows = [("ours, scores", wall_1, cpu_1), ("ours, both directions", wall_2, cpu_2)]
        apart = "not compared"
        if prepare_published():
            wall, cpu, theirs = timed(options.repeats, published, Path(folder), predictions)
            rows.insert(0, ("published package 0.4.0", wall, cpu))
            pairs = zip(mine, theirs, strict=True)
            largest = max(float(np.abs(a - b).max()) for m, t in pairs for a, b in zip(m, t, strict=True))
            apart = f"{largest:.1e} mm"
        else:
            print("the published package is not installed (pip install h3ds): timing ours alone")
    lines = [
        f"| {name} | {w:.2f} | {rows[0][1] / w:.1f}× | {c:.2f} | {rows[0][2] / c:.1f}× |"
        for name, w, c in rows
    ]
    table = "\n".join(
        [
            f"{options.predictions} predictions of one scene, head and face. Ground truth: "
            f"{len(truth.vertices):,} vertices; predictions: about {len(predictions[0].vertices):,}. Shortest of "
            f"{options.repeats} runs on {os.cpu_count()} {platform.machine()} cores, Python "
            f"{platform.python_version()}, NumPy {np.__version__}. Largest difference between the distances of "
            f"the two programs: {apart}.",
            "",
            "| | wall s | faster | processor s | less |",
            "|---|---|---|---|---|",
            *lines,
        ]
    )
    print(table)
    if options.docs:
        into_docs(Path(options.docs), table)


def into_docs(path: Path, table: str, marks: tuple[str, str] = MARKS) -> None:
    """Replaces what stands between the marks."""
    start, end = map(re.escape, marks)
    content = f"{marks[0]}\n{table}\n{marks[1]}"
    text = re.sub(f"{start}.*?{end}", lambda _: content, path.read_text(), flags=re.DOTALL)
    with replacing(path) as temporary:
        temporary.write_text(text)


if __name__ == "__main__":
    run_tool(main, __doc__)
