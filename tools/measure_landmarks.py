"""Measures where the landmark network puts its 468 points: `python tools/measure_landmarks.py`.

Renders portraits of synthetic heads of which the geometry is known, looks at them with the network, and writes
`recon/calibration/landmarks468.npz`: the mean place of every point on the canonical head, and its bias by yaw.
Needs the head model ($H3D_HEAD_MODEL) and the network, and takes some twenty minutes. Options, as `name=value`: heads
(number of people), first (seed of the first), split, seen (a file of detections, made where it is not there, read
where it is), out.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon.commands.command_line import options_of, run_tool
from recon.errors import EvaluationError
from recon.perception.mediapipe import MediaPipeFaceDetector, MediaPipeFaceLandmarker
from recon.perception.photograph import Photograph
from recon.scene import Camera
from recon.synth.body.subject import build_subject, draw_recipe
from recon.synth.datasets.cameras import look_at
from recon.synth.datasets.portraits import to_canonical
from recon.synth.model.head_model import HeadModel, load_head_model
from recon.synth.model.identity import HeadShape, Identity, draw_identity, shape_head
from recon.synth.render.appearance import appearance_of
from recon.synth.render.passes import render_passes
from recon.synth.render.photograph import expose
from recon.synth.render.prepared import prepare
from recon.synth.render.zbuffer import draw, sample

DEFAULTS = {
    "heads": 18,
    "first": 7000,
    "split": "train",
    "seen": "landmarks468_seen.npz",
    "out": "recon/calibration/landmarks468.npz",
}
SIZE_PX, WIDTH_MM = 384, 330.0
YAWS_DEG = (0.0, -12.0, 12.0, -24.0, 24.0, -36.0, 36.0, -48.0, 48.0, -60.0, 60.0, -70.0, 70.0)
FRONTAL_DEG = 20.0
"""Points are placed on the head by views of no more yaw; what the others differ by is bias."""
LEAST_SCORE = 0.9
MEAN_HEADS = 150
"""People whose mean places are taken: heads are cheap where no picture is rendered."""
DEGREE, YAW_UNIT_DEG = 4, 45.0
SIGMA_YAWS_DEG = np.arange(-75.0, 76.0, 15.0)
RIGHT_EYE, LEFT_EYE = 33, 263
"""Outer corners of the eyes."""


def main(arguments: Sequence[str]) -> None:
    """Renders, looks, averages and writes."""
    options = options_of(DEFAULTS, arguments)
    model = load_head_model()
    seen = Path(options.seen)
    if not seen.is_file():
        np.savez_compressed(seen, **detections(model, options.split, options.first, options.heads))  # type: ignore[arg-type]
    with np.load(seen) as file:
        table = measured(model, dict(file), options.split)
    np.savez_compressed(options.out, **table)  # type: ignore[arg-type]
    print(f"{options.out}: {Path(options.out).stat().st_size / 1024:.0f} KB")


def detections(model: HeadModel, split: str, first: int, heads: int) -> dict[str, np.ndarray]:
    """What the network sees on portraits of some people, with their cameras.

    Returns:
        Arrays with a row for each portrait: `seed`, `projection` (3x4, the head's own frame), `centre`, `score`,
        `pixels` (468, 2) and `template` (468, 3), the place that the head model's neutral head has there (nan off
        the head).
    """
    detector, landmarker = MediaPipeFaceDetector(), MediaPipeFaceLandmarker()
    rows: dict[str, list[np.ndarray]] = {
        key: [] for key in ("seed", "projection", "centre", "score", "pixels", "template")
    }
    for seed in range(first, first + heads):
        recipe = draw_recipe(seed, split=split, model=model)
        prepared = prepare(build_subject(recipe, model=model, spacing_mm=5.0), appearance_of(recipe))
        shape = shape_head(model, Identity.from_recipe(recipe["identity"]))
        rng = np.random.default_rng(seed)
        for yaw in YAWS_DEG:
            camera = portrait_camera(yaw, rng)
            picture = render_passes(expose(prepared, camera), ("rgb",))["rgb"]
            photograph = Photograph((picture / np.float32(255)).astype(np.float32), Path(f"{seed}.png"))
            faces = detector.detect(photograph)
            if not faces:
                continue
            found = landmarker.landmarks(photograph, faces[0])
            print(f"person {seed}, yaw {yaw:.0f}: score {found.score:.3f}", flush=True)
            rows["seed"].append(np.array(seed))
            rows["projection"].append(camera.projection)
            rows["centre"].append(camera.centre)
            rows["score"].append(np.array(found.score))
            rows["pixels"].append(found.points)
            rows["template"].append(on_template(model, shape, camera, found.points))
    return {key: np.stack(values) for key, values in rows.items()}


def portrait_camera(yaw_deg: float, rng: np.random.Generator) -> Camera:
    """A camera that looks at a face from about a yaw."""
    turn, rise, roll = rng.normal(0.0, [3.0, 6.0, 3.0])
    distance = rng.uniform(550.0, 1300.0)
    pose = look_at(np.array([0.0, 10.0, 40.0]), yaw_deg + turn, 2.0 + rise, distance, roll)
    focal, middle = SIZE_PX * distance / WIDTH_MM, SIZE_PX / 2
    return Camera(
        np.array([[focal, 0.0, middle], [0.0, focal, middle], [0.0, 0.0, 1.0]]), pose, SIZE_PX, SIZE_PX
    )


def on_template(
    model: HeadModel, shape: HeadShape, camera: Camera, pixels: Float[np.ndarray, "points 2"]
) -> Float[np.ndarray, "points 3"]:
    """Where pixels meet a head without hair, as places of the neutral head; nan where they miss it."""
    skin, eyes = len(shape.skin), [refinement for refinement in model.eye_refinement]
    faces = [model.refinement.faces, eyes[0][0] + skin, eyes[1][0] + skin + len(shape.eyes[0])]
    neutral = [model.refinement.canonical, eyes[0][1] @ model.eyes[0], eyes[1][1] @ model.eyes[1]]
    buffers = draw(np.concatenate([shape.skin, *shape.eyes]), np.concatenate(faces), camera, samples=1)
    shown = np.arange(SIZE_PX)
    values = np.concatenate([np.concatenate(neutral), np.ones((sum(map(len, neutral)), 1))], axis=1)
    places = sample(buffers, shown, shown, values.astype(np.float32))
    at = pixels.T[::-1] - 0.5
    found = np.stack([map_coordinates(places[..., k], at, order=1) for k in range(4)], axis=1)
    return np.where(found[:, 3:] > 0.999, found[:, :3], np.nan)


def measured(model: HeadModel, seen: dict[str, np.ndarray], split: str) -> dict[str, np.ndarray]:
    """The table: `places_mm` (468, 3), `bias_mm` (468, 2, 5), `relative_sigma` (468, 11), `mirror` (468,)."""
    yaw = np.array(
        [yaw_deg(model, split, int(s), c) for s, c in zip(seen["seed"], seen["centre"], strict=True)]
    )
    sure = seen["score"] > LEAST_SCORE
    frontal = sure & (np.abs(yaw) < FRONTAL_DEG)
    template = np.nanmedian(seen["template"][frontal], axis=0)
    mirror = mirrored(seen["pixels"][frontal])
    template = (template + template[mirror] * [-1, 1, 1]) / 2
    vertices, weights = anchors(model, template)
    heads = [shape_head(model, draw_identity(model, seed, split)) for seed in range(MEAN_HEADS)]
    places = np.mean([canonical(model, head, vertices, weights) for head in heads], axis=0)
    places = (places + places[mirror] * [-1, 1, 1]) / 2
    residual = np.stack(
        [
            residual_mm(
                model,
                split,
                int(seen["seed"][i]),
                seen["projection"][i],
                seen["pixels"][i],
                vertices,
                weights,
            )
            for i in range(len(yaw))
        ]
    )
    bias = fit_bias(yaw[sure], residual[sure], mirror)
    left = left_out(yaw[sure], seen["seed"][sure], residual[sure], mirror)
    report(yaw[sure], residual[sure], left)
    return {
        "places_mm": places.astype(np.float32),
        "bias_mm": bias.astype(np.float32),
        "relative_sigma": relative_sigma(yaw[sure], left, mirror).astype(np.float32),
        "mirror": mirror.astype(np.int16),
    }


def mirrored(pixels: Float[np.ndarray, "views points 2"]) -> np.ndarray:
    """The number of each point's mirror image, by where points are seen on upright frontal faces in the mean."""
    upright = []
    for seen in pixels:
        eyes = seen[LEFT_EYE] - seen[RIGHT_EYE]
        turn = np.array([[eyes[0], -eyes[1]], [eyes[1], eyes[0]]]) / (eyes @ eyes)
        upright.append((seen - (seen[LEFT_EYE] + seen[RIGHT_EYE]) / 2) @ turn)
    mean = np.mean([*upright], axis=0)
    middle = mean[:, 0].mean()
    other = mean * [-1, 1] + [2 * middle, 0]
    distance = np.linalg.norm(mean[:, None] - other[None], axis=2)
    pairs: np.ndarray = linear_sum_assignment(distance**2)[1]
    if (pairs[pairs] != np.arange(len(pairs))).any():
        raise EvaluationError("the points' mirror images are ambiguous: measure more heads")
    return pairs


def anchors(model: HeadModel, template: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the skin near each place of the neutral head, with weights that sum to one."""
    faces = np.unique(model.refinement.faces[model.refinement.cap_of_face == 0])
    distance, near = cKDTree(model.refinement.canonical[faces]).query(template, k=3)
    weights = 1 / (distance + 0.05) ** 2
    return faces[near], weights / weights.sum(axis=1, keepdims=True)


def canonical(model: HeadModel, head: HeadShape, vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The points of a head in the canonical frame, mm."""
    to_mm = to_canonical(head, model)
    own = np.einsum("pk,pkd->pd", weights, head.skin[vertices])
    return own @ to_mm[:3, :3].T + to_mm[:3, 3]


_heads: dict[tuple[str, int], HeadShape] = {}


def head_of(model: HeadModel, split: str, seed: int) -> HeadShape:
    """The head of a person, made once."""
    if (split, seed) not in _heads:
        recipe = draw_recipe(seed, split=split, model=model)
        _heads[split, seed] = shape_head(model, Identity.from_recipe(recipe["identity"]))
    return _heads[split, seed]


def yaw_deg(model: HeadModel, split: str, seed: int, centre: np.ndarray) -> float:
    """From which side of the canonical head a camera looks, positive on the subject's left."""
    to_mm = to_canonical(head_of(model, split, seed), model)
    x, _, z = to_mm[:3, :3] @ centre + to_mm[:3, 3]
    return float(np.degrees(np.arctan2(x, z)))


def residual_mm(
    model: HeadModel,
    split: str,
    seed: int,
    projection: np.ndarray,
    pixels: np.ndarray,
    vertices: np.ndarray,
    weights: np.ndarray,
) -> Float[np.ndarray, "points 2"]:
    """How far right of and above a head's own points the network sees them, canonical mm at their depth."""
    head = head_of(model, split, seed)
    to_mm = to_canonical(head, model)
    projection = projection @ np.linalg.inv(to_mm)  # of canonical mm
    points = canonical(model, head, vertices, weights)
    shown = np.c_[points, np.ones(len(points))] @ projection.T
    middle = points.mean(axis=0)
    above = np.c_[np.stack([middle, middle + np.array([0, 1, 0])]), np.ones(2)] @ projection.T
    up = np.diff(above[:, :2] / above[:, 2:], axis=0)[0]
    up /= np.linalg.norm(up)
    axes = np.stack([[-up[1], up[0]], up])
    # The third row of a projection of a pinhole with square pixels has length 1, the first two that of the focal.
    scale = np.linalg.norm(projection[2, :3])
    focal = np.linalg.norm(np.cross(projection[0, :3], projection[2, :3])) / scale
    depth = shown[:, 2]
    found: np.ndarray = (pixels - shown[:, :2] / depth[:, None]) @ axes.T * (depth / focal)[:, None]
    return found


def fit_bias(
    yaw: np.ndarray, residual: np.ndarray, mirror: np.ndarray
) -> Float[np.ndarray, "points 2 powers"]:
    """Polynomials of yaw for each point, by least squares, of the views and their mirror images."""
    both_yaw = np.concatenate([yaw, -yaw])
    both = np.concatenate([residual, residual[:, mirror] * [-1, 1]])
    powers = np.vander(both_yaw / YAW_UNIT_DEG, DEGREE + 1, increasing=True)
    weight = 1 / (1 + (both_yaw / YAW_UNIT_DEG) ** 4)  # far views are noisier
    matrix = (powers * weight[:, None]).T @ powers + 1e-2 * np.eye(DEGREE + 1)
    side = np.einsum("vk,v,vpd->kpd", powers, weight, both)
    return np.moveaxis(np.linalg.solve(matrix, side.reshape(DEGREE + 1, -1)).reshape(side.shape), 0, 2)


def left_out(
    yaw: np.ndarray, seed: np.ndarray, residual: np.ndarray, mirror: np.ndarray
) -> Float[np.ndarray, "views points 2"]:
    """What is left of residuals by a bias that was fitted to the other people."""
    left = residual.copy()
    for person in np.unique(seed):
        bias = fit_bias(yaw[seed != person], residual[seed != person], mirror)
        own = seed == person
        powers = np.vander(yaw[own] / YAW_UNIT_DEG, DEGREE + 1, increasing=True)
        left[own] -= np.einsum("vk,pdk->vpd", powers, bias)
    return left


def relative_sigma(yaw: np.ndarray, left: np.ndarray, mirror: np.ndarray) -> Float[np.ndarray, "points yaws"]:
    """How much noisier than the middle one (median) each point is, from -75 to 75 degrees of yaw."""
    both_yaw = np.concatenate([yaw, -yaw])
    square = (np.concatenate([left, left[:, mirror]]) ** 2).mean(axis=2)
    near = np.exp(-(((SIGMA_YAWS_DEG[:, None] - both_yaw) / 12.0) ** 2) / 2)
    sigma = np.sqrt((near @ square) / near.sum(axis=1, keepdims=True)).T
    found: np.ndarray = np.clip(sigma / np.median(sigma, axis=0), 0.5, 4.0)
    return found


def report(yaw: np.ndarray, residual: np.ndarray, left: np.ndarray) -> None:
    """Prints errors with and without the bias."""
    for low, high in ((0, 10), (10, 20), (20, 30), (30, 42), (42, 54), (54, 65), (65, 80)):
        here = (np.abs(yaw) >= low) & (np.abs(yaw) < high)
        if here.any():
            before, after = (np.median(np.linalg.norm(r[here], axis=2)) for r in (residual, left))
            print(
                f"{low:2}-{high:2} deg, {here.sum():3} views: median {before:.2f} mm, without bias {after:.2f} mm"
            )


if __name__ == "__main__":
    run_tool(main, __doc__)
