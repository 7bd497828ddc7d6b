"""Measures masks of synthetic portraits before backdrops that mislead: python tools/measure_masks.py heads=6.

Renders people of whom the mask is known, puts them before a plain wall, clutter, their own shadow, another person's
shoulder, a ground of their hair's colour, and with a hand at the chin; makes masks by the network alone and with hands
and the head that calibration fits to three views; and prints a table: intersection over union above the collar, of all
pixels and of those that are not ignored (mean and worst), the share of the head that is ignored, of the shadow or
shoulder that is taken for the person, and of the hand that is left in the mask. Needs the head model ($H3D_HEAD_MODEL)
and MediaPipe's networks; about half a minute a head and backdrop. Options, as `name=value`: heads, first (seed), split,
backdrops, size (pixels), portraits (a file of renderings, made where it is not there), pictures (folder for outlines
over portraits).
"""

import pickle
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon.calibration.bundle import BundleSettings
from recon.calibration.joint import below_collar, joint_fit, without_body
from recon.calibration.landmarks import LandmarkModel
from recon.calibration.masks import head_mesh, silhouette, with_head
from recon.calibration.observing import ObservedPhotograph
from recon.calibration.placing import SOLVER_LONG_SIDE, placed_by_landmarks, placed_by_outlines, windowed
from recon.commands.command_line import options_of, run_tool, say
from recon.perception import Perception, Photograph, PhotographObservation
from recon.perception.hands import MediaPipeHandSegmenter
from recon.priors import load_shape_prior
from recon.priors.shipped import PCA, hash_of, shipped
from recon.scene import Camera
from recon.synth.body.subject import build_subject, draw_recipe
from recon.synth.datasets.backdrops import BACKDROPS, Composed, Cutout
from recon.synth.datasets.cameras import look_at
from recon.synth.datasets.portraits import to_canonical
from recon.synth.model.head_model import load_head_model
from recon.synth.model.identity import Identity, shape_head
from recon.synth.render.appearance import appearance_of
from recon.synth.render.photograph import expose
from recon.synth.render.prepared import prepare
from recon.synth.render.sensor import develop

DEFAULTS = {
    "heads": 6,
    "first": 9100,
    "split": "val",
    "backdrops": list(BACKDROPS),
    "size": 640,
    "portraits": "mask_portraits.pickle",
    "pictures": "",
}
YAWS_DEG = 0.0, -45.0, 45.0
WIDTH_MM = 460.0
CHIN_MM, BROW_MM = np.array([0.0, -78.0, 70.0]), np.array([0.0, 35.0, 90.0])
"""Canonical frame."""
COLUMNS = "IoU", "worst", "IoU used", "worst", "head ignored", "lure taken", "hand taken"


def main(arguments: list[str]) -> None:
    """Renders, looks and prints."""
    options = options_of(DEFAULTS, arguments)
    file = Path(str(options.portraits))
    if not file.is_file():
        seeds = range(int(options.first), int(options.first) + int(options.heads))
        file.write_bytes(pickle.dumps(list(portraits(seeds, str(options.split), int(options.size)))))
    shown = pickle.loads(file.read_bytes())  # noqa: S301  # its own
    for backdrop in options.backdrops:
        rows: dict[str, list[tuple[float, ...]]] = {"network": [], "with hands and head": []}
        started = time.perf_counter()
        for number in range(0, len(shown), len(YAWS_DEG)):
            views = [composed(shown, number + k, str(backdrop)) for k in range(len(YAWS_DEG))]
            people = shown[number : number + len(YAWS_DEG)]
            measure(people, views, rows, f"{backdrop}-{number}", str(options.pictures))
        for name, values in rows.items():
            say(f"{backdrop:14}{name:20}" + line(np.array(values)))
        say(
            f"{backdrop:14}{(time.perf_counter() - started) / len(shown):.1f} s a portrait, calibration and all"
        )


def portraits(seeds: range, split: str, size: int) -> Iterator[dict[str, Any]]:
    """Cut-outs of some people from three sides, with cameras in the canonical frame."""
    model = load_head_model()
    for seed in seeds:
        recipe = draw_recipe(seed, split=split, model=model)
        prepared = prepare(build_subject(recipe, model=model, spacing_mm=5.0), appearance_of(recipe))
        canonical = to_canonical(shape_head(model, Identity.from_recipe(recipe["identity"])), model)
        rng = np.random.default_rng(seed)
        for yaw in YAWS_DEG:
            turn, rise, roll = rng.normal(0.0, [4.0, 5.0, 3.0])
            distance = rng.uniform(650.0, 1200.0)
            pose = look_at(np.array([0.0, 0.0, 20.0]), yaw + turn, 2.0 + rise, distance, roll)
            focal = size * distance / WIDTH_MM
            intrinsics = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]])
            exposure = expose(prepared, Camera(intrinsics, pose, size, size))
            camera = exposure.camera.transformed(canonical)
            chin, brow = camera.project(np.stack([CHIN_MM, BROW_MM]))[0]
            cutout = Cutout(
                exposure.foreground(),
                exposure.coverage,
                exposure.hair_coverage,
                tuple(chin),
                float(np.linalg.norm(chin - brow)),
            )
            yield {"seed": seed, "camera": camera, "cutout": cutout, "sensor": prepared.appearance.sensor}
        say(f"person {seed} rendered")


def composed(shown: list[dict[str, Any]], number: int, backdrop: str) -> tuple[Composed, np.ndarray]:
    """A portrait before a backdrop: the truth, and the photograph in [0, 1]."""
    one, other = shown[number], shown[(number + len(YAWS_DEG) + 1) % len(shown)]
    kind = list(BACKDROPS).index(backdrop)
    rng = np.random.default_rng([one["seed"], number, kind])
    found = BACKDROPS[backdrop](one["cutout"], rng, other["cutout"])
    return found, develop(found.light, one["sensor"], (one["seed"], number, kind)).astype(np.float32) / 255


def measure(
    shown: list[dict[str, Any]],
    views: list[tuple[Composed, np.ndarray]],
    rows: dict[str, list[tuple[float, ...]]],
    name: str,
    pictures: str,
) -> None:
    """Adds a row for each portrait of a person: by the network alone, and after calibration of them all."""
    photographs = [Photograph(picture, Path(f"{k}.png")) for k, (_, picture) in enumerate(views)]
    before = Perception().see_all(photographs)
    after = calibrated(Perception(hands=MediaPipeHandSegmenter()).see_all(photographs))
    for index, ((truth, picture), one) in enumerate(zip(views, shown, strict=True)):
        above = ~below_collar(one["camera"])
        first, second = before[index].mask, after[index]
        ignored = np.zeros_like(second.mask) if second.ignored is None else second.ignored
        rows["network"].append(score(truth, above, first.mask, first.ignore))
        rows["with hands and head"].append(score(truth, above, second.mask, ignored))
        if pictures:
            outlines(Path(pictures) / f"{name}-{index}.png", picture, first.mask, second.mask, ignored)


def calibrated(seen: list[PhotographObservation]) -> list[ObservedPhotograph]:
    """Photographs of one person with the masks that they have after calibration, as `scene_from_photographs` does it;
    one that cannot be placed keeps the network's.
    """
    path = shipped(PCA)
    prior = load_shape_prior(path, hash_of(path))
    model = LandmarkModel.from_prior(prior)
    result = [ObservedPhotograph.from_observation(each) for each in seen]
    placed, refused = placed_by_landmarks(result, model, BundleSettings())
    placed, _ = placed_by_outlines(result, placed, refused, prior, model)
    order = sorted(placed)
    parts = [windowed(result[index], placed[index].camera, SOLVER_LONG_SIDE) for index in order]
    by_landmarks = [placed[index].how == "landmarks" for index in order]
    fit = joint_fit(prior, model, [view for view, _ in parts], [camera for _, camera in parts], by_landmarks)
    mesh = head_mesh(fit.shape, prior.canonical)
    for index, fitted in zip(order, fit.cameras, strict=True):
        camera = replace(placed[index].camera, world_from_camera=fitted.world_from_camera)
        result[index] = without_body(
            with_head(result[index], camera, silhouette(mesh, camera), fit.outline_mm), camera
        )
    return result


def score(
    truth: Composed,
    above: Bool[np.ndarray, "h w"],
    mask: Bool[np.ndarray, "h w"],
    ignored: Bool[np.ndarray, "h w"],
) -> tuple[float, ...]:
    """What the table shows of one portrait; nan where there is no lure or hand."""

    def share(part: np.ndarray, of: np.ndarray) -> float:
        return float((part & of).sum() / of.sum()) if of.any() else float("nan")

    seen = above & ~truth.hand
    both, either = mask & truth.mask & seen, (mask | truth.mask) & seen
    return (
        share(both, either),
        share(both, either & ~ignored),
        share(ignored, truth.mask & seen),
        share(mask & ~ignored, truth.lure & above),
        share(mask & ~ignored, truth.hand & above),
    )


def line(values: np.ndarray) -> str:
    """Means and worst values."""
    if not len(values):
        return "none was placed"
    with np.errstate(invalid="ignore"):
        means = [np.nan if np.isnan(column).all() else np.nanmean(column) for column in values.T]
    numbers = means[0], values[:, 0].min(), means[1], values[:, 1].min(), *means[2:]
    return "  ".join(f"{name} {value:.4f}" for name, value in zip(COLUMNS, numbers, strict=True))


def outlines(
    path: Path, picture: np.ndarray, before: np.ndarray, after: np.ndarray, ignored: np.ndarray
) -> None:
    """Writes a portrait with the outlines of both masks, the first blue, the second green; what is ignored is dark."""
    pixels = picture * np.where(ignored, 0.6, 1.0)[..., None]
    for mask, colour in ((before, (0.0, 0.8, 1.0)), (after, (0.0, 1.0, 0.0))):
        pixels[mask ^ ndimage.binary_erosion(mask, iterations=2)] = colour
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(np.clip(pixels, 0, 1) * 255)).save(path)


if __name__ == "__main__":
    run_tool(main, __doc__)
