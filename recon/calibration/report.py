"""What calibration says of its photographs: one file in the folder of the scene, which every later run reads."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from recon.calibration.bundle import CameraUncertainty
from recon.errors import SceneError
from recon.files import replacing
from recon.reading import integer, listed, numbers, read_json, reading, shortened, table
from recon.scene import Scene

log = logging.getLogger(__name__)

T = TypeVar("T")

REPORT = "calibration.json"


@dataclass(frozen=True)
class PhotographReport:
    """What became of one photograph.

    Attributes:
        name: Of the file.
        view: Its number in the scene; None where it was refused.
        how: "landmarks" or "outline"; why not, where it was refused.
        focal_source: What told its focal length.
        yaw_deg: From which side it shows the head, positive on the subject's left.
        landmark_mm: Typical distance of its landmarks from the head's; None without landmarks.
        uncertainty: Of its camera before the joint fit; None without landmarks.
        moved_deg: How far the joint fit turned its camera.
        moved_mm: How far the joint fit shifted its camera.
        crop: What the scene shows of the upright photograph: left, top, right, bottom as shares of its sides.
        remarks: What else is to be said.
    """

    name: str
    view: int | None
    how: str
    focal_source: str = ""
    yaw_deg: float | None = None
    landmark_mm: float | None = None
    uncertainty: CameraUncertainty | None = None
    moved_deg: float | None = None
    moved_mm: float | None = None
    crop: tuple[float, float, float, float] | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CalibratedScene:
    """A scene made of photographs.

    Attributes:
        scene: As it was written and opened again.
        canonical_from_world: Similarity from the scene's world mm to canonical unit space: where a fit may start.
        code: Of the head that was fitted.
        photographs: What became of each, in the order given.
        outline_mm: Typical distance between the outlines of head and masks.
        size: What is known of the head's size, a sentence.
    """

    scene: Scene
    canonical_from_world: Float[np.ndarray, "4 4"]
    code: Float[np.ndarray, " latent"]
    photographs: tuple[PhotographReport, ...]
    outline_mm: float
    size: str

    def lines(self) -> list[str]:
        """The report as lines of text."""
        result = []
        for each in self.photographs:
            if each.view is None:
                continue
            known = f", landmarks {each.landmark_mm:.1f} mm" if each.landmark_mm is not None else ""
            result.append(
                f"{each.name}: view {each.view}, by {each.how}, seen from {each.yaw_deg:+.0f} degrees{known}, "
                f"focal length: {each.focal_source}"
            )
        return [*result, f"outlines {self.outline_mm:.1f} mm apart", self.size]

    def text(self) -> list[str]:
        """Warnings and lines, for the check sheet."""
        return [*self.warnings(), *self.lines()]

    def warnings(self) -> list[str]:
        """What is wrong with the photographs, as sentences: those that were refused first."""
        refused = [f"{each.name}: not used, {each.how}" for each in self.photographs if each.view is None]
        remarks = [remark for each in self.photographs for remark in each.remarks]
        return [*refused, *remarks]


def is_calibrated(folder: Path) -> bool:
    """Whether `scene_from_photographs` made the scene of a folder."""
    return (folder / REPORT).is_file()


def read_pose(folder: Path) -> Float[np.ndarray, "4 4"]:
    """`CalibratedScene.canonical_from_world` of a scene that was written before.

    Raises:
        SceneError: The folder's report cannot be read.
    """
    return _read(
        folder, lambda report: numbers(report["canonical_from_world"], (4, 4), "canonical_from_world")
    )


def photograph_names(folder: Path) -> dict[int, str]:
    """Names of the photographs, as the user has them, by the number of their view.

    Raises:
        SceneError: The folder's report cannot be read.
    """

    def names(report: dict[str, Any]) -> dict[int, str]:
        photographs = [table(each, "a photograph") for each in listed(report["photographs"], "photographs")]
        return {
            integer(each["view"], "view"): str(each["name"])
            for each in photographs
            if each["view"] is not None
        }

    return _read(folder, names)


def say_warnings(folder: Path) -> None:
    """Logs what is wrong with the photographs of a scene that `scene_from_photographs` made.

    Raises:
        SceneError: The folder's report cannot be read.
    """
    for sentence in _read(folder, lambda report: listed(report.get("warnings", []), "warnings")):
        log.warning("%s", shortened(sentence))


def write_report(folder: Path, result: CalibratedScene, scale: float) -> None:
    """Writes what was found, and logs it.

    Args:
        folder: Of the scene.
        result: What was found.
        scale: World mm per canonical mm.
    """
    report = {
        "photographs": [asdict(each) for each in result.photographs],
        "outline_mm": result.outline_mm,
        "size": result.size,
        "world_mm_per_canonical_mm": scale,
        "canonical_from_world": result.canonical_from_world.tolist(),
        "lines": result.lines(),
        "warnings": result.warnings(),
    }
    with replacing(folder / REPORT) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for line in result.lines():
        log.info("%s", line)


def _read(folder: Path, of: Callable[[Any], T]) -> T:
    """A part of the report in a folder.

    Raises:
        SceneError: It cannot be read.
    """
    with reading(folder / REPORT, SceneError, "a report of calibration"):
        return of(table(read_json(folder / REPORT)))
