"""What plain photographs cost against true cameras: python tools/benchmark_photographs.py scenes=heads views=3.

Views of scenes in the H3DS layout with ground truth (SynthHeads-10: `headrecon-make-scenes split=synthheads10
out=heads`) are written as plain JPEG files, cameras and masks thrown away; calibration finds them again, and the
instant method makes a head of them. Reported for each person: how far the cameras are off, in degrees and mm, after
the similarity that takes them closest to the true ones; how far focal lengths are off; overlap of the scene's masks
with the true ones above the collar, where they are not ignored; errors of the head by both protocols; seconds of
reading and looking, of calibration, and of the fit; peak memory. One process a person.

Options, as `name=value`:
    scenes      folder of scenes
    subjects    names, or how many; null for all
    views       numbers of photographs: 3, 1 or [1,3]
    out         folder of photographs, scenes and results.json
    given       also the same views with their true cameras and masks
    clutter     seed of cluttered backgrounds with a second person's shoulder; null keeps the scene's own
    orientation EXIF orientation by which photographs are stored: 1, 3, 6, 8
    turned      seed of turns of the body against the head, another one in each photograph; null leaves the scene's
    focal       whether EXIF tells the focal length
    long_side   pixels of the photographs' longer side (4000 makes 12 megapixels of 4:3); null is the scene's own
    head        whether a head is fitted and scored, or calibration alone is measured
"""

import json
import multiprocessing
import resource
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from omegaconf import DictConfig
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon import scene as scenes
from recon.calibration import CalibratedScene, scene_from_photographs
from recon.calibration.joint import below_collar
from recon.commands.command_line import options_of, run_tool
from recon.errors import ConfigError, ReconError
from recon.evaluation import Evaluator, Prediction
from recon.evaluation.official import OfficialResult
from recon.evaluation.tables import markdown_table
from recon.geometry.frames import CanonicalFrame, similarity, transform
from recon.meshing import clean, extract, to_world
from recon.perception import Perception, read_photograph
from recon.priors import FittedHead, PCAPrior, load_shape_prior
from recon.priors.pca_prior import COLLAR_MM
from recon.priors.shipped import PCA as PRIOR
from recon.priors.shipped import hash_of, shipped
from recon.scene import Camera, Scene
from recon.synth.body.neck import draw_turn
from recon.synth.datasets.plain_photographs import Storage, write_plain_photographs
from recon.synth.datasets.relighting import RelitSubject
from recon.systems.benchmark.machine import machine, revision
from recon.systems.stages import observe

DEFAULTS = {
    "scenes": "heads", "subjects": None, "views": 3, "out": "runs/photographs", "given": False, "clutter": None,
    "turned": None, "orientation": 1, "focal": False, "long_side": None, "head": True,
}  # fmt: skip
RESOLUTION = 512
"""Cells along the side of the cube about a scene's unit sphere, as in `train.py`: the official protocol measures to the
nearest vertex, so that it depends on them."""
COLUMNS = {
    "turn_deg": "turn, mean", "worst_deg": "worst", "centre_mm": "centre mm", "focal_percent": "focal %",
    "said_deg": "said", "iou": "mask IoU", "face_mm": "face", "head_mm": "head", "above_mm": "above collar",
    "face_mm_strict": "face strict",
    "head_mm_strict": "head strict", "see_s": "see s", "calibrate_s": "calibrate s", "fit_s": "fit s",
    "peak_mb": "peak MB",
}  # fmt: skip
"""What is measured, and the headings of the table."""


def main(arguments: Sequence[str]) -> None:
    """Measures, prints a table for each number of views, and writes results.json."""
    cfg = options_of(DEFAULTS, arguments)
    folders = chosen(Path(cfg.scenes), cfg.subjects)
    counts = [cfg.views] if isinstance(cfg.views, int) else list(cfg.views)
    rows = []
    for count in counts:
        for kind in ("photographs", "given") if cfg.given else ("photographs",):
            for folder in folders:
                stranger = folders[(folders.index(folder) + 1) % len(folders)]
                row = {"kind": kind, "views": count, "subject": folder.name}
                rows.append(row | in_own_process(folder, stranger, count, kind, cfg))
                print(_line(rows[-1]), flush=True)
    out = Path(cfg.out)
    made = {"command": " ".join(sys.argv), "machine": machine(), "revision": revision()}
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(made | {"rows": rows}, indent=1) + "\n")
    print(table(rows))


def chosen(root: Path, subjects: Any) -> list[Path]:
    """Folders of the scenes.

    Raises:
        ConfigError: There are none.
    """
    folders = sorted(path.parent for path in root.glob("*/cameras.npz"))
    if isinstance(subjects, int):
        folders = folders[:subjects]
    elif subjects is not None:
        folders = [root / str(name) for name in subjects]
    if not folders or not all(folder.is_dir() for folder in folders):
        raise ConfigError(
            f"scenes={root} holds no such scenes: headrecon-make-scenes makes them, subjects= names some"
        )
    return folders


def in_own_process(folder: Path, stranger: Path, count: int, kind: str, cfg: DictConfig) -> dict[str, Any]:
    """What `measured` returns; its memory is that of this person alone."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_send, args=(theirs, folder, stranger, count, kind, cfg))
    process.start()
    theirs.close()
    try:
        result: dict[str, Any] = ours.recv()
    except EOFError:
        result = {"error": "the process died"}
    process.join()
    return result


def _send(pipe: Connection, folder: Path, stranger: Path, count: int, kind: str, cfg: DictConfig) -> None:
    try:
        pipe.send(measured(folder, stranger, count, kind, cfg))
    except ReconError as error:
        pipe.send({"error": f"{type(error).__name__}: {error}"})


def measured(folder: Path, stranger: Path, count: int, kind: str, cfg: DictConfig) -> dict[str, Any]:
    """Everything that is measured of one person, by the keys of `COLUMNS`."""
    truth = scenes.open(folder)
    views = truth.select(count)
    result: dict[str, Any] = {}
    if kind == "given":
        observations = observe(truth, views)
    else:
        found, times = calibrated(truth, scenes.open(stranger), views, cfg)
        result |= times | camera_errors(truth, views, found) | {"iou": masks_overlap(truth, views, found)}
        observations = observe(found.scene, found.scene.available())
    if cfg.head:
        begun = time.perf_counter()
        head = PCAPrior(str(shipped(PRIOR))).fit(observations)
        result["fit_s"] = time.perf_counter() - begun
        result |= scores(truth, head, observations.world_from_unit)
    return result | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def calibrated(
    truth: Scene, stranger: Scene, views: Sequence[int], cfg: DictConfig
) -> tuple[CalibratedScene, dict[str, Any]]:
    """The scene that calibration makes of plain photographs, with seconds and the warnings of perception."""
    out = Path(cfg.out) / f"{len(views)}"
    folder = out / "photographs" / truth.name
    shutil.rmtree(folder, ignore_errors=True)
    storage = Storage(cfg.long_side, cfg.orientation, cfg.focal)
    pictures = None
    if cfg.turned is not None:
        subject = RelitSubject.from_scene(truth)
        rng = np.random.default_rng([cfg.turned, *truth.name.encode()])
        pictures = [subject.photograph_turned(truth.views[view].camera, draw_turn(rng)) for view in views]
    paths = write_plain_photographs(
        truth,
        views,
        folder,
        storage,
        pictures=pictures,
        clutter=cfg.clutter,
        stranger=None if cfg.clutter is None else stranger,
    )
    begun = time.perf_counter()
    seen = Perception().see_all([read_photograph(path) for path in paths])
    looked = time.perf_counter()
    path = shipped(PRIOR)
    prior = load_shape_prior(path, hash_of(path))
    opened = time.perf_counter()
    found = scene_from_photographs(seen, out / "scenes" / truth.name, prior, overwrite=True)
    times: dict[str, Any] = {"see_s": looked - begun, "calibrate_s": time.perf_counter() - opened}
    remarks = [w.message for each in seen for w in each.warnings]
    return found, times | ({"warnings": remarks} if remarks else {})


def camera_errors(truth: Scene, views: Sequence[int], found: CalibratedScene) -> dict[str, Any]:
    """Errors of the cameras about the true ones: of directions and centres after a similarity, where there are at
    least two; of focal lengths, signed, mean in percent of the true ones; and the turn that calibration expects.
    """
    used = [
        (report.view, number) for number, report in enumerate(found.photographs) if report.view is not None
    ]
    refused = len(found.photographs) - len(used)
    ours = [found.scene.views[view].camera for view, _ in used]
    theirs = [truth.views[views[number]].camera for _, number in used]
    focal = []
    for camera, other, (_, number) in zip(ours, theirs, used, strict=True):
        crop = found.photographs[number].crop
        assert crop is not None
        in_widths = camera.intrinsics[0, 0] * (crop[2] - crop[0]) / camera.width
        focal.append(100 * (in_widths * other.width / other.intrinsics[0, 0] - 1))
    said = [r.uncertainty.rotation_deg for r in found.photographs if r.uncertainty is not None]
    result = {"focal_percent": float(np.mean(focal)), "said_deg": float(np.mean(said)), "refused": refused}
    if len(ours) < 2:
        return result
    turn, centre = aligned_errors(ours, theirs)
    return result | {
        "turn_deg": float(turn.mean()),
        "worst_deg": float(turn.max()),
        "centre_mm": float(centre.mean()),
        "turns_deg": turn.round(3).tolist(),
    }


def aligned_errors(
    ours: Sequence[Camera], theirs: Sequence[Camera]
) -> tuple[Float[np.ndarray, " cameras"], Float[np.ndarray, " cameras"]]:
    """Degrees and mm that are left of cameras after the mean turn, and the scale and shift that suit their centres."""
    turns = [
        b.world_from_camera[:3, :3] @ a.world_from_camera[:3, :3].T for a, b in zip(ours, theirs, strict=True)
    ]
    mean = Rotation.from_matrix(np.stack(turns)).mean().as_matrix()
    degrees = np.degrees(Rotation.from_matrix(np.stack(turns) @ mean.T).magnitude())
    a = np.stack([camera.centre for camera in ours]) @ mean.T
    b = np.stack([camera.centre for camera in theirs])
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    scale = (a * b).sum() / (a * a).sum()
    return degrees, np.linalg.norm(scale * a - b, axis=1)


def masks_overlap(truth: Scene, views: Sequence[int], found: CalibratedScene) -> float:
    """Mean intersection over union of the masks found and true, above the true collar and where none is ignored."""
    canonical = canonical_from_world(truth)
    overlaps = []
    for number, report in enumerate(found.photographs):
        if report.view is None:
            continue
        assert report.crop is not None
        view, true = found.scene.views[report.view], truth.views[views[number]]
        left, top, right, bottom = report.crop
        height, width = view.mask().shape
        y = (top + (np.arange(height) + 0.5) / height * (bottom - top)) * true.camera.height
        x = (left + (np.arange(width) + 0.5) / width * (right - left)) * true.camera.width
        rows, columns = y.astype(int), x.astype(int)
        below = below_collar(true.camera.transformed(canonical))
        ignored = view.ignored()
        shown = ~below[np.ix_(rows, columns)] & (True if ignored is None else ~ignored)
        ours, theirs = view.mask() & shown, true.mask()[np.ix_(rows, columns)] & shown
        overlaps.append((ours & theirs).sum() / max((ours | theirs).sum(), 1))
    return float(np.mean(overlaps))


def canonical_from_world(truth: Scene) -> Float[np.ndarray, "4 4"]:
    """Similarity from a scene's world to canonical mm, by its true landmarks."""
    assert truth.ground_truth is not None
    vertices = np.asarray(truth.ground_truth.mesh().vertices)
    places = load_canonical().landmarks_mm
    names = [name for name in truth.ground_truth.landmarks if name in places]
    return similarity(
        np.stack([vertices[truth.ground_truth.landmarks[name]] for name in names]),
        np.array([places[name] for name in names]),
    )


def load_canonical() -> CanonicalFrame:
    """The canonical frame of the shipped prior."""
    path = shipped(PRIOR)
    return load_shape_prior(path, hash_of(path)).canonical


def scores(truth: Scene, head: FittedHead, world_from_unit: Float[np.ndarray, "4 4"]) -> dict[str, float]:
    """Errors of a fitted head against the truth, by both protocols."""
    assert truth.ground_truth is not None
    world_from_canonical = np.linalg.inv(head.fit.canonical_from_world)
    larger = np.cbrt(np.linalg.det(world_from_canonical[:3, :3]) / np.linalg.det(world_from_unit[:3, :3]))
    shape = head.shape.shape_of(torch.zeros(0))
    mesh = to_world(clean(extract(shape.sdf, resolution=round(RESOLUTION * larger))), world_from_canonical)
    landmarks = head.landmarks()
    assert truth.ground_truth is not None
    evaluator = Evaluator(truth.ground_truth, name=truth.name)
    vertices = np.asarray(mesh.vertices)
    nearest = {
        name: int(np.linalg.norm(vertices - landmarks[name], axis=1).argmin())
        for name in truth.ground_truth.landmarks
    }
    prediction = Prediction(mesh, landmarks=nearest)
    found = {
        f"{label}_mm{suffix}": evaluator.evaluate(prediction, region=region, mode=mode)  # type: ignore[arg-type]
        for label, region in (("face", "face_sphere"), ("head", None))
        for suffix, mode in (("", "official"), ("_strict", "strict"))
    }
    height = transform(canonical_from_world(truth), np.asarray(evaluator.mesh.vertices))[:, 1]
    official = found["head_mm"].result
    assert isinstance(official, OfficialResult)
    above = float(official.distances_gt[height > COLLAR_MM].mean())
    return {name: score.mean_mm for name, score in found.items()} | {"above_mm": above}


def _line(row: Mapping[str, Any]) -> str:
    told = ", ".join(f"{name} {row[key]:.3g}" for key, name in COLUMNS.items() if key in row)
    return f"{row['kind']} {row['views']} {row['subject']}: {row.get('error', told)}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: every person, and means; the worst turn is the worst of all."""
    keys = [key for key in COLUMNS if any(key in row for row in rows)]
    lines = []
    for kind, count in sorted({(row["kind"], row["views"]) for row in rows}):
        own = [row for row in rows if (row["kind"], row["views"]) == (kind, count)]
        means = {key: float(np.mean(v)) for key in keys if (v := [row[key] for row in own if key in row])}
        means |= {
            key: max(row[key] for row in own if key in row)
            for key in ("worst_deg", "peak_mb")
            if key in means
        }
        for row in (*own, means | {"subject": f"{len(own)} people"}):
            values = [f"{row[key]:.3g}" if key in row else "" for key in keys]
            lines.append((f"{kind}, {count}", row["subject"], *values))
    return "\n".join(markdown_table(("what, views", "person", *(COLUMNS[key] for key in keys)), lines))


if __name__ == "__main__":
    run_tool(main, __doc__)
