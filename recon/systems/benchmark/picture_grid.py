"""The picture grid of a benchmark."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import trimesh

from recon import scene as scenes
from recon.errors import ConfigError, ReconError
from recon.evaluation import Evaluator, OfficialResult, Prediction
from recon.evaluation.comparison_sheet import Result, Row, Subject, draw_row, write_grid
from recon.evaluation.predictions import read_landmarks, read_mesh
from recon.systems.benchmark.results import Run
from recon.systems.benchmark.summary import Report


def write(
    report: Report,
    folders: Mapping[str, Path],
    out: Path,
    views: int | None,
    clip_mm: float,
    say: Callable[[str], None],
) -> Path:
    """Draws the subjects whose scenes are at hand, of each method the run of the lowest seed.

    Args:
        report: of the runs.
        folders: scene folders by name.
        out: folder of the benchmark.
        views: number of views to show, for `grid_<views>.png`; None for `grid.png` of 3 views where there are
            such runs, else of the fewest.
        clip_mm: upper end of the colour scale.
        say: told of every row.

    Returns:
        The picture.

    Raises:
        ConfigError: there are no runs with that number of views.
    """
    if not report.views or (views is not None and views not in report.views):
        raise ConfigError(f"grid_views={views}: there are runs with {report.views or 'no'} views")
    shown = views if views is not None else 3 if 3 in report.views else report.views[0]
    runs: dict[str, dict[str, Run]] = {}
    for run in report.good:
        if run.cell.views == shown and run.cell.scene in folders:
            runs.setdefault(run.cell.scene, {}).setdefault(run.cell.method, run)
    methods = [m for m in report.rows_present if any(m in of_scene for of_scene in runs.values())]
    rows = []
    for name, of_scene in runs.items():
        rows.append(_row(folders[name], of_scene, methods, out, clip_mm))
        say(f"[{len(rows)}/{len(runs)}] drew {name}")
    path = out / ("grid.png" if views is None else f"grid_{views}.png")
    title = (
        f"{report.data}, {shown} view{'s' if shown > 1 else ''}; distance of the ground truth to the "
        "reconstruction, official alignment of the head; below: face / head in mm, official"
    )
    write_grid(path, rows, methods, title=title, clip_mm=clip_mm)
    return path


def _row(folder: Path, runs: Mapping[str, Run], methods: list[str], out: Path, clip_mm: float) -> Row:
    scene = scenes.open(folder)
    truth = scene.ground_truth
    if truth is None:
        raise ConfigError(f"{folder} has no ground truth: nothing to compare with")
    evaluator = Evaluator(truth, name=scene.name)
    view = _most_frontal(scene, next(iter(runs.values())).metrics["views"])
    subject = Subject(scene.name, scene.views[view].image(), truth.mesh(), truth.landmarks)
    results = {method: _result(evaluator, run, out) for method, run in runs.items()}
    return draw_row(subject, results, methods, clip_mm)


def _most_frontal(scene: scenes.Scene, views: Sequence[int]) -> int:
    """Of the input views the one that sees most of the face; the first where that is not known."""
    front = scene.front()
    if front is None:
        return views[0]
    centres = {view: scene.views[view].camera.transformed(scene.unit_from_world).centre for view in views}
    return max(views, key=lambda view: float(centres[view] @ front / np.linalg.norm(centres[view])))


def _result(evaluator: Evaluator, run: Run, out: Path) -> Result | None:
    """A run's mesh as the official protocol aligns it; None where it cannot be scored."""
    try:
        path = run.cell.folder(out) / "mesh.ply"
        mesh, landmarks = read_mesh(path), read_landmarks(path)
        result = evaluator.evaluate(Prediction(mesh, landmarks=landmarks, name=str(run.cell))).result
    except ReconError:
        return None
    assert isinstance(result, OfficialResult)
    aligned = trimesh.Trimesh(result.aligned, np.asarray(mesh.faces), process=False)
    face, head = run.metrics.get("face_mm"), run.metrics.get("head_mm")
    caption = "not scored" if face is None or head is None else f"{face:.2f} / {head:.2f} mm"
    return Result(aligned, result.distances_gt, caption)
