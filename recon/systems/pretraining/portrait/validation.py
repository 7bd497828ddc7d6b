"""Validation of the portrait network on people that it was not trained on: errors by part, azimuth, kind of person."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from recon.calibration.canonical_pose import canonical_pose
from recon.perception.portrait import PortraitNetwork, PortraitOutput
from recon.perception.portrait_maps import HAIRS, PARTS, SKINS
from recon.systems.pretraining.callbacks import ValidationTable
from recon.systems.pretraining.portrait.data import PortraitFolder, fixed_sample
from recon.systems.pretraining.portrait.pictures import write_sheet
from recon.systems.pretraining.portrait.system import PortraitTrainingModule, angle_deg
from recon.systems.pretraining.portrait.targets import IGNORED, PortraitBatch, joined

log = logging.getLogger(__name__)

TrueCamera = tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "4 4"]]
"""Intrinsics of a camera, pixels of the picture, and the similarity from the canonical frame to its axes."""
YAWS_DEG = (0, 30, 60, 90, 135, 180)
"""Borders of ranges of the camera's azimuth."""
SURE = 0.99
"""Share of a cell that one kind of surface has to cover for the cell to be counted."""
SHOWN = (
    "alpha_iou", "parts_iou", "skin_iou", "hair_iou", "normals_skin_deg", "normals_hair_deg", "canonical_skin_mm",
    "canonical_hair_mm", "pose_deg", "strand_deg", "strand_reversed",
)  # fmt: skip
"""Errors that validation.csv has."""


class Errors:
    """Errors of portraits, gathered."""

    def __init__(self) -> None:
        self.both = self.either = 0.0
        self.confusion = np.zeros((len(PARTS), len(PARTS)))
        self.values: dict[str, list[np.ndarray]] = defaultdict(list)
        self.count = 0

    def add(self, found: Mapping[str, Any]) -> None:
        """Takes the errors of a portrait in, as `errors_of` gives them."""
        self.both, self.either = self.both + found["both"], self.either + found["either"]
        self.confusion += found["confusion"]
        for name, values in found["values"].items():
            self.values[name].append(values)
        self.count += 1

    def summary(self) -> dict[str, float]:
        """Computes the errors of all: intersections over unions, and medians; what nothing is known of is left out."""
        right = np.diag(self.confusion)
        union = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) - right
        iou = {name: float(a / b) for name, a, b in zip(PARTS, right, union, strict=True) if b > 0}
        there = [iou[name] for name, row in zip(PARTS, self.confusion, strict=True) if row.sum() > 0]
        found = {"portraits": float(self.count), "alpha_iou": self.both / max(self.either, 1e-9)}
        if there:
            found["parts_iou"] = float(np.mean(there))
        found |= {f"{name}_iou": value for name, value in iou.items()}
        for name, lists in self.values.items():
            values = np.concatenate(lists)
            if len(values):
                found[name] = float(np.median(values))
                found[f"{name}_p90"] = float(np.percentile(values, 90))
                found[f"{name}_p95"] = float(np.percentile(values, 95))
        strands = np.concatenate(self.values.get("strand_deg", [np.zeros(0)]))
        if len(strands):
            found["strand_mean_deg"] = float(strands.mean())
            found["strand_reversed"] = float((strands > 90).mean())
        return {name: round(value, 5) for name, value in found.items()}


def errors_of(
    network: PortraitNetwork, batch: PortraitBatch, cameras: Sequence[TrueCamera]
) -> list[dict[str, Any]]:
    """Computes the errors of each portrait of a batch.

    Args:
        network: In evaluation mode.
        batch: Portraits with their maps.
        cameras: Intrinsics, and pose against the canonical frame, of each portrait.

    Returns:
        For each the pixels of alpha in both and in either, the confusion of parts (rows are the truth), angles
        (degrees) and distances (mm) of cells of skin and of hair, and the angle of the camera's pose.
    """
    with torch.inference_mode():
        output = network(batch.pictures)
        normals = angle_deg(output.normals, batch.normals).cpu().numpy()
        strands = angle_deg(output.strand, batch.strand).cpu().numpy()
        apart = (output.canonical - batch.canonical).norm(dim=1).cpu().numpy()
        labels = output.parts.argmax(dim=1).cpu().numpy()
        alpha = (output.alpha > 0).cpu().numpy()
        poses = pose_errors(output, cameras)
    truth, wanted = batch.parts.cpu().numpy(), (batch.alpha > 0.5).cpu().numpy()
    hair, known, sided = (
        weight.cpu().numpy() > SURE
        for weight in (batch.hair_weight, batch.canonical_weight, batch.normal_weight)
    )
    skin = known & ~(batch.hair_weight.cpu().numpy() > 1 - SURE)
    found = []
    for k in range(len(batch)):
        asked = truth[k] != IGNORED
        pairs = truth[k][asked] * len(PARTS) + labels[k][asked]
        found.append(
            {
                "both": float((alpha[k] & wanted[k]).sum()),
                "either": float((alpha[k] | wanted[k]).sum()),
                "confusion": np.bincount(pairs, minlength=len(PARTS) ** 2).reshape(len(PARTS), len(PARTS)),
                "values": {
                    "normals_skin_deg": normals[k][skin[k] & sided[k]],
                    "normals_hair_deg": normals[k][hair[k] & sided[k]],
                    "canonical_skin_mm": apart[k][skin[k]],
                    "canonical_hair_mm": apart[k][hair[k]],
                    "strand_deg": strands[k][hair[k]],
                    "pose_deg": poses[k : k + 1],
                },
            }
        )
    return found


def pose_errors(output: PortraitOutput, cameras: Sequence[TrueCamera]) -> Float[np.ndarray, " portraits"]:
    """Angles, in degrees, between true cameras and those that the canonical maps give; 180 where they give none."""
    shown = (output.shares(SKINS + HAIRS) > 0.5).cpu().numpy()
    points = output.canonical.permute(0, 2, 3, 1).cpu().numpy()
    sigmas = output.canonical_sigma.permute(0, 2, 3, 1).cpu().numpy()
    errors = []
    for k, (intrinsics, camera_from_canonical) in enumerate(cameras):
        quarter = np.diag([0.25, 0.25, 1.0]) @ intrinsics
        found = canonical_pose(points[k], sigmas[k], shown[k], quarter)
        if found is None:
            errors.append(180.0)
            continue
        linear = camera_from_canonical[:3, :3]
        turn = found.camera_from_canonical[:3, :3] @ linear.T / np.cbrt(np.linalg.det(linear))
        errors.append(float(np.degrees(Rotation.from_matrix(turn).magnitude())))
    return np.array(errors)


def validate(
    network: PortraitNetwork, folder: PortraitFolder, indices: Sequence[int], batch_size: int = 16
) -> dict[str, dict[str, float]]:
    """Measures a network on some portraits.

    Args:
        network: In evaluation mode.
        folder: Unseen people.
        indices: Which of their portraits.
        batch_size: Portraits at a time.

    Returns:
        Errors by group of portraits: "all", "yaw 0-30" and so on, "held out" and "known" families of hair, "plain" and
        "full" renderer, "with things" and "without".
    """
    device = next(network.parameters()).device
    groups: dict[str, Errors] = defaultdict(Errors)
    for start in range(0, len(indices), batch_size):
        chosen = indices[start : start + batch_size]
        batch = joined([fixed_sample(folder, index) for index in chosen]).to(device)
        cameras = [folder.camera(index) for index in chosen]
        for index, found in zip(chosen, errors_of(network, batch, cameras), strict=True):
            for group in groups_of(folder.about(index)):
                groups[group].add(found)
    return {name: groups[name].summary() for name in sorted(groups)}


def groups_of(about: Mapping[str, Any]) -> Iterable[str]:
    """Names of the groups that a portrait belongs to."""
    yaw = abs(about["yaw_deg"])
    number = min(int(np.searchsorted(YAWS_DEG, yaw, side="right")) - 1, len(YAWS_DEG) - 2)
    return (
        "all",
        f"yaw {YAWS_DEG[number]:03d}-{YAWS_DEG[number + 1]:03d}",
        "family held out" if about["held_out"] else "family known",
        f"renderer {about['renderer']}",
        "with things" if about["things"] else "without things",
    )


def spread(folder: PortraitFolder, count: int) -> list[int]:
    """Numbers of up to so many portraits, spread evenly over all of a folder."""
    return np.unique(np.linspace(0, len(folder) - 1, min(count, len(folder))).round().astype(int)).tolist()


class PortraitValidation(ValidationTable):
    """Writes errors on unseen people to the log and to validation.csv, and a sheet of pictures, at intervals; in the
    first process.

    Args:
        folder: Of the run.
        data: Unseen people.
        every: Number of steps between validations; 0 for none.
        count: Number of portraits.
        pictures: Whether to write sheets.
    """

    def __init__(self, folder: Path, data: PortraitFolder, every: int, count: int, pictures: bool) -> None:
        super().__init__(folder / "validation.csv", every)
        self.folder, self.data, self.pictures = folder, data, pictures
        self.indices = spread(data, count)

    def measured(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any) -> Mapping[str, Any]:
        """Errors of the averaged network, of which a sheet is drawn."""
        assert isinstance(module, PortraitTrainingModule)
        network, step = module.averaged.eval(), trainer.global_step
        errors = validate(network, self.data, self.indices)["all"]
        log.info("step %d, %d unseen portraits: %s", step, len(self.indices), in_words(errors))
        if self.pictures:
            write_sheet(self.folder / "pictures" / f"step-{step:07d}.png", network, self.data, self.indices)
        samples = len(batch) * trainer.world_size * step
        return {"samples": samples, **{name: errors.get(name, "") for name in SHOWN}}


def in_words(errors: Mapping[str, float]) -> str:
    """Errors for the log."""
    return ", ".join(f"{name} {errors[name]:.3f}" for name in SHOWN if name in errors)
