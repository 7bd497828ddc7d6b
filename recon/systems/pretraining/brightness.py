"""Training of the brightness model of a shape model, from portraits of its synthetic training heads."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.linalg import cholesky, lstsq, solve, svd

from recon.files import replacing
from recon.fitting.brightness import BrightnessModel
from recon.fitting.shading import harmonics
from recon.priors import CanonicalFrame
from recon.priors.data.dataset import HeadData
from recon.priors.pca.landmarks import fit_landmarks, fit_linear
from recon.synth.datasets.portraits import FacePoints, make_portraits, to_canonical
from recon.synth.datasets.template import at_rest
from recon.synth.model.expression import with_wide_expression
from recon.synth.model.head_model import HeadModel, load_head_model
from recon.synth.model.identity import draw_identity, shape_head
from recon.systems.pretraining.landmarks import seeds_of
from recon.threads import mapped

log = logging.getLogger(__name__)

COLUMNS_RIDGE, ROUNDS = 0.02, 15
OUTLIER = 0.5
"""Difference from the mean, as a logarithm, at which brightness has half its weight in finding the light."""


@dataclass(frozen=True)
class Brightness:
    """Brightness of points of faces, as logarithms without light, at one blur.

    Attributes:
        mean: Mean over people.
        components: Components by which people differ, each times its standard deviation.
        sigma: Standard deviation of the rest.
        scores: Scores of each portrait on the components.
    """

    mean: Float[np.ndarray, " face_points"]
    components: Float[np.ndarray, "face_points components"]
    sigma: Float[np.ndarray, " face_points"]
    scores: Float[np.ndarray, "portraits components"]


def fit_brightness(
    values: Float[np.ndarray, "portraits face_points"],
    visible: Bool[np.ndarray, "portraits face_points"],
    light: Float[np.ndarray, "portraits face_points columns"],
    components: int = 12,
) -> Brightness:
    """Computes mean and principal components of portraits with unknown light and missing values.

    Alternates between the light of each portrait and the components of all; missing values are filled in by the
    components (Roweis, EM algorithms for PCA, 1998).

    Args:
        values: Logarithms of luminance.
        visible: Whether a portrait shows a face point.
        light: Columns of each portrait whose combinations light may add.
        components: Number of components.
    """
    count, face_points = values.shape
    mean, found = np.zeros(face_points), np.zeros((face_points, components))
    filled = np.zeros(values.shape)
    columns = light.shape[2]
    for _ in range(ROUNDS):
        for row in range(count):
            seen = visible[row]
            left = values[row, seen] - mean[seen]
            weight = 1 / (1 + ((left - np.median(left)) / OUTLIER) ** 2)
            matrix = np.concatenate([light[row], found], axis=1)
            part = matrix[seen] * weight[:, None]
            ridge = COLUMNS_RIDGE * np.eye(matrix.shape[1])
            share = solve(part.T @ matrix[seen] + ridge, part.T @ left)
            unlit = values[row] - light[row] @ share[:columns]
            filled[row] = np.where(seen, unlit, mean + found @ share[columns:])
        mean = filled.mean(axis=0)
        shares, scale, rows = svd(filled - mean, full_matrices=False)
        found = rows[:components].T * scale[:components] / np.sqrt(count)
    rest = np.array([_rest(filled[row] - mean, found, visible[row]) for row in range(count)])
    scores = shares[:, :components] * np.sqrt(count)
    return Brightness(mean - mean.mean(), found, np.sqrt(np.nanmean(rest**2, axis=0)), scores)


@dataclass(frozen=True)
class TiedBrightness:
    """Brightness of points of faces that the code explains, and components of people of one code, at one blur.

    Attributes:
        mean: Brightness of the mean head.
        components: Components by which people of one code differ, each times its standard deviation.
        by_code: Derivative of the scores by the code.
    """

    mean: Float[np.ndarray, " face_points"]
    components: Float[np.ndarray, "face_points components"]
    by_code: Float[np.ndarray, "components latent"]


def tied(
    brightness: Brightness, codes: Float[np.ndarray, "heads latent"], owners: Int[np.ndarray, " portraits"]
) -> TiedBrightness:
    """Splits the differences between people into what their codes explain, by ridge regression, and the rest.

    The first numbers of a code move the surface most and are expected to explain most, so the ridge grows with their
    place. The rest is estimated on portraits of people who are left out of the regression.

    Args:
        brightness: Brightness of portraits.
        codes: Codes of the people, with unit variance, sorted by how far they move the surface.
        owners: Number of the person of each portrait.
    """
    scores = brightness.scores
    own = np.stack([scores[owners == head].mean(axis=0) for head in range(len(codes))])
    trust = 1 / np.sqrt(np.arange(1, codes.shape[1] + 1))
    found = fit_linear(codes * trust, own, one_ridge=False)
    rest = scores - (own - found.left_out)[owners]
    root = cholesky(rest.T @ rest / len(rest) + 1e-6 * np.eye(scores.shape[1]))
    return TiedBrightness(
        brightness.mean + brightness.components @ found.mean,
        brightness.components @ root,
        solve(root, found.basis * trust),
    )


def _rest(
    values: Float[np.ndarray, " face_points"],
    components: Float[np.ndarray, "face_points components"],
    seen: Bool[np.ndarray, " face_points"],
) -> Float[np.ndarray, " face_points"]:
    """Brightness of the face points seen that components do not explain; nan elsewhere."""
    prior = 0.3 * np.eye(components.shape[1])
    matrix = np.concatenate([components[seen], prior])
    share = lstsq(matrix, np.concatenate([values[seen], np.zeros(len(prior))]), rcond=None)[0]
    return np.where(seen, values - components @ share, np.nan)


WIDE = "-wide-"
"""What names of persons that were drawn wider have in them."""
BLURS_MM = (0.3, 1.0, 2.0, 4.0, 8.0)
SEEN = 0.15
"""Smallest share of the portraits that must show a face point; others are left out."""


def brightness_model_of(
    data: HeadData,
    codes: Float[np.ndarray, "heads latent"],
    canonical: CanonicalFrame,
    reproducible: Bool[np.ndarray, " heads"],
    options: Mapping[str, Any],
    work: Path,
) -> BrightnessModel | None:
    """Learns a brightness model; goes on from the portraits that an interrupted run left in `work`.

    Args:
        data: The heads.
        codes: Codes of the heads, with unit variance.
        canonical: Canonical frame of the heads.
        reproducible: Whether the head model on this machine makes a head again.
        options: `portraits`, `brightness_components` and `workers` of `pca` in conf/pretrain.yaml.
        work: Folder of the portraits.

    Returns:
        The model; None where the heads cannot be photographed here, or should not be.
    """
    count = int(options["portraits"])
    seeds = seeds_of(data, "brightness model") if count else None
    if seeds is None or reproducible.sum() < 3:
        return None
    model = load_head_model()
    every = FacePoints.from_model(model)
    wide = np.array([WIDE in name for name in data.names])
    chosen = np.flatnonzero(reproducible & ~wide)[:count]
    split = data.folder.name  # type: ignore[attr-defined]
    shots = list(
        mapped(
            partial(_portraits, split, work, model, every),
            [seeds[head] for head in chosen],
            int(options["workers"]),
        )
    )
    heads = np.flatnonzero(reproducible)
    people = [(seeds[head], bool(wide[head])) for head in heads]
    resting = bool(getattr(data, "has_template", False))
    placed = mapped(partial(_points, split, model, every, resting), people, int(options["workers"]))
    face_points = fit_landmarks(codes[heads], np.stack(list(placed)))
    log.info("face points of heads left out: %.2f mm a coordinate", face_points.error_mm)
    kept, levels = _brightness(shots, int(options["brightness_components"]))
    owners = np.arange(len(chosen)).repeat(len(levels[0].scores) // len(chosen))
    tied_levels = [tied(level, codes[chosen], owners) for level in levels]
    tensors = {
        "places": (face_points.mean_mm[kept] - canonical.centre_mm) / canonical.radius_mm,
        "basis": face_points.basis_mm[kept] / canonical.radius_mm,
        "blurs": np.array(BLURS_MM) / canonical.radius_mm,
        "sigma": np.stack([level.sigma for level in levels]),
        **{
            name: np.stack([getattr(level, name) for level in tied_levels])
            for name in ("mean", "components", "by_code")
        },
    }
    return BrightnessModel(**{name: torch.from_numpy(value).float() for name, value in tensors.items()})


def brightness_state(
    brightness_model: BrightnessModel | None,
) -> tuple[Sequence[int], dict[str, torch.Tensor]]:
    """Numbers of face points, levels and components of a brightness model, and its tensors as a `PCAShapeModel` keeps
    them.
    """
    if brightness_model is None:
        return (0, 0, 0), {}
    levels, face_points, components = brightness_model.components.shape
    tensors = {
        f"brightness_{each.name}": getattr(brightness_model, each.name) for each in fields(brightness_model)
    }
    return (face_points, levels, components), tensors


def _points(
    split: str, model: HeadModel, face_points: FacePoints, resting: bool, person: tuple[int, bool]
) -> Float[np.ndarray, "face_points 3"]:
    """Face points of one head, canonical mm.

    Args:
        split: Split of the person.
        model: Head model.
        face_points: The points.
        resting: Whether the canonical frame is that of the head without expression.
        person: Seed of the person, and whether it was drawn wider.
    """
    seed, wide = person
    identity = draw_identity(model, seed, split)
    if wide:
        identity = with_wide_expression(model, identity, seed, split)
    shape = shape_head(model, identity)
    placed = at_rest(model, identity)[1] if resting else to_canonical(shape, model)
    points: np.ndarray = face_points.on(shape) @ placed[:3, :3].T + placed[:3, 3]
    return points


def _portraits(
    split: str, work: Path, model: HeadModel, face_points: FacePoints, seed: int
) -> dict[str, np.ndarray]:
    """Portraits of one head, from the folder if they are there."""
    path = work / "portraits" / f"{seed:06d}.npz"
    if not path.is_file():
        taken = make_portraits(seed, split, face_points, BLURS_MM, model=model)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **vars(taken))
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _brightness(
    shots: Sequence[Mapping[str, np.ndarray]], components: int
) -> tuple[Bool[np.ndarray, " face_points"], list[Brightness]]:
    """Whether enough portraits show a face point, and the brightness of those points at every blur."""
    normals, values, visible = (
        np.stack([shot[name] for shot in shots]) for name in ("normals", "values", "visible")
    )
    light = np.stack([_light(normal) for normal in normals]).repeat(visible.shape[1], axis=0)
    values, visible = values.reshape(-1, *values.shape[2:]), visible.reshape(-1, visible.shape[2])
    kept = visible.mean(axis=0) >= SEEN
    levels = [
        fit_brightness(values[:, level, kept], visible[:, kept], light[:, kept], components)
        for level in range(values.shape[1])
    ]
    return kept, levels


def _light(normals: Float[np.ndarray, "face_points 3"]) -> Float[np.ndarray, "face_points columns"]:
    """Columns whose combinations light and the darkness of skin may add to a portrait."""
    own: np.ndarray = harmonics(torch.from_numpy(normals)).numpy()
    return np.concatenate([own, np.full((len(own), 1), 2.0)], axis=1)
