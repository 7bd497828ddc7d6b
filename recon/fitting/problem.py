"""The Gauss–Newton problem of a head, its pose and the cameras: its terms, linearised about given variables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor

from recon.fitting.brightness import BrightnessModel
from recon.fitting.covisibility import LEAST_ROWS, covisible_hits, neighbours
from recon.fitting.face_points import FaceBrightnessTerm
from recon.fitting.least_squares import NormalEquations, geman_mcclure_weight, huber_weight, mad_sigma
from recon.fitting.observations import LogPicture, Pinhole, SolverSettings, ViewObservation
from recon.fitting.pose import NECK_UNIT, PosePrior
from recon.fitting.residuals import (
    Layout,
    MarkedLandmarks,
    Rows,
    landmarks,
    photometric,
    silhouette,
    small_similarity,
)
from recon.fitting.shading import marginalised, shading
from recon.fitting.shape_model import Shape, ShapeModel
from recon.fitting.tracing import trace
from recon.scene import Camera
from recon.threads import mapped

BRIGHTNESS_VIEWS = 3
"""The brightness of face points counts no more in more photographs than in this number of them."""
TAIL = 6.0
"""Degrees of freedom of a Student's t for the errors of given cameras. Most cameras are good, and the head must not
distort them; a bad one can move under the heavy tails.
"""


@dataclass(frozen=True)
class Variables:
    """The unknowns of the problem.

    Attributes:
        pose: canonical_from_world, a similarity from world mm to canonical unit space.
        code: Code of the shape model.
        cameras: world_from_camera of each photograph, mm.
        log_focals: For each group of cameras with an unknown focal length, the logarithm of it over the given one.
    """

    pose: Float[np.ndarray, "4 4"]
    code: Float[Tensor, " latent"]
    cameras: Sequence[Float[np.ndarray, "4 4"]]
    log_focals: Float[np.ndarray, " groups"] = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class StepConfig:
    """Configuration of one step: standard deviations of the photographs' blur, pixels of pictures 512 wide.

    Attributes:
        blur_px: Blur of photographs that are compared with each other; None to leave this term out.
        brightness_px: Blur of photographs that are compared with the brightness model; None to leave this term out.
    """

    blur_px: float | None = None
    brightness_px: float | None = None


@dataclass(frozen=True)
class Linearisation:
    """Normal equations about given variables.

    Attributes:
        matrix: Jᵀ W J of all terms.
        gradient: Jᵀ W r of all terms.
        outline: Median absolute residual of the outlines, canonical unit.
        colour: Median absolute photometric residual; None without pairs of photographs.
    """

    matrix: Float[Tensor, "unknowns unknowns"]
    gradient: Float[Tensor, " unknowns"]
    outline: float
    colour: float | None


Term = tuple[NormalEquations, list[Tensor]]
"""Normal equations of one term, and the residuals by which the fit is judged."""


@dataclass(frozen=True)
class GaussNewtonProblem:
    """The fit of a shape model to photographs as a least-squares problem; constant from step to step.

    Attributes:
        shape_model: Heads to choose from.
        brightness_model: Brightness of their face points; None where that is not known or not wanted.
        views: The photographs.
        pose_prior: Prior of the pose.
        settings: Settings of the solver.
        marked: Landmarks marked in each photograph; None where there are none.
    """

    shape_model: ShapeModel
    brightness_model: BrightnessModel | None
    views: Sequence[ViewObservation]
    pose_prior: PosePrior
    settings: SolverSettings
    marked: Sequence[MarkedLandmarks | None] = ()

    @property
    def layout(self) -> Layout:
        """Positions of the unknowns."""
        return Layout(self.shape_model.latent_size, len(self.views), self.settings.focal_groups)

    def start(self, pose: Float[np.ndarray, "4 4"], code: Float[Tensor, " latent"]) -> Variables:
        """Variables of a pose and a code, with the cameras as they are given."""
        cameras = [view.camera.world_from_camera for view in self.views]
        return Variables(pose, code, cameras, np.zeros(self.layout.groups))

    def cameras(self, variables: Variables) -> list[Camera]:
        """Cameras of some variables, world mm."""
        found = []
        for index, (view, pose) in enumerate(zip(self.views, variables.cameras, strict=True)):
            intrinsics = view.camera.intrinsics.copy()
            intrinsics[:2, :2] *= np.exp(self._log_focal(variables, index))
            found.append(replace(view.camera, intrinsics=intrinsics, world_from_camera=pose))
        return found

    def _log_focal(self, variables: Variables, index: int) -> float:
        position = self.layout.focal(index)
        return 0.0 if position is None else float(variables.log_focals[position - self.layout.focals.start])

    def linearised(self, variables: Variables, step: StepConfig) -> Linearisation:
        """Linearises all terms about given variables."""
        layout = self.layout
        head = self.shape_model.shape_of(variables.code)
        pinholes = [Pinhole.from_camera(camera, variables.pose) for camera in self.cameras(variables)]
        equations = self._prior(variables, layout)
        self._landmarks(variables.code, pinholes, layout, equations)
        jobs: list[tuple[str, Callable[[], Term]]] = []
        if step.blur_px is not None:
            jobs += [("colour", job) for job in self._photometric_terms(head, pinholes, layout, step.blur_px)]
        if step.brightness_px is not None:
            terms = self._brightness_terms(head, pinholes, variables.code, layout, step.brightness_px)
            jobs += [("face", job) for job in terms]
        views = range(len(self.views))
        jobs += [
            ("outline", partial(self._silhouette_term, head, pinholes, layout, index)) for index in views
        ]
        levels: dict[str, list[Tensor]] = {"colour": [], "face": [], "outline": []}
        for (kind, _), (term, residuals) in zip(jobs, mapped(lambda job: job[1](), jobs), strict=True):
            equations.join(term)
            levels[kind] += residuals
        return Linearisation(
            equations.matrix,
            equations.gradient,
            _median(levels["outline"]) or 0.0,
            _median(levels["colour"]),
        )

    def moved(self, variables: Variables, linearisation: Linearisation) -> Variables:
        """The variables after one step of Gauss–Newton."""
        layout = self.layout
        update = -torch.linalg.solve(linearisation.matrix, linearisation.gradient)
        code = variables.code + update[: layout.latent].to(variables.code)
        change = update[layout.similarity].clamp(-0.15, 0.15).numpy()
        poses = list(variables.cameras)
        if self.settings.cameras:
            world = np.linalg.inv(variables.pose[:3, :3])  # takes shifts; turns have no length
            scale = np.cbrt(np.linalg.det(world))
            for index, pose in enumerate(poses):
                own = update[layout.camera(index)].clamp(-0.1, 0.1).numpy()
                turned = pose.copy()
                turned[:3, :3] = Rotation.from_rotvec(world @ own[:3] / scale).as_matrix() @ pose[:3, :3]
                turned[:3, 3] = pose[:3, 3] + world @ own[3:]
                poses[index] = turned
        focals = update[layout.focals].clamp(-0.1, 0.1).numpy()
        for index, pose in enumerate(poses):
            position = layout.focal(index)
            if position is not None:
                poses[index] = _further_back(pose, variables.pose, focals[position - layout.focals.start])
        return Variables(
            small_similarity(change) @ variables.pose, code, tuple(poses), variables.log_focals + focals
        )

    def _prior(self, variables: Variables, layout: Layout) -> NormalEquations:
        """Normal equations of the priors: a standard normal code, a weak prior of the pose, cameras nearly as given."""
        diagonal, gradient = torch.ones(layout.size).double(), torch.zeros(layout.size).double()
        gradient[: layout.latent] = variables.code.double()
        precision, pose_gradient = self.pose_prior.precision_and_gradient(variables.pose)
        diagonal[layout.similarity] = torch.from_numpy(precision)
        gradient[layout.similarity] = torch.from_numpy(pose_gradient)
        linear = variables.pose[:3, :3]
        scale = np.cbrt(np.linalg.det(linear))
        turn_sigma = np.radians(self.settings.camera_turn_sigma_deg)
        sigma = np.repeat([turn_sigma, self.settings.camera_shift_sigma_mm * scale], 3)
        if not self.settings.cameras:
            sigma = sigma * 1e-4
        for index, (view, pose) in enumerate(zip(self.views, variables.cameras, strict=True)):
            given = _further_back(
                view.camera.world_from_camera, variables.pose, self._log_focal(variables, index)
            )
            turn = Rotation.from_matrix(pose[:3, :3] @ given[:3, :3].T).as_rotvec()
            away = np.concatenate([linear @ turn / scale, linear @ (pose[:3, 3] - given[:3, 3])])
            weight = sigma**-2 / (1 + ((away / sigma) ** 2).sum() / TAIL)
            diagonal[layout.camera(index)] = torch.from_numpy(weight)
            gradient[layout.camera(index)] = torch.from_numpy(away * weight)
        diagonal[layout.focals] = self.settings.focal_sigma**-2
        gradient[layout.focals] = torch.from_numpy(variables.log_focals) * self.settings.focal_sigma**-2
        return NormalEquations(torch.diag(diagonal), gradient)

    def _silhouette_term(self, head: Shape, pinholes: Sequence[Pinhole], layout: Layout, index: int) -> Term:
        """The term of the outline of one photograph; its residuals are those above the shoulders."""
        term, settings, view = NormalEquations.zero(layout.size), self.settings, self.views[index]
        if len(view.outline) == 0:
            return term, []
        weigh = geman_mcclure_weight if settings.weights else huber_weight
        floor = settings.outline_sigma_mm / self.pose_prior.unit_mm
        rows = silhouette(head, pinholes[index], index, view.outline, layout)
        above = rows.points[:, 1] > NECK_UNIT
        own = rows.residual[above] if above.any() else rows.residual
        sigma = max(floor, mad_sigma(own)) if settings.weights else floor
        weight = weigh(rows.residual / sigma) * torch.where(above, 1.0, 0.1)
        share = min(1.0, settings.outline_count / len(view.outline))
        term.add(rows.residual, rows.jacobian, weight * share / sigma**2)
        return term, [own]

    def _landmarks(
        self, code: Tensor, pinholes: Sequence[Pinhole], layout: Layout, equations: NormalEquations
    ) -> None:
        """Adds the term of the landmarks that are marked in photographs."""
        for index, marked in enumerate(self.marked):
            if marked is None:
                continue
            rows = landmarks(
                marked.positions(code), marked.basis, pinholes[index], index, marked.pixels, layout
            )
            sigma = self.settings.landmark_sigma_px * self.views[index].scale
            equations.add(
                rows.residual, rows.jacobian, geman_mcclure_weight(rows.residual / sigma) / sigma**2
            )

    def _photometric_terms(
        self, head: Shape, pinholes: Sequence[Pinhole], layout: Layout, blur_px: float
    ) -> list[Callable[[], Term]]:
        """Terms of photographs compared with each other: a job for each photograph that is traced."""
        pictures = list(mapped(lambda view: view.blurred(blur_px * view.scale), self.views))
        return [
            partial(self._photometric_term, head, pinholes, layout, pictures, i, others)
            for i, others in neighbours(pinholes, self.settings.pair_angle_deg).items()
        ]

    def _photometric_term(
        self,
        head: Shape,
        pinholes: Sequence[Pinhole],
        layout: Layout,
        pictures: Sequence[LogPicture],
        i: int,
        others: Sequence[int],
    ) -> Term:
        """The term of one photograph compared with its neighbours."""
        term, residuals = NormalEquations.zero(layout.size), []
        origins = pinholes[i].centre.expand(len(self.views[i].pixels), 3)
        hits = trace(head, origins, pinholes[i].directions(self.views[i].pixels))
        values, _ = pictures[i].sample(self.views[i].pixels[hits.rays])
        for j in others:
            kept, facing = covisible_hits(head, hits, pinholes[i], pinholes[j], self.views[j])
            if len(kept) < LEAST_ROWS:
                continue
            rows = photometric(
                head, hits.select(kept), values[kept], (pinholes[i], pinholes[j]), (i, j), pictures[j], layout
            )
            overlap = len(kept) / len(hits.rays)
            residuals.append(self._add_photometric(rows, facing, len(others), overlap, term))
        return term, residuals

    def _add_photometric(
        self, rows: Rows, facing: Tensor, pairs: int, overlap: float, term: NormalEquations
    ) -> Float[Tensor, " rows"]:
        """Adds a pair of photographs to a term, and returns its residuals without what shading explains."""
        settings = self.settings
        gain = rows.residual.median() if settings.shading else torch.zeros(())
        left = rows.residual - gain
        weigh = geman_mcclure_weight if settings.weights else huber_weight
        sigma = max(settings.colour_sigma, mad_sigma(left)) if settings.weights else settings.colour_sigma
        share = min(1.0, settings.pixel_count * overlap / len(rows.residual)) / pairs
        weight = facing * share * weigh(left / sigma) / sigma**2
        if not settings.shading:
            term.add(rows.residual, rows.jacobian, weight)
            return rows.residual
        residual, jacobian = marginalised(rows.residual, rows.jacobian, shading(rows.normals), weight)
        term.add(residual, jacobian)
        return residual[: len(weight)] / weight.sqrt()

    def _brightness_terms(
        self, head: Shape, pinholes: Sequence[Pinhole], code: Tensor, layout: Layout, blur_px: float
    ) -> list[Callable[[], Term]]:
        """Terms of photographs compared with the brightness model: a job for each photograph."""
        assert self.brightness_model is not None
        face = FaceBrightnessTerm.from_code(
            self.brightness_model, head, code, self.settings, self.pose_prior.unit_mm
        )
        # Face points are off by the same on every photograph, so many photographs together do not count for more.
        count = self.settings.brightness_count * min(1.0, BRIGHTNESS_VIEWS / len(self.views))

        def term_of(index: int) -> Term:
            term = NormalEquations.zero(layout.size)
            rows = face.linearised(self.views[index], pinholes[index], index, blur_px, count, layout)
            if rows is not None:
                term.add(*rows)
            return term, []

        return [partial(term_of, index) for index in range(len(self.views))]


def _further_back(
    world_from_camera: Float[np.ndarray, "4 4"],
    canonical_from_world: Float[np.ndarray, "4 4"],
    log_focal: float,
) -> Float[np.ndarray, "4 4"]:
    """The pose of a camera so much further back that the head's middle keeps its size at a longer focal length."""
    if log_focal == 0:
        return world_from_camera
    middle = -np.linalg.solve(canonical_from_world[:3, :3], canonical_from_world[:3, 3])
    axis = world_from_camera[:3, 2]
    moved = world_from_camera.copy()
    moved[:3, 3] -= np.expm1(log_focal) * ((middle - moved[:3, 3]) @ axis) * axis
    return moved


def _median(residuals: Sequence[Float[Tensor, " _"]]) -> float | None:
    """Median of the absolute values of all residuals; None if there are none."""
    return float(torch.cat(list(residuals)).abs().median()) if residuals else None
