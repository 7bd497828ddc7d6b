"""The evaluator: scores predictions against one ground truth, which is prepared once."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import trimesh
from jaxtyping import Bool, Int

from recon.errors import EvaluationError, ReconError
from recon.evaluation import official as official_protocol
from recon.evaluation import strict as strict_protocol
from recon.evaluation.alignment import check_sides, procrustes
from recon.evaluation.checks import check_mesh, check_size_and_place
from recon.evaluation.official import OfficialResult, coarse_alignment
from recon.evaluation.predictions import Landmarks, Prediction
from recon.evaluation.strict import RigidFit, StrictResult, rigid_fit
from recon.geometry.frames import FACE_RADIUS_MM, transform
from recon.geometry.nearest import PointSet
from recon.geometry.surface import Surface

log = logging.getLogger(__name__)

Mode = Literal["official", "strict"]
Region = Literal["face", "face_sphere", "nose", "ears"]

REGION_MEANINGS = {
    "face_sphere": "face_sphere (all vertices within 95 mm of the tip of the nose)",
    "face": "face (the front of the face with ears and neck, on which the head is aligned)",
    "nose": "nose",
    "ears": "ears (both auricles as far as they are bare, aligned on `face`; synthetic heads alone have it)",
}
"""What the vertices of each region are."""
LEAST_EARS = 200
"""Vertices of bare ears below which they are not scored: no more than a lobe shows beneath the hair."""
_SCALE_TOLERANCE = 0.10
"""Share by which the official alignment may change a size unmentioned: from one photograph 8 % are usual, as sizes of
adult heads differ by as much."""
_UNSETTLED_MM, _UNSETTLED_SHARE = 0.3, 0.1
"""Change of the official number by further steps of the ICP, in mm and as a share of it, from which it is said that
they are missing: good reconstructions reach 0.33 mm of 5.4 (one photograph) and 0.16 of 3.5, mirrored and spoilt ones
0.7 of 6.8, 1.5 of 8.3 and 1.8 of 9.8.
"""


@runtime_checkable
class GroundTruthLike(Protocol):
    """The interface of ground truths; `recon.scene.GroundTruth` has it.

    Attributes:
        landmarks: Vertex index of each landmark, by name.
    """

    @property
    def landmarks(self) -> Mapping[str, int]: ...  # noqa: D102

    def mesh(self) -> trimesh.Trimesh:
        """The mesh, mm, vertices in the order that the indices mean."""
        ...

    def region(self, name: str) -> np.ndarray:
        """The vertex indices of a region, in the order of its file."""
        ...


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One score.

    Attributes:
        mode: Which protocol: numbers of different modes must never be compared.
        protocol: Its full name, for tables.
        region: What was scored; None is the whole head.
        mean_mm: The headline number.
        result: Everything else.
    """

    mode: Mode
    protocol: str
    region: Region | None
    mean_mm: float
    result: OfficialResult | StrictResult

    def summary(self) -> dict[str, Any]:
        """The numbers without the arrays, ready for JSON."""
        numbers: dict[str, Any] = {
            "protocol": self.protocol,
            "region": self.region or "head",
            "mean_mm": self.mean_mm,
        }
        if isinstance(self.result, OfficialResult):
            numbers["median_mm"] = float(np.median(self.result.distances_gt))
            numbers["icp_iterations"] = self.result.icp.iterations
            numbers["icp_capped"] = self.result.icp.capped
            numbers["settled_mm"] = self.result.settled_mm
            numbers["scale"] = self.result.scale
            numbers["reflected"] = self.result.reflected
        else:
            numbers["gt_to_pred_mm"] = float(self.result.gt_to_pred.mean())
            numbers["pred_to_gt_mm"] = float(self.result.pred_to_gt.mean())
            numbers["normal_deg"] = self.result.normal_deg
            numbers |= {f"f_score_{mm:g}mm": share for mm, share in self.result.f_score.items()}
            numbers["icp_iterations"] = self.result.fit.steps
            numbers["icp_converged"] = self.result.fit.converged
        return numbers


class Evaluator:
    """Scores predictions of one scene.

    Args:
        ground_truth: Mesh, landmarks and regions.
        name: How messages call it, for instance the scene.

    Raises:
        EvaluationError: The ground truth's mesh cannot be measured.
    """

    def __init__(self, ground_truth: GroundTruthLike, *, name: str = "ground truth") -> None:
        self.name = name
        self._truth = ground_truth
        self.mesh = ground_truth.mesh()
        check_mesh(self.mesh, name)
        self.points = PointSet(np.asarray(self.mesh.vertices, np.float64))
        self.made = ""
        """What is said where a region was made, as its file is missing."""
        self._regions: dict[str, Int[np.ndarray, " region"]] = {}
        self._kept: dict[str, PointSet] = {}
        self._sided: Prediction | None = None
        self._coarse: tuple[Prediction, PointSet, float] | None = None
        self._fit: tuple[Prediction, str, RigidFit] | None = None

    @cached_property
    def surface(self) -> Surface:
        """For exact distances; strict mode only."""
        return Surface(self.mesh)

    def region(self, name: str) -> Int[np.ndarray, " region"]:
        """Vertex indices of a region, checked.

        Raises:
            EvaluationError: The ground truth does not have it, or its indices do not fit the mesh.
        """
        if name not in self._regions:
            try:
                indices = np.asarray(self._truth.region(name)).astype(np.int64)
            except (KeyError, OSError) as error:
                raise EvaluationError(
                    f"{self.name}: there is no region '{name}', which the protocol needs: {error}"
                ) from error
            except ReconError as error:
                made = self._face_sphere() if name == "face_sphere" else None
                if made is None:
                    raise
                self.made = f"{error}; it is made of the vertices within {FACE_RADIUS_MM:g} mm of nose_tip"
                indices = made
            if not len(indices) or indices.min() < 0 or indices.max() >= len(self.points.points):
                raise EvaluationError(
                    f"{self.name}: region '{name}' must list vertices between 0 and "
                    f"{len(self.points.points) - 1}; it lists {len(indices)}"
                    + (f", {indices.min()} to {indices.max()}" if len(indices) else "")
                )
            self._regions[name] = indices
        return self._regions[name]

    def _face_sphere(self) -> Int[np.ndarray, " region"] | None:
        """The region `face_sphere` by its definition, where the ground truth has the landmark that it needs."""
        nose = self._truth.landmarks.get("nose_tip")
        if nose is None or not 0 <= nose < len(self.points.points):
            return None
        distance = np.linalg.norm(self.points.points - self.points.points[nose], axis=1)
        return np.flatnonzero(distance <= FACE_RADIUS_MM)

    def shows_ears(self) -> bool:
        """Whether the ground truth has the region "ears", with enough vertices to be scored."""
        try:
            return len(self._truth.region("ears")) >= LEAST_EARS
        except (KeyError, OSError, ReconError):
            return False

    def lacking(self, names: Sequence[str]) -> dict[str, str]:
        """Which of some regions are not there or broken, and why."""
        amiss = {}
        for name in names:
            try:
                self.region(name)
            except ReconError as error:
                amiss[name] = str(error)
        return amiss

    def require_regions(self, names: Sequence[str]) -> None:
        """Check that all of some regions are there.

        Raises:
            EvaluationError: Some are not, or are broken; the message names every one.
        """
        if amiss := self.lacking(names):
            raise EvaluationError(
                f"{'; '.join(amiss.values())}. A score needs {' and '.join(REGION_MEANINGS[n] for n in names)}"
            )

    def evaluate(
        self,
        prediction: trimesh.Trimesh | Prediction,
        *,
        region: Region | None = None,
        mode: Mode = "official",
        landmarks: Landmarks | None = None,
        cost_divisor: float = 1.0,
    ) -> Evaluation:
        """Scores a prediction.

        Args:
            prediction: World frame of the scene, mm. Pass a `Prediction` to score it more than once.
            region: None for the whole head (aligned on `face`, as `ears` are); `face_sphere` is the "face" of the
                published tables.
            mode: `official` (`recon.evaluation.official`) or `strict` (`recon.evaluation.strict`).
            landmarks: Vertex index or xyz of each landmark of the prediction; None takes the prediction as
                placed, and so does a ground truth without landmarks. Only with a mesh, a `Prediction` brings its own.
            cost_divisor: Official only; 3 for the numbers of trimesh before 4.6.

        Returns:
            The score. What is odd about it is logged as a warning.

        Raises:
            EvaluationError: It cannot be scored, and why.
        """
        if not isinstance(prediction, Prediction):
            prediction = Prediction(prediction, landmarks=landmarks)
        elif landmarks is not None:
            raise EvaluationError(
                "give the landmarks to Prediction(...), not to evaluate, when passing a Prediction"
            )
        if mode == "strict":
            return self._strict(prediction, region)
        return self._official(prediction, region, cost_divisor)

    def _placed(self, prediction: Prediction) -> bool:
        """Whether landmarks of prediction and ground truth place the one on the other."""
        return prediction.landmarks is not None and bool(self._truth.landmarks)

    def _landmark_pairs(
        self, prediction: Prediction
    ) -> tuple[dict[str, np.ndarray], Mapping[str, np.ndarray]]:
        count = len(self.points.points)
        if beyond := {name: index for name, index in self._truth.landmarks.items() if not 0 <= index < count}:
            raise EvaluationError(
                f"{self.name}: landmarks name vertices beyond the {count} of the mesh: {beyond}"
            )
        truth = {name: self.points.points[index] for name, index in self._truth.landmarks.items()}
        found = prediction.landmarks or {}
        if self._sided is not prediction:  # once for all scores of it
            check_sides(truth, found, prediction.name)
            self._sided = prediction
        return truth, found

    def _official(self, prediction: Prediction, region: Region | None, cost_divisor: float) -> Evaluation:
        placed = self._placed(prediction)
        check_size_and_place(
            self.points.bounds, prediction.points.bounds, prediction.name, scaled=placed, placed=placed
        )
        points, coarse_scale = self._coarsely_aligned(prediction)
        kept = None
        if region is not None:
            kept = self._kept.setdefault(region, PointSet(self.points.points[self.region(region)]))
        result = official_protocol.official(
            self.points,
            points,
            self.region(_aligned(region)),
            kept=kept,
            coarse_scale=coarse_scale,
            cost_divisor=cost_divisor,
        )
        _warn(result, prediction.name, region)
        return Evaluation("official", official_protocol.PROTOCOL, region, result.mean_mm, result)

    def _coarsely_aligned(self, prediction: Prediction) -> tuple[PointSet, float]:
        if not self._placed(prediction):
            return prediction.points, 1.0
        if (
            self._coarse is None or self._coarse[0] is not prediction
        ):  # regions of one prediction share the tree
            matrix = coarse_alignment(*self._landmark_pairs(prediction))
            scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
            self._coarse = (prediction, PointSet(transform(matrix, prediction.points.points)), scale)
        return self._coarse[1], self._coarse[2]

    def _strict(self, prediction: Prediction, region: Region | None) -> Evaluation:
        placed = self._placed(prediction)
        check_size_and_place(self.points.bounds, prediction.points.bounds, prediction.name, placed=placed)
        start = np.eye(4)
        if placed:
            truth, found = self._landmark_pairs(prediction)
            coarse_alignment(truth, found)  # the same demands on the landmarks in both modes
            start = procrustes(
                np.array([found[n] for n in truth]), np.array(list(truth.values())), scale=False
            )
        fit = self._rigid_fit(prediction, _aligned(region), start)
        result = strict_protocol.strict(self.surface, prediction.surface, self._faces(region), fit)
        return Evaluation("strict", strict_protocol.PROTOCOL, region, result.mean_mm, result)

    def _rigid_fit(self, prediction: Prediction, region: str, start: np.ndarray) -> RigidFit:
        """The alignment on a region; head and ears of one prediction share theirs."""
        if self._fit is None or self._fit[0] is not prediction or self._fit[1] != region:
            fit = rigid_fit(self.surface, prediction.surface, self._faces(region), start)
            self._fit = (prediction, region, fit)
        return self._fit[2]

    def _faces(self, region: str | None) -> Bool[np.ndarray, " gt_faces"] | None:
        if region is None:
            return None
        member = np.zeros(len(self.points.points), bool)
        member[self.region(region)] = True
        faces: Bool[np.ndarray, " gt_faces"] = member[self.surface.faces].all(axis=1)
        if not faces.any():
            raise EvaluationError(
                f"{self.name}: region '{region}' holds no whole face, so it has no surface to measure"
            )
        return faces


def evaluate(
    ground_truth: GroundTruthLike,
    prediction: trimesh.Trimesh,
    *,
    region: Region | None = None,
    mode: Mode = "official",
    landmarks: Landmarks | None = None,
) -> Evaluation:
    """Scores one prediction; for several of one scene, or several regions, `Evaluator` is faster.

    Args:
        ground_truth: Mesh, landmarks and regions of the scene.
        prediction: World frame of the scene, mm.
        region: None for the whole head; `face_sphere` is the "face" of the published tables.
        mode: `official` or `strict`.
        landmarks: Vertex index or xyz of each landmark of the prediction, by name.

    Returns:
        The score; its `mean_mm` is the headline number.

    Raises:
        EvaluationError: It cannot be scored, and why.
    """
    return Evaluator(ground_truth).evaluate(prediction, region=region, mode=mode, landmarks=landmarks)


def _aligned(region: Region | None) -> str:
    """The region that is aligned to score a region: `face` for the whole head, and for ears, which are judged where
    the head puts them.
    """
    return "face" if region is None or region == "ears" else region


def _warn(result: OfficialResult, name: str, region: Region | None) -> None:
    what = f"{name}, {region or 'head'}"
    if abs(result.settled_mm - result.mean_mm) > max(_UNSETTLED_MM, _UNSETTLED_SHARE * result.mean_mm):
        log.warning(
            "%s: the official ICP stopped at %d steps, not settled: further ones would change the number from %.2f mm "
            "to %.2f mm, so that it depends on how the prediction was placed; the strict number does not",
            what,
            result.icp.iterations,
            result.mean_mm,
            result.settled_mm,
        )
    if result.reflected:
        log.warning(
            "%s: the official ICP mirrored the prediction; the number is not about its true shape", what
        )
    if abs(result.scale - 1) > _SCALE_TOLERANCE:
        log.warning(
            "%s: the official alignment scaled the prediction by %.4g; its size is not judged",
            what,
            result.scale,
        )
