"""Bundle adjustment of landmarks: a head's code, a pose for each photograph, and focal lengths.

The world is the canonical frame of the shape model in millimetres, so that the head is upright and about life-size
there. Robust least squares by Gauss–Newton in double precision; the normal equations give the uncertainties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from recon.calibration.landmarks import LandmarkModel
from recon.calibration.poses import starts
from recon.scene import Camera


@dataclass(frozen=True, eq=False)
class LandmarkView:
    """Landmarks of one photograph.

    Attributes:
        pixels: (468, 2), (0, 0) is the outer corner of the first pixel.
        sigma_px: (468,) their standard deviation.
        width: Of the photograph, pixels.
        height: Of the photograph, pixels.
        focal_px: Focal length where something tells it; None where it is to be guessed.
        principal_point: Where the optical axis meets the photograph; None for its middle.
        original_size: Of the picture that the camera took; those of one size may share a focal length. None for that of
            the photograph.
        scale: Pixels of the photograph per pixel of that picture.
    """

    pixels: Float[np.ndarray, "points 2"]
    sigma_px: Float[np.ndarray, " points"]
    width: int
    height: int
    focal_px: float | None = None
    principal_point: tuple[float, float] | None = None
    original_size: tuple[int, int] | None = None
    scale: float = 1.0

    @property
    def middle(self) -> Float[np.ndarray, " 2"]:
        """The principal point."""
        return np.array(self.principal_point or (self.width / 2, self.height / 2))


@dataclass(frozen=True)
class BundleSettings:
    """How photographs are put together.

    Attributes:
        steps: Of Gauss–Newton.
        count: As how many independent points the landmarks of one photograph count.
        robust_sigmas: Residuals of so many standard deviations begin to lose their say (Geman–McClure).
        distance_mm: Of the camera, where nothing tells the focal length.
        guess_sigma: Standard deviation of the logarithm of a focal length that is guessed. People photograph each other
            from more various distances, but landmarks say next to nothing of perspective: the network flattens faces.
        known_sigma: Standard deviation of one that is told.
        shared: Whether photographs of one size, whose focal lengths are guessed, have the same one.
        common_error: Factor of the uncertainties of cameras. The network errs alike at neighbouring points, so that
            independent errors explain only a part: of nine validation heads, frontal cameras were 2.2 times and side
            ones 2.4 times further off (root mean square).
    """

    steps: int = 25
    count: float = 60.0
    robust_sigmas: float = 3.0
    distance_mm: float = 850.0
    guess_sigma: float = 0.12
    known_sigma: float = 0.02
    shared: bool = True
    common_error: float = 2.4


@dataclass(frozen=True, eq=False)
class BundleState:
    """What is being found.

    Attributes:
        code: Of the head.
        poses: camera_from_world of each photograph, world mm.
        log_focals: Logarithms of the focal lengths in pixels of the pictures that cameras took, one for each group of
            photographs.
    """

    code: Float[np.ndarray, " components"]
    poses: Float[np.ndarray, "views 4 4"]
    log_focals: Float[np.ndarray, " groups"]


@dataclass(frozen=True)
class CameraUncertainty:
    """Standard deviations of one camera, over all directions together.

    Attributes:
        rotation_deg: Of its orientation.
        centre_mm: Of its place.
        focal_percent: Of its focal length.
    """

    rotation_deg: float
    centre_mm: float
    focal_percent: float


@dataclass(frozen=True, eq=False)
class Bundle:
    """Cameras about a head.

    Attributes:
        code: Of the head, the first components.
        cameras: World mm.
        uncertainties: Of the cameras.
        residual_mm: For each photograph the typical distance (median) of its landmarks on the head.
        outliers: For each photograph the share of its landmarks that lost their say.
        yaw_deg: From which side each camera sees the head, positive on the subject's left.
        energy: Negative logarithm of the probability of all that was found, but for a constant.
        view_energy: What each photograph adds to it.
    """

    code: Float[np.ndarray, " components"]
    cameras: tuple[Camera, ...]
    uncertainties: tuple[CameraUncertainty, ...]
    residual_mm: tuple[float, ...]
    outliers: tuple[float, ...]
    yaw_deg: tuple[float, ...]
    energy: float
    view_energy: tuple[float, ...]


def bundle_adjust(
    model: LandmarkModel, views: Sequence[LandmarkView], settings: BundleSettings | None = None
) -> Bundle:
    """Cameras and the head that the landmarks of some photographs show.

    Args:
        model: Landmarks by code.
        views: At least one photograph.
        settings: How.
    """
    problem = BundleProblem.from_views(model, views, settings or BundleSettings())
    state = problem.start()
    for _ in range(problem.settings.steps):
        matrix, gradient = problem.normal_equations(state)
        state = problem.moved(state, -np.linalg.solve(matrix, gradient))
    matrix, _ = problem.normal_equations(state)
    return problem.judged(state, np.linalg.inv(matrix) * problem.settings.common_error**2)


@dataclass(frozen=True, eq=False)
class BundleProblem:
    """Everything that stays the same from step to step; unknowns are the code, six numbers for each pose (a rotation
    vector and a shift, both in the camera's frame), and logarithms of focal lengths.

    Attributes:
        model: Landmarks by code.
        views: The photographs.
        settings: How.
        group: For each photograph the number of its focal length.
        focal_mean: Expected logarithm of each focal length.
        focal_sigma: Standard deviation of that.
    """

    model: LandmarkModel
    views: Sequence[LandmarkView]
    settings: BundleSettings
    group: tuple[int, ...]
    focal_mean: Float[np.ndarray, " groups"]
    focal_sigma: Float[np.ndarray, " groups"]

    @classmethod
    def from_views(
        cls, model: LandmarkModel, views: Sequence[LandmarkView], settings: BundleSettings
    ) -> BundleProblem:
        """The problem, with what is known of focal lengths: as told, or by a likely distance."""
        keys: list[object] = []
        guesses: list[list[float]] = []
        sigmas: list[float] = []
        group = []
        for number, view in enumerate(views):
            known = view.focal_px is not None
            same = settings.shared and not known
            key = (view.original_size or (view.width, view.height)) if same else number
            if key not in keys:
                keys.append(key)
                guesses.append([])
                sigmas.append(settings.known_sigma if known else settings.guess_sigma)
            guess = view.focal_px
            if guess is None:
                guess = settings.distance_mm * starts(model.places, view.pixels - view.middle, 1.0)[0].scale
            guesses[keys.index(key)].append(np.log(guess / view.scale))
            group.append(keys.index(key))
        means = np.array([np.mean(each) for each in guesses])
        return cls(model, views, settings, tuple(group), means, np.array(sigmas))

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return self.model.components + 6 * len(self.views) + len(self.focal_mean)

    def pose_at(self, index: int) -> slice:
        """Unknowns of a photograph's pose."""
        first = self.model.components + 6 * index
        return slice(first, first + 6)

    def focal_at(self, index: int) -> int:
        """Unknown of a photograph's focal length."""
        return self.model.components + 6 * len(self.views) + self.group[index]

    def _focal_px(self, log_focals: Float[np.ndarray, " groups"], index: int) -> float:
        """Focal length of a photograph in its own pixels."""
        return float(np.exp(log_focals[self.group[index]])) * self.views[index].scale

    def start(self) -> BundleState:
        """The mean head, with the best of several starting poses for each photograph."""
        code = np.zeros(self.model.components)
        poses = []
        for index, view in enumerate(self.views):
            focal = self._focal_px(self.focal_mean, index)
            candidates = [each.pose for each in starts(self.model.places, view.pixels - view.middle, focal)]
            refined = [self._refined(index, pose) for pose in candidates]
            poses.append(min(refined, key=lambda each: each[1])[0])
        return BundleState(code, np.stack(poses), self.focal_mean.copy())

    def _refined(self, index: int, pose: np.ndarray, steps: int = 10) -> tuple[np.ndarray, float]:
        """A pose after some steps on one photograph alone, and its cost."""
        alone = replace(
            self,
            model=self.model.of_components(0),
            views=[self.views[index]],
            group=(0,),
            focal_mean=self.focal_mean[[self.group[index]]],
            focal_sigma=self.focal_sigma[[self.group[index]]],
        )
        state = BundleState(np.zeros(0), pose[None], alone.focal_mean.copy())
        own = alone.pose_at(0)
        for _ in range(steps):
            matrix, gradient = alone.normal_equations(state)
            update = np.zeros(alone.size)
            update[own] = -np.linalg.solve(matrix[own, own], gradient[own])
            state = alone.moved(state, update)
        return state.poses[0], alone.cost(state)

    def moved(self, state: BundleState, update: Float[np.ndarray, " unknowns"]) -> BundleState:
        """The state after a change of the unknowns; turns are at most 0.3, shifts at most 200 mm."""
        poses = state.poses.copy()
        for index in range(len(self.views)):
            own = update[self.pose_at(index)]
            turn = np.clip(own[:3], -0.3, 0.3)
            poses[index, :3, :3] = Rotation.from_rotvec(turn).as_matrix() @ poses[index, :3, :3]
            poses[index, :3, 3] += np.clip(own[3:], -200.0, 200.0)
        focals = state.log_focals + np.clip(update[-len(state.log_focals) :], -0.3, 0.3)
        return BundleState(state.code + update[: self.model.components], poses, focals)

    def residuals(self, state: BundleState, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Differences between where a head's landmarks are shown and where they are seen, pixels, with the Jacobian.

        Returns:
            (468, 2) and (468, 2, unknowns).
        """
        view, model = self.views[index], self.model
        rotation, shift = state.poses[index, :3, :3], state.poses[index, :3, 3]
        focal = self._focal_px(state.log_focals, index)
        yaw, yaw_by = yaw_and_derivative(rotation, shift)
        offset, offset_by = model.offset(yaw)
        turned = (model.points_of(state.code) + offset) @ rotation.T
        local = turned + shift
        depth = np.maximum(local[:, 2], 1.0)
        shown = focal * local[:, :2] / depth[:, None]
        by_local = np.zeros((len(local), 2, 3))
        by_local[:, 0, 0] = by_local[:, 1, 1] = focal / depth
        by_local[:, :, 2] = -shown / depth[:, None]
        jacobian = np.zeros((len(local), 2, self.size))
        by_point = by_local @ rotation
        jacobian[:, :, : model.components] = np.einsum("pij,pjc->pic", by_point, model.basis)
        pose = np.einsum("pij,pj->pi", by_point, offset_by)[:, :, None] * yaw_by
        pose[:, :, :3] += np.cross(turned[:, None], by_local)  # g · (ω × x) = ω · (x × g)
        pose[:, :, 3:] += by_local
        jacobian[:, :, self.pose_at(index)] = pose
        jacobian[:, :, self.focal_at(index)] = shown
        return shown + view.middle - view.pixels, jacobian

    def normal_equations(self, state: BundleState) -> tuple[np.ndarray, np.ndarray]:
        """Matrix and gradient of the weighted squares about a state, priors included."""
        matrix, gradient = np.zeros((self.size, self.size)), np.zeros(self.size)
        free = self.model.components
        matrix[range(free), range(free)] = 1.0
        gradient[:free] = state.code
        focals = np.arange(self.size - len(self.focal_mean), self.size)
        matrix[focals, focals] = self.focal_sigma**-2
        gradient[focals] = (state.log_focals - self.focal_mean) / self.focal_sigma**2
        for index in range(len(self.views)):
            residual, jacobian = self.residuals(state, index)
            sigma = self.sigma_px(state, index)
            weight = np.repeat(self._weights(residual, sigma) / sigma**2, 2)
            rows = jacobian.reshape(-1, self.size)
            matrix += (rows * weight[:, None]).T @ rows
            gradient += rows.T @ (weight * residual.ravel())
        return matrix, gradient

    def sigma_px(self, state: BundleState, index: int) -> Float[np.ndarray, " points"]:
        """Standard deviations of a photograph's landmarks: what the network says, more where a side is turned away."""
        yaw, _ = yaw_and_derivative(state.poses[index, :3, :3], state.poses[index, :3, 3])
        sigma: np.ndarray = self.views[index].sigma_px * self.model.noise(yaw)
        return sigma

    def _weights(self, residual: np.ndarray, sigma: np.ndarray) -> Float[np.ndarray, " points"]:
        share = min(1.0, self.settings.count / len(residual))
        return share / (1 + self._squares(residual, sigma)) ** 2

    def _squares(self, residual: np.ndarray, sigma: np.ndarray) -> Float[np.ndarray, " points"]:
        """Squared residuals in units of where they begin to lose their say."""
        return (residual**2).sum(axis=1) / (self.settings.robust_sigmas * sigma) ** 2

    def cost(self, state: BundleState) -> float:
        """Half the sum of what `normal_equations` has the derivative of (Geman–McClure)."""
        prior = (state.code**2).sum() + (((state.log_focals - self.focal_mean) / self.focal_sigma) ** 2).sum()
        return float(prior) / 2 + sum(self.view_cost(state, index) for index in range(len(self.views)))

    def view_cost(self, state: BundleState, index: int) -> float:
        """The part of `cost` that is a photograph's."""
        share = min(1.0, self.settings.count / len(self.model.places))
        square = self._squares(self.residuals(state, index)[0], self.sigma_px(state, index))
        return share * self.settings.robust_sigmas**2 * float((square / (1 + square)).sum()) / 2

    def judged(self, state: BundleState, covariance: Float[np.ndarray, "unknowns unknowns"]) -> Bundle:
        """Cameras with their uncertainties."""
        cameras, uncertain, typical, lost, yaws = [], [], [], [], []
        for index, view in enumerate(self.views):
            rotation, shift = state.poses[index, :3, :3], state.poses[index, :3, 3]
            focal = self._focal_px(state.log_focals, index)
            intrinsics = np.array([[focal, 0, view.middle[0]], [0, focal, view.middle[1]], [0, 0, 1.0]])
            cameras.append(Camera(intrinsics, np.linalg.inv(state.poses[index]), view.width, view.height))
            own = covariance[self.pose_at(index), self.pose_at(index)]
            by_pose = centre_by_pose(rotation, shift)
            number = self.focal_at(index)
            uncertain.append(
                CameraUncertainty(
                    float(np.degrees(np.sqrt(np.trace(own[:3, :3])))),
                    float(np.sqrt(np.trace(by_pose @ own @ by_pose.T))),
                    float(100 * np.sqrt(covariance[number, number])),
                )
            )
            residual, _ = self.residuals(state, index)
            typical.append(float(np.median(np.linalg.norm(residual, axis=1)) * shift[2] / focal))
            lost.append(float((self._squares(residual, self.sigma_px(state, index)) > 1).mean()))
            yaws.append(float(np.degrees(yaw_and_derivative(rotation, shift)[0])))
        return Bundle(
            state.code,
            tuple(cameras),
            tuple(uncertain),
            tuple(typical),
            tuple(lost),
            tuple(yaws),
            self.cost(state),
            tuple(self.view_cost(state, index) for index in range(len(self.views))),
        )


def centre_by_pose(
    rotation: Float[np.ndarray, "3 3"], shift: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "3 6"]:
    """Derivative of a camera's centre −Rᵀt by a turn and a shift in its own frame."""
    cross = np.array([[0, -shift[2], shift[1]], [shift[2], 0, -shift[0]], [-shift[1], shift[0], 0]])
    return np.concatenate([-rotation.T @ cross, -rotation.T], axis=1)


def yaw_and_derivative(
    rotation: Float[np.ndarray, "3 3"], shift: Float[np.ndarray, " 3"]
) -> tuple[float, Float[np.ndarray, " 6"]]:
    """From which side of the head a camera looks, radians, positive on the subject's left, and its derivative by a turn
    and a shift in the camera's frame.
    """
    centre = -rotation.T @ shift
    across = max(centre[0] ** 2 + centre[2] ** 2, 1e-9)
    by_centre = np.array([centre[2], 0.0, -centre[0]]) / across
    return float(np.arctan2(centre[0], centre[2])), by_centre @ centre_by_pose(rotation, shift)
