"""What a finished run leaves: mesh.ply and mesh.glb, renders/*.png, metrics.json."""

import json
import logging
import resource
import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from scipy.spatial import cKDTree

from recon.errors import ReconError
from recon.evaluation import Evaluator, Prediction, mask_iou, psnr
from recon.files import replacing
from recon.meshing import clean, extract, save, to_world
from recon.rendering import CameraBundle, SurfaceBounds, surface_colours
from recon.systems.config import device_of
from recon.systems.report import diagnostics as diagnostics
from recon.systems.report.diagnostics import Diagnostics
from recon.systems.report.pictures import compare, write_png
from recon.systems.run import Task

log = logging.getLogger(__name__)


def write(task: Task) -> dict[str, Any]:
    """Write everything of the run folder that comes after training, and return what metrics.json holds.

    Raises:
        MeshError: if the field has no surface.
    """
    with Writer(task) as writer:
        return writer.write()


class Writer:
    """Writes what comes after training. To be entered before: a surface that training does not change is extracted and
    scored meanwhile, and any other scored while the rest is written; pictures are rendered beside the mesh's colours.

    Args:
        task: The run.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self._beside = ThreadPoolExecutor(2, "outputs")
        self._found: Future[Found] | None = None

    def __enter__(self) -> "Writer":
        """Begin with what need not wait for the training."""
        if self.task.cfg.method.surface_points and device_of(self.task.cfg).type == "cpu":
            self._find()
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what has not begun."""
        self._beside.shutdown(cancel_futures=True)

    def _find(self) -> "Future[Found]":
        """Extract the surface and then score it, in a thread."""
        found = self._found = self._beside.submit(_extracted, self.task)
        self._scores = self._beside.submit(lambda: _score(self.task, found.result()))
        return found

    def write(self) -> dict[str, Any]:
        """Write mesh, pictures and metrics.json, and return what that holds.

        Raises:
            MeshError: if the field has no surface.
        """
        task = self.task
        task.system.eval().to(device_of(task.cfg))
        task.timeline.lap("other")
        begun = time.monotonic()
        found = (self._found or self._find()).result()
        mesh = found.mesh
        task.timeline.lap("mesh")
        pictures = self._beside.submit(_pictures, task, found.bounds)
        judged = _write_mesh(task, found)
        mesh_s = time.monotonic() - begun
        log.info("mesh: %d vertices in %.1f s", len(mesh.vertices), mesh_s)
        inputs, others = pictures.result()
        task.timeline.lap("renders")
        errors = self._scores.result() | {"std_holds": _held(task, mesh, judged)}
        task.timeline.lap("evaluate")
        metrics = {
            "scene": task.scene.name,
            "views": task.views,
            "method": task.cfg.method.name,
            "prior": task.prior,
            "seed": task.cfg.seed,
            "device": str(device_of(task.cfg)),
            "steps": task.system.steps,
            "train_s": round(task.train_s, 2),
            "mesh_s": round(mesh_s, 2),
            "wall_s": None,
            "peak_rss_mb": None,
            "mesh_vertices": len(mesh.vertices),
            "psnr_input": inputs["psnr"],
            "psnr_heldout": others["psnr"],
            "mask_iou_input": inputs["mask_iou"],
            "mask_iou_heldout": others["mask_iou"],
            **errors,
            **judged.metrics(),
        }
        metrics["timeline"] = task.timeline.seconds()
        metrics["wall_s"] = round(time.monotonic() - task.started, 2)
        metrics["peak_rss_mb"] = _peak_rss_mb()
        with replacing(task.folder / "metrics.json") as temporary:
            temporary.write_text(json.dumps(metrics, indent=2) + "\n")
        _report(task, metrics)
        return metrics


class Found(NamedTuple):
    """The surface of a run.

    Attributes:
        mesh: World mm.
        bounds: Where it is, pieces included that the mesh leaves out.
        landmarks: Its vertices nearest to the landmarks that the prior knows, by name.
    """

    mesh: trimesh.Trimesh
    bounds: SurfaceBounds
    landmarks: Mapping[str, int]


def _extracted(task: Task) -> Found:
    """The surface that there is now."""
    device, resolution = device_of(task.cfg), task.cfg.mesh.resolution
    everything = extract(task.system.sdf.sdf, resolution=resolution, device=device)
    bounds = SurfaceBounds(
        torch.as_tensor(everything.vertices, dtype=torch.float32, device=device), 1.5 * 2 / resolution
    )
    mesh = to_world(clean(everything), task.scene.scale_mat)
    return Found(mesh, bounds, _landmarks(task, mesh))


def _write_mesh(task: Task, found: Found) -> Diagnostics:
    """Colour the mesh as the input cameras see it, judge it, and write it with its landmarks."""
    system, mesh = task.system, found.mesh
    points = diagnostics.in_unit(np.asarray(mesh.vertices), task.scene.scale_mat).to(device_of(task.cfg))
    colours, normals = (
        t.cpu().double().numpy()
        for t in surface_colours(system.sdf, system.colour, points, system.cameras.centres.detach())
    )
    task.timeline.lap("colours")
    normals = normals @ _rotation(task.scene.scale_mat).T
    judged = diagnostics.write(task, mesh, normals, deviation=task.deviation, life_size=task.life_size)
    task.timeline.lap("diagnostics")
    for name in ("mesh.ply", "mesh.glb"):
        save(mesh, task.folder / name, colours=colours, normals=normals, extra=judged.extra())
    if found.landmarks:
        with replacing(task.folder / "mesh.landmarks.json") as temporary:
            temporary.write_text(json.dumps(found.landmarks, indent=1) + "\n")
    task.timeline.lap("mesh")
    return judged


def _pictures(task: Task, bounds: SurfaceBounds) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Write the pictures of input and held-out views, and return the mean scores of both."""
    others = [view for view in range(len(task.scene.views)) if view not in task.views]
    return (
        _render(task, list(dict.fromkeys(task.views)), "input", bounds),
        _render(task, _spread(others, task.cfg.render.heldout), "heldout", bounds),
    )


def _render(task: Task, views: list[int], kind: str, bounds: SurfaceBounds) -> dict[str, float | None]:
    """Write photo | render | normals | error for views, and return mean PSNR (dB, inside the mask) and mask
    IoU.
    """
    scores: list[tuple[float, float]] = []
    for view_id in views:
        view = task.scene.views[view_id]
        # Input views are seen from their refined cameras, held-out views from the given ones.
        if kind == "input":
            cameras, index = task.system.cameras, task.views.index(view_id)
        else:
            cameras, index = CameraBundle([view.camera], task.scene.scale_mat).to(device_of(task.cfg)), 0
        if not (view.mask() & ~view.ignored()).any():
            continue
        picture = compare(task.system, cameras, index, view, step=task.cfg.render.step, bounds=bounds)
        told = picture.told
        scores.append(
            (
                psnr(picture.render, picture.photo, picture.mask & told),
                mask_iou(picture.hit & told, picture.mask & told),
            )
        )
        write_png(task.folder / "renders" / f"{kind}_{view_id:04d}.png", picture.sheet())
        log.info("%s view %d: PSNR %.1f dB, mask IoU %.3f", kind, view_id, *scores[-1])
    if not scores:
        return {"psnr": None, "mask_iou": None}
    mean = np.mean(scores, axis=0)
    return {"psnr": round(float(mean[0]), 3), "mask_iou": round(float(mean[1]), 4)}


def _score(task: Task, found: Found) -> dict[str, Any]:
    """Errors against the ground truth in mm, official protocol and strict; null without ground truth."""
    scores: dict[str, Any] = {
        "protocol": None,
        "landmarks": None,
        "face_mm": None,
        "head_mm": None,
        "face_mm_strict": None,
        "head_mm_strict": None,
    }
    truth = task.scene.ground_truth
    if truth is None or not task.cfg.evaluate:
        return scores
    # The official alignment takes all landmarks of the truth, or none.
    scores["landmarks"] = bool(truth.landmarks) and truth.landmarks.keys() <= found.landmarks.keys()
    evaluator = Evaluator(truth, name=task.scene.name)
    prediction = Prediction(found.mesh.copy(), landmarks=found.landmarks if scores["landmarks"] else None)
    regions: dict[str, Literal["face_sphere"] | None] = {"face": "face_sphere", "head": None}
    modes: dict[str, Literal["official", "strict"]] = {"mm": "official", "mm_strict": "strict"}
    for name, region in regions.items():
        for suffix, mode in modes.items():
            try:
                evaluation = evaluator.evaluate(prediction, region=region, mode=mode)
            except ReconError as error:
                log.warning("%s error (%s) cannot be told: %s", name, mode, error)
                continue
            scores[f"{name}_{suffix}"] = round(evaluation.mean_mm, 4)
            if mode == "official":
                scores["protocol"] = evaluation.protocol
    return scores


def _landmarks(task: Task, mesh: trimesh.Trimesh) -> dict[str, int]:
    """Vertices of a mesh (world mm) nearest to the landmarks that the prior knows, by name."""
    if not task.landmarks:
        return {}
    places = np.stack(list(task.landmarks.values()))
    nearest = cKDTree(np.asarray(mesh.vertices)).query(places)[1]
    return {name: int(vertex) for name, vertex in zip(task.landmarks, nearest, strict=True)}


def _held(task: Task, mesh: trimesh.Trimesh, judged: Diagnostics) -> float | None:
    """How often the predicted deviation holds; null without ground truth or deviation."""
    truth = task.scene.ground_truth
    return None if truth is None or not task.cfg.evaluate else judged.held(mesh, truth.mesh())


def _spread(views: list[int], count: int | None) -> list[int]:
    """`count` of the views, evenly over their order; all of them for None."""
    if count is None or count >= len(views):
        return views
    at = np.linspace(0, len(views), count, endpoint=False).astype(int)
    return [views[i] for i in at]


def _rotation(similarity: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "3 3"]:
    linear = similarity[:3, :3]
    return linear / np.cbrt(np.linalg.det(linear))


def _peak_rss_mb() -> float:
    """Peak resident memory of the process; the kernel counts kilobytes on Linux and bytes on macOS."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024**2 if sys.platform == "darwin" else 1024), 1)


def _report(task: Task, metrics: Mapping[str, Any]) -> None:
    """Say what came out."""
    if metrics["face_mm"] is not None:
        log.info(
            "face %.2f mm, head %.2f mm (%s); strict %s / %s mm",
            metrics["face_mm"], metrics["head_mm"], metrics["protocol"],
            metrics["face_mm_strict"], metrics["head_mm_strict"],
        )  # fmt: skip
    log.info(
        "done in %.0f s (training %.0f s, mesh %.1f s), peak memory %.0f MB",
        metrics["wall_s"], metrics["train_s"], metrics["mesh_s"], metrics["peak_rss_mb"],
    )  # fmt: skip
    log.info("time line: %s", task.timeline)
    log.info("look at %s and %s", task.folder / "mesh.glb", task.folder / "renders")
