"""What photographs of a family's faces look like, learned from portraits of its synthetic training heads."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from recon.files import replacing
from recon.fitting.likeness import Likeness
from recon.fitting.shading import harmonics
from recon.priors import Canonical
from recon.priors.dataset import HeadData
from recon.priors.landmarks import fit_landmarks
from recon.priors.likeness import Brightness, fit_brightness, tied
from recon.synth.identity import draw_identity, shape_head
from recon.synth.model import HeadModel, load_head_model
from recon.synth.portraits import Marks, portraits, to_canonical
from recon.systems.pretraining_landmarks import seeds_of
from recon.threads import mapped

log = logging.getLogger(__name__)

BLURS_MM = (0.3, 1.0, 2.0, 4.0, 8.0)
SEEN = 0.15
"""A mark that fewer of the portraits show is left out."""


def likeness_of(
    data: HeadData,
    codes: Float[np.ndarray, "heads latent"],
    canonical: Canonical,
    known: Bool[np.ndarray, " heads"],
    options: Mapping[str, Any],
    work: Path,
) -> Likeness | None:
    """Marks by code and their brightness; goes on from the portraits that an interrupted run left in `work`.

    Args:
        data: The heads.
        codes: Theirs, with unit variance.
        canonical: Their frame.
        known: Which of them the head model here makes again.
        options: `portraits`, `likeness_components` and `workers` of conf/pretrain.yaml.
        work: Folder of what is kept.

    Returns:
        None where the heads cannot be photographed here, or should not be.
    """
    count = int(options["portraits"])
    seeds = seeds_of(data, "likeness") if count else None
    if seeds is None or known.sum() < 3:
        return None
    model = load_head_model()
    every = Marks.of(model)
    chosen = np.flatnonzero(known)[:count]
    split = data.folder.name  # type: ignore[attr-defined]
    shots = list(
        mapped(
            partial(_portraits, split, work, model, every),
            [seeds[head] for head in chosen],
            int(options["workers"]),
        )
    )
    heads = np.flatnonzero(known)
    placed = mapped(
        partial(_points, split, model, every), [seeds[head] for head in heads], int(options["workers"])
    )
    marks = fit_landmarks(codes[heads], np.stack(list(placed)))
    log.info("marks of heads left out: %.2f mm a coordinate", marks.error_mm)
    kept, levels = _brightness(shots, int(options["likeness_components"]))
    owners = np.arange(len(chosen)).repeat(len(levels[0].scores) // len(chosen))
    known_by_code = [tied(level, codes[chosen], owners) for level in levels]
    tensors = {
        "places": (marks.mean_mm[kept] - canonical.centre_mm) / canonical.radius_mm,
        "basis": marks.basis_mm[kept] / canonical.radius_mm,
        "blurs": np.array(BLURS_MM) / canonical.radius_mm,
        "sigma": np.stack([level.sigma for level in levels]),
        **{
            name: np.stack([getattr(level, name) for level in known_by_code])
            for name in ("mean", "components", "by_code")
        },
    }
    return Likeness(**{name: torch.from_numpy(value).float() for name, value in tensors.items()})


def likeness_state(likeness: Likeness | None) -> tuple[Sequence[int], dict[str, torch.Tensor]]:
    """Numbers of marks, levels and components of a likeness, and its tensors as a `GridFamily` keeps them."""
    if likeness is None:
        return (0, 0, 0), {}
    levels, marks, components = likeness.components.shape
    tensors = {f"likeness_{each.name}": getattr(likeness, each.name) for each in fields(likeness)}
    return (marks, levels, components), tensors


def _points(split: str, model: HeadModel, marks: Marks, seed: int) -> Float[np.ndarray, "marks 3"]:
    """Marks of one head, canonical mm."""
    shape = shape_head(model, draw_identity(model, seed, split))
    placed = to_canonical(shape, model)
    points: np.ndarray = marks.on(shape) @ placed[:3, :3].T + placed[:3, 3]
    return points


def _portraits(split: str, work: Path, model: HeadModel, marks: Marks, seed: int) -> dict[str, np.ndarray]:
    """Portraits of one head, from the folder if they are there."""
    path = work / "portraits" / f"{seed:06d}.npz"
    if not path.is_file():
        taken = portraits(seed, split, marks, BLURS_MM, model=model)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **vars(taken))
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _brightness(
    shots: Sequence[Mapping[str, np.ndarray]], components: int
) -> tuple[Bool[np.ndarray, " marks"], list[Brightness]]:
    """Which marks enough portraits show, and their brightness at every blur."""
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


def _light(normals: Float[np.ndarray, "marks 3"]) -> Float[np.ndarray, "marks columns"]:
    """What light and the darkness of skin may add to a portrait."""
    own: np.ndarray = harmonics(torch.from_numpy(normals)).numpy()
    return np.concatenate([own, np.full((len(own), 1), 2.0)], axis=1)
