"""The least squares of a head, its pose and the cameras, about a present state of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor

from recon.fitting.brightness import BrightnessModel
from recon.fitting.covisibility import LEAST_ROWS, covisible_hits, neighbours
from recon.fitting.face_points import Faces
from recon.fitting.least_squares import NormalEquations, huber, robust, typical
from recon.fitting.observations import LogPicture, Pinhole, SolverSettings, ViewObservation
from recon.fitting.pose import NECK_UNIT, PosePrior, small_similarity
from recon.fitting.residuals import Layout, MarkedLandmarks, Rows, landmarks, photometric, silhouette
from recon.fitting.shading import marginalised, shading
from recon.fitting.shape_model import Shape, ShapeModel
from recon.fitting.tracing import trace
from recon.threads import mapped

BRIGHTNESS_VIEWS = 3
"""What faces look like counts no more in more photographs than in so many."""
TAIL = 6.0
"""Degrees of freedom of a Student's t for what cameras are off by. Most cameras are good, and then the head must not
bend them; where one is bad, heavy tails let it go.
"""


@dataclass(frozen=True)
class Variables:
    """What is being found: pose is canonical_from_world, cameras are world_from_camera."""

    pose: Float[np.ndarray, "4 4"]
    code: Float[Tensor, " latent"]
    cameras: Sequence[Float[np.ndarray, "4 4"]]


@dataclass(frozen=True)
class StepConfig:
    """One step: blurs of the photographs, in pixels of pictures 512 wide; None for what is left out.

    Attributes:
        blur_px: Where they are compared with each other.
        brightness_px: Where they are compared with what faces look like.
    """

    blur_px: float | None = None
    brightness_px: float | None = None


@dataclass(frozen=True)
class Linearisation:
    """Normal equations with typical residuals of outlines (canonical unit) and colours."""

    matrix: Float[Tensor, "unknowns unknowns"]
    gradient: Float[Tensor, " unknowns"]
    outline: float
    colour: float | None


Part = tuple[NormalEquations, list[Tensor]]
"""Squares of some residuals, and residuals by whose level a fit is judged."""


@dataclass(frozen=True)
class GaussNewtonProblem:
    """Everything that stays the same from step to step.

    Attributes:
        shape_model: Heads to choose from.
        brightness_model: What photographs of their faces look like; None where that is not known or not wanted.
        views: The photographs.
        expected: What is known of the pose.
        settings: What to do.
        marked: Landmarks marked in each photograph; None where there are none.
    """

    shape_model: ShapeModel
    brightness_model: BrightnessModel | None
    views: Sequence[ViewObservation]
    pose_prior: PosePrior
    settings: SolverSettings
    marked: Sequence[MarkedLandmarks | None] = ()

    def linearised(self, variables: Variables, step: StepConfig) -> Linearisation:
        """Normal equations about a state."""
        layout = Layout(self.shape_model.latent_size, len(self.views))
        head = self.shape_model.at(variables.code)
        pinholes = [
            Pinhole.of(replace(view.camera, world_from_camera=pose), variables.pose)
            for view, pose in zip(self.views, variables.cameras, strict=True)
        ]
        equations = self._prior(variables, layout)
        self._landmarks(variables.code, pinholes, layout, equations)
        jobs: list[tuple[str, Callable[[], Part]]] = []
        if step.blur_px is not None:
            jobs += [("colour", job) for job in self._pairs(head, pinholes, layout, step.blur_px)]
        if step.brightness_px is not None:
            alike = self._alike(head, pinholes, variables.code, layout, step.brightness_px)
            jobs += [("face", job) for job in alike]
        views = range(len(self.views))
        jobs += [("outline", partial(self._silhouette, head, pinholes, layout, index)) for index in views]
        levels: dict[str, list[Tensor]] = {"colour": [], "face": [], "outline": []}
        for (kind, _), (part, residuals) in zip(jobs, mapped(lambda job: job[1](), jobs), strict=True):
            equations.join(part)
            levels[kind] += residuals
        return Linearisation(
            equations.matrix,
            equations.gradient,
            _middle(levels["outline"]) or 0.0,
            _middle(levels["colour"]),
        )

    def moved(self, variables: Variables, linearisation: Linearisation) -> Variables:
        """The state after one step of Gauss–Newton."""
        layout = Layout(self.shape_model.latent_size, len(self.views))
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
        return Variables(small_similarity(change) @ variables.pose, code, tuple(poses))

    def _prior(self, variables: Variables, layout: Layout) -> NormalEquations:
        """What is known beforehand: a standard normal code, a weak pose, cameras nearly as given."""
        diagonal, gradient = torch.ones(layout.size).double(), torch.zeros(layout.size).double()
        gradient[: layout.latent] = variables.code.double()
        weights, pull = self.pose_prior.pull(variables.pose)
        diagonal[layout.similarity] = torch.from_numpy(weights)
        gradient[layout.similarity] = torch.from_numpy(pull)
        linear = variables.pose[:3, :3]
        scale = np.cbrt(np.linalg.det(linear))
        turn_sigma = np.radians(self.settings.camera_turn_sigma_deg)
        sigma = np.repeat([turn_sigma, self.settings.camera_shift_sigma_mm * scale], 3)
        if not self.settings.cameras:
            sigma = sigma * 1e-4
        for index, (view, pose) in enumerate(zip(self.views, variables.cameras, strict=True)):
            given = view.camera.world_from_camera
            turn = Rotation.from_matrix(pose[:3, :3] @ given[:3, :3].T).as_rotvec()
            away = np.concatenate([linear @ turn / scale, linear @ (pose[:3, 3] - given[:3, 3])])
            weight = sigma**-2 / (1 + ((away / sigma) ** 2).sum() / TAIL)
            diagonal[layout.camera(index)] = torch.from_numpy(weight)
            gradient[layout.camera(index)] = torch.from_numpy(away * weight)
        return NormalEquations(torch.diag(diagonal), gradient)

    def _silhouette(self, head: Shape, pinholes: Sequence[Pinhole], layout: Layout, index: int) -> Part:
        """What the outline of one photograph says; residuals are those above the shoulders."""
        part, settings, view = NormalEquations.zero(layout.size), self.settings, self.views[index]
        if len(view.outline) == 0:
            return part, []
        weigh = robust if settings.weights else huber
        floor = settings.outline_sigma_mm / self.pose_prior.unit_mm
        rows = silhouette(head, pinholes[index], index, view.outline, layout)
        above = rows.points[:, 1] > NECK_UNIT
        own = rows.residual[above] if above.any() else rows.residual
        sigma = max(floor, typical(own)) if settings.weights else floor
        weight = weigh(rows.residual / sigma) * torch.where(above, 1.0, 0.1)
        share = min(1.0, settings.outline_count / len(view.outline))
        part.add(rows.residual, rows.jacobian, weight * share / sigma**2)
        return part, [own]

    def _landmarks(
        self, code: Tensor, pinholes: Sequence[Pinhole], layout: Layout, equations: NormalEquations
    ) -> None:
        """Adds the landmarks that are marked in photographs."""
        for index, marked in enumerate(self.marked):
            if marked is None:
                continue
            rows = landmarks(marked.at(code), marked.basis, pinholes[index], index, marked.pixels, layout)
            sigma = self.settings.landmark_sigma_px * self.views[index].scale
            equations.add(rows.residual, rows.jacobian, robust(rows.residual / sigma) / sigma**2)

    def _pairs(
        self, head: Shape, pinholes: Sequence[Pinhole], layout: Layout, blur_px: float
    ) -> list[Callable[[], Part]]:
        """What photographs compared with each other say: a job for each that is traced."""
        pictures = list(mapped(lambda view: view.blurred(blur_px * view.scale), self.views))
        return [
            partial(self._pair, head, pinholes, layout, pictures, i, others)
            for i, others in neighbours(pinholes, self.settings.pair_angle_deg).items()
        ]

    def _pair(
        self,
        head: Shape,
        pinholes: Sequence[Pinhole],
        layout: Layout,
        pictures: Sequence[LogPicture],
        i: int,
        others: Sequence[int],
    ) -> Part:
        """What one photograph compared with some others says."""
        part, residuals = NormalEquations.zero(layout.size), []
        origins = pinholes[i].centre.expand(len(self.views[i].pixels), 3)
        hits = trace(head, origins, pinholes[i].directions(self.views[i].pixels))
        values, _ = pictures[i].sample(self.views[i].pixels[hits.rays])
        for j in others:
            kept, facing = covisible_hits(head, hits, pinholes[i], pinholes[j], self.views[j])
            if len(kept) < LEAST_ROWS:
                continue
            rows = photometric(
                head, hits.at(kept), values[kept], (pinholes[i], pinholes[j]), (i, j), pictures[j], layout
            )
            residuals.append(self._compared(rows, facing, len(others), len(kept) / len(hits.rays), part))
        return part, residuals

    def _compared(
        self, rows: Rows, facing: Tensor, pairs: int, overlap: float, part: NormalEquations
    ) -> Float[Tensor, " rows"]:
        """Adds a pair of photographs, and returns its residuals without what shading explains."""
        settings = self.settings
        middle = rows.residual.median() if settings.shading else torch.zeros(())
        left = rows.residual - middle
        weigh = robust if settings.weights else huber
        sigma = max(settings.colour_sigma, typical(left)) if settings.weights else settings.colour_sigma
        share = min(1.0, settings.pixel_count * overlap / len(rows.residual)) / pairs
        weight = facing * share * weigh(left / sigma) / sigma**2
        if not settings.shading:
            part.add(rows.residual, rows.jacobian, weight)
            return rows.residual
        residual, jacobian = marginalised(rows.residual, rows.jacobian, shading(rows.normals), weight)
        part.add(residual, jacobian)
        return residual[: len(weight)] / weight.sqrt()

    def _alike(
        self, head: Shape, pinholes: Sequence[Pinhole], code: Tensor, layout: Layout, blur_px: float
    ) -> list[Callable[[], Part]]:
        """What photographs show of the points that all faces have: a job for each."""
        assert self.brightness_model is not None
        faces = Faces.of(self.brightness_model, head, code, self.settings, self.pose_prior.unit_mm)
        # Face points are off by the same on every photograph, so many photographs together do not count for more.
        count = self.settings.brightness_count * min(1.0, BRIGHTNESS_VIEWS / len(self.views))

        def of(index: int) -> Part:
            part = NormalEquations.zero(layout.size)
            rows = faces.against(self.views[index], pinholes[index], index, blur_px, count, layout)
            if rows is not None:
                part.add(*rows)
            return part, []

        return [partial(of, index) for index in range(len(self.views))]


def _middle(residuals: Sequence[Float[Tensor, " _"]]) -> float | None:
    """Median of the absolute values of all; None if there are none."""
    return float(torch.cat(list(residuals)).abs().median()) if residuals else None
