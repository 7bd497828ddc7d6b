"""The least squares of a head, its pose and the cameras, about a present state of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor

from recon.fitting.expected import Expected, small_similarity
from recon.fitting.faces import Faces
from recon.fitting.family import Family, Member
from recon.fitting.head import NECK_UNIT
from recon.fitting.likeness import Likeness
from recon.fitting.overlap import LEAST_ROWS, neighbours, shared
from recon.fitting.pinhole import Pinhole
from recon.fitting.prepared import PreparedView, SolverSettings
from recon.fitting.residuals import (
    Layout,
    MarkedLandmarks,
    Rows,
    landmarks,
    photometric,
    silhouette,
)
from recon.fitting.shading import marginalised, shading
from recon.fitting.tracing import trace
from recon.fitting.weights import huber, robust, typical

LIKENESS_VIEWS = 3
"""What faces look like counts no more in more photographs than in so many."""
TURN_SIGMA, SHIFT_SIGMA_MM, TAIL = np.radians(0.1), 0.5, 6.0
"""How well cameras are known: scales of their turn and of their place, and degrees of freedom of a Student's t. Most
cameras are good, and then the head must not bend them; where one is bad, heavy tails let it go.
"""


@dataclass(frozen=True)
class State:
    """What is being found: pose is canonical_from_world, cameras are world_from_camera."""

    pose: Float[np.ndarray, "4 4"]
    code: Float[Tensor, " latent"]
    cameras: Sequence[Float[np.ndarray, "4 4"]]


@dataclass(frozen=True)
class Step:
    """One step: blurs of the photographs, in pixels of pictures 512 wide; None for what is left out.

    Attributes:
        blur_px: Where they are compared with each other.
        likeness_px: Where they are compared with what faces look like.
    """

    blur_px: float | None = None
    likeness_px: float | None = None


@dataclass(frozen=True)
class System:
    """Normal equations with typical residuals of outlines (canonical unit) and colours."""

    matrix: Float[Tensor, "unknowns unknowns"]
    gradient: Float[Tensor, " unknowns"]
    outline: float
    colour: float | None


@dataclass(frozen=True)
class Problem:
    """Everything that stays the same from step to step.

    Attributes:
        family: Heads to choose from.
        likeness: What photographs of their faces look like; None where that is not known or not wanted.
        views: The photographs.
        expected: What is known of the pose.
        settings: What to do.
        marked: Landmarks marked in each photograph; None where there are none.
    """

    family: Family
    likeness: Likeness | None
    views: Sequence[PreparedView]
    expected: Expected
    settings: SolverSettings
    marked: Sequence[MarkedLandmarks | None] = ()

    def linearised(self, state: State, step: Step) -> System:
        """Normal equations about a state."""
        layout = Layout(self.family.latent_size, len(self.views))
        head = self.family.at(state.code)
        pinholes = [
            Pinhole.of(replace(view.camera, world_from_camera=pose), state.pose)
            for view, pose in zip(self.views, state.cameras, strict=True)
        ]
        matrix, gradient = self._prior(state, layout)
        outlines = self._silhouettes(head, pinholes, layout, matrix, gradient)
        self._landmarks(state.code, pinholes, layout, matrix, gradient)
        colours: list[Tensor] = []
        if step.blur_px is not None:
            colours = self._photographs(head, pinholes, layout, step.blur_px, matrix, gradient)
        if step.likeness_px is not None:
            self._likeness(head, pinholes, state.code, layout, step.likeness_px, matrix, gradient)
        return System(
            matrix,
            gradient,
            float(outlines.abs().median()),
            float(torch.cat(colours).abs().median()) if colours else None,
        )

    def moved(self, state: State, system: System) -> State:
        """The state after one step of Gauss–Newton."""
        layout = Layout(self.family.latent_size, len(self.views))
        update = -torch.linalg.solve(system.matrix, system.gradient)
        code = state.code + update[: layout.latent].to(state.code)
        twist = update[layout.similarity].clamp(-0.15, 0.15).numpy()
        poses = list(state.cameras)
        if self.settings.cameras:
            world = np.linalg.inv(state.pose[:3, :3])  # takes shifts; turns have no length
            scale = np.cbrt(np.linalg.det(world))
            for index, pose in enumerate(poses):
                own = update[layout.camera(index)].clamp(-0.1, 0.1).numpy()
                turned = pose.copy()
                turned[:3, :3] = Rotation.from_rotvec(world @ own[:3] / scale).as_matrix() @ pose[:3, :3]
                turned[:3, 3] = pose[:3, 3] + world @ own[3:]
                poses[index] = turned
        return State(small_similarity(twist) @ state.pose, code, tuple(poses))

    def _prior(self, state: State, layout: Layout) -> tuple[Tensor, Tensor]:
        """What is known beforehand: a standard normal code, a weak pose, cameras nearly as given."""
        diagonal, gradient = torch.ones(layout.size).double(), torch.zeros(layout.size).double()
        gradient[: layout.latent] = state.code.double()
        weights, pull = self.expected.pull(state.pose)
        diagonal[layout.similarity] = torch.from_numpy(weights)
        gradient[layout.similarity] = torch.from_numpy(pull)
        linear = state.pose[:3, :3]
        scale = np.cbrt(np.linalg.det(linear))
        sigma = np.repeat([TURN_SIGMA, SHIFT_SIGMA_MM * scale], 3)
        if not self.settings.cameras:
            sigma = sigma * 1e-4
        for index, (view, pose) in enumerate(zip(self.views, state.cameras, strict=True)):
            given = view.camera.world_from_camera
            turn = Rotation.from_matrix(pose[:3, :3] @ given[:3, :3].T).as_rotvec()
            away = np.concatenate([linear @ turn / scale, linear @ (pose[:3, 3] - given[:3, 3])])
            weight = sigma**-2 / (1 + ((away / sigma) ** 2).sum() / TAIL)
            diagonal[layout.camera(index)] = torch.from_numpy(weight)
            gradient[layout.camera(index)] = torch.from_numpy(away * weight)
        return torch.diag(diagonal), gradient

    def _silhouettes(
        self, head: Member, pinholes: Sequence[Pinhole], layout: Layout, matrix: Tensor, gradient: Tensor
    ) -> Float[Tensor, " rows"]:
        """Adds the outlines' part to the normal equations, and returns their residuals above the shoulders."""
        settings, residuals = self.settings, []
        weigh = robust if settings.weights else huber
        floor = settings.outline_sigma_mm / self.expected.unit_mm
        for index, (view, pinhole) in enumerate(zip(self.views, pinholes, strict=True)):
            if len(view.outline) == 0:
                continue
            rows = silhouette(head, pinhole, index, view.outline, layout)
            above = rows.points[:, 1] > NECK_UNIT
            own = rows.residual[above] if above.any() else rows.residual
            sigma = max(floor, typical(own)) if settings.weights else floor
            weight = weigh(rows.residual / sigma) * torch.where(above, 1.0, 0.1)
            share = min(1.0, settings.outline_count / len(view.outline))
            _add(rows.residual, rows.jacobian, weight * share / sigma**2, matrix, gradient)
            residuals.append(own)
        return torch.cat(residuals) if residuals else torch.zeros(1)

    def _landmarks(
        self, code: Tensor, pinholes: Sequence[Pinhole], layout: Layout, matrix: Tensor, gradient: Tensor
    ) -> None:
        """Adds the landmarks that are marked in photographs."""
        for index, marked in enumerate(self.marked):
            if marked is None:
                continue
            rows = landmarks(marked.at(code), marked.basis, pinholes[index], index, marked.pixels, layout)
            sigma = self.settings.landmark_sigma_px * self.views[index].scale
            _add(rows.residual, rows.jacobian, robust(rows.residual / sigma) / sigma**2, matrix, gradient)

    def _photographs(
        self,
        head: Member,
        pinholes: Sequence[Pinhole],
        layout: Layout,
        blur_px: float,
        matrix: Tensor,
        gradient: Tensor,
    ) -> list[Float[Tensor, " rows"]]:
        """Adds the photographs' part to the normal equations, and returns their residuals."""
        residuals = []
        pictures = [view.blurred(blur_px * view.scale) for view in self.views]
        pairs = neighbours(pinholes, self.settings.pair_angle_deg)
        for i, others in pairs.items():
            origins = pinholes[i].centre.expand(len(self.views[i].pixels), 3)
            hits = trace(head, origins, pinholes[i].directions(self.views[i].pixels))
            values, _ = pictures[i].sample(self.views[i].pixels[hits.rays])
            for j in others:
                kept, facing = shared(head, hits, pinholes[i], pinholes[j], self.views[j])
                if len(kept) < LEAST_ROWS:
                    continue
                rows = photometric(
                    head, hits.at(kept), values[kept], (pinholes[i], pinholes[j]), (i, j), pictures[j], layout
                )
                residuals.append(
                    self._add_pair(rows, facing, len(others), len(kept) / len(hits.rays), matrix, gradient)
                )
        return residuals

    def _add_pair(
        self, rows: Rows, facing: Tensor, pairs: int, overlap: float, matrix: Tensor, gradient: Tensor
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
            _add(rows.residual, rows.jacobian, weight, matrix, gradient)
            return rows.residual
        residual, jacobian = marginalised(rows.residual, rows.jacobian, shading(rows.normals), weight)
        _add(residual, jacobian, torch.ones_like(residual), matrix, gradient)
        return residual[: len(weight)] / weight.sqrt()

    def _likeness(
        self,
        head: Member,
        pinholes: Sequence[Pinhole],
        code: Tensor,
        layout: Layout,
        blur_px: float,
        matrix: Tensor,
        gradient: Tensor,
    ) -> None:
        """Adds what photographs show of the points that all faces have."""
        assert self.likeness is not None
        faces = Faces.of(self.likeness, head, code, self.settings, self.expected.unit_mm)
        # Marks are off by the same on every photograph, so many photographs together do not count for more.
        count = self.settings.likeness_count * min(1.0, LIKENESS_VIEWS / len(self.views))
        for index, (view, pinhole) in enumerate(zip(self.views, pinholes, strict=True)):
            rows = faces.against(view, pinhole, index, blur_px, count, layout)
            if rows is not None:
                _add(*rows, torch.ones_like(rows[0]), matrix, gradient)


def _add(
    residual: Float[Tensor, " rows"],
    jacobian: Float[Tensor, "rows unknowns"],
    weight: Float[Tensor, " rows"],
    matrix: Float[Tensor, "unknowns unknowns"],
    gradient: Float[Tensor, " unknowns"],
) -> None:
    """Adds weighted rows to normal equations."""
    weighted = jacobian * weight[:, None]
    matrix += (weighted.T @ jacobian).double()
    gradient += (weighted.T @ residual).double()
