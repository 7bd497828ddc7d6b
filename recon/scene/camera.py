"""The pinhole camera: OpenCV axes, pixel centres at +0.5, poses named for what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from recon.errors import SceneError
from recon.geometry.frames import similarity_scale

FARTHEST = 1e12
"""Numbers of a camera, pixels or millimetres, beyond which sums of squares lose their meaning."""


@dataclass(frozen=True, eq=False)
class Camera:
    """One pinhole camera, in whatever length unit its pose is given (world mm as a scene hands it out).

    Camera axes are x right, y down, z forward. The image plane's origin is the outer corner of the first
    pixel, so that the centre of the pixel in column u, row v is at (u + 0.5, v + 0.5).

    Attributes:
        intrinsics: (3, 3) upper triangular K with K[2, 2] = 1, in pixels; skew is kept.
        world_from_camera: (4, 4) rigid pose; its last column is the camera centre in the world.
        width: Image width in pixels.
        height: Image height in pixels.
    """

    intrinsics: Float[np.ndarray, "3 3"]
    world_from_camera: Float[np.ndarray, "4 4"]
    width: int
    height: int

    def __post_init__(self) -> None:
        for name, shape in (("intrinsics", (3, 3)), ("world_from_camera", (4, 4))):
            array = np.array(getattr(self, name), dtype=np.float64)
            if array.shape != shape:
                raise SceneError(f"camera {name}: expected shape {shape}, got {array.shape}")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.width < 1 or self.height < 1:
            raise SceneError(f"camera size must be positive, got {self.width} x {self.height}")

    @classmethod
    def from_projection(
        cls,
        projection: Float[np.ndarray, "rows 4"],
        width: int,
        height: int,
        pixel_centre: float = 0.0,
    ) -> Camera:
        """Decompose a projection matrix by RQ (Hartley and Zisserman, 2004, section 6.2.4).

        A projection matrix is known up to a factor, its sign included. Of the two signs the one with
        det(P[:, :3]) > 0 is taken: it alone leaves positive focal lengths together with a proper rotation.

        Args:
            projection: (3, 4), or (4, 4) of which the first three rows count; world to homogeneous pixels.
            width: Image width in pixels.
            height: Image height in pixels.
            pixel_centre: Where the file's convention puts the centre of the first pixel: 0.0 (published IDR
                and H3DS code) or 0.5 (COLMAP). The principal point is shifted to this package's +0.5.

        Raises:
            SceneError: The matrix has a wrong shape, is not finite, or has no camera centre (singular).
        """
        P = np.asarray(projection, dtype=np.float64)
        if P.shape not in ((3, 4), (4, 4)):
            raise SceneError(f"a projection matrix is 3x4 or 4x4, got {P.shape}")
        if not np.isfinite(P).all():
            raise SceneError("the projection matrix holds NaN or infinity")
        P = P[:3]
        M = P[:, :3]
        spread = np.linalg.svd(M, compute_uv=False)
        if spread[2] <= 1e-12 * spread[0]:
            raise SceneError("the projection matrix is singular: it has no camera centre")
        P = P * np.sign(np.linalg.det(M))
        K, R = _rq(P[:, :3])
        pose = np.eye(4)
        pose[:3, :3] = R.T
        pose[:3, 3] = -np.linalg.solve(P[:, :3], P[:, 3])
        K = K / K[2, 2]
        K[:2, 2] += 0.5 - pixel_centre
        if not (np.abs(K) < FARTHEST).all() or not (np.abs(pose) < FARTHEST).all():  # NaN is none of them
            raise SceneError("the projection matrix is of no camera: its numbers are too large")
        return cls(K, pose, width, height)

    @property
    def camera_from_world(self) -> Float[np.ndarray, "4 4"]:
        """Inverse pose, from the rotation's transpose."""
        inverse = np.eye(4)
        rotation = self.world_from_camera[:3, :3].T
        inverse[:3, :3] = rotation
        inverse[:3, 3] = -rotation @ self.centre
        return inverse

    @property
    def centre(self) -> Float[np.ndarray, " 3"]:
        """Camera centre in the world."""
        return self.world_from_camera[:3, 3]

    @property
    def projection(self) -> Float[np.ndarray, "3 4"]:
        """P = K [R | t], world to homogeneous pixels, pixel centres at +0.5."""
        return self.intrinsics @ self.camera_from_world[:3]

    def projection_for(self, pixel_centre: float) -> Float[np.ndarray, "3 4"]:
        """P for a file whose first pixel is centred at `pixel_centre` (see `from_projection`)."""
        K = self.intrinsics.copy()
        K[:2, 2] -= 0.5 - pixel_centre
        return K @ self.camera_from_world[:3]

    def project(
        self, points: Float[np.ndarray, "points 3"]
    ) -> tuple[Float[np.ndarray, "points 2"], Float[np.ndarray, " points"]]:
        """Project world points.

        Returns:
            Pixel positions (points, 2), and depths along the optical axis (points,) in the world's unit. A
            point with depth <= 0 is behind the camera and its pixel means nothing.
        """
        to_camera = self.camera_from_world
        local = points @ to_camera[:3, :3].T + to_camera[:3, 3]
        homogeneous = local @ self.intrinsics.T
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = homogeneous[:, :2] / homogeneous[:, 2:]
        return pixels, local[:, 2]

    def rays(
        self, pixels: Float[np.ndarray, "rays 2"]
    ) -> tuple[Float[np.ndarray, "rays 3"], Float[np.ndarray, "rays 3"]]:
        """World rays through pixel positions: origins (the centre, repeated) and unit directions."""
        homogeneous = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1)
        local = np.linalg.solve(self.intrinsics, homogeneous.T).T
        directions = local @ self.world_from_camera[:3, :3].T
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return np.broadcast_to(self.centre, directions.shape).copy(), directions

    def resized(self, scale: float) -> Camera:
        """The camera of the same picture resized by `scale` (sides are rounded to whole pixels)."""
        return self.resized_to(max(1, round(self.width * scale)), max(1, round(self.height * scale)))

    def resized_to(self, width: int, height: int) -> Camera:
        """The camera of the same picture resized to width x height."""
        factors = np.diag([width / self.width, height / self.height, 1.0])
        return replace(self, intrinsics=factors @ self.intrinsics, width=width, height=height)

    def turned(self, turns: int) -> Camera:
        """The camera of the same picture after counterclockwise quarter turns (`np.rot90(picture, turns)`)."""
        camera = self
        for _ in range(turns % 4):
            pixels = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, camera.width], [0.0, 0.0, 1.0]])
            axes = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
            pose = camera.world_from_camera.copy()
            pose[:3, :3] = pose[:3, :3] @ axes.T
            # A skew would be one of y by x, which no upper triangle holds; a K of the same picture is found by RQ.
            K, rotation = _rq(pixels @ camera.intrinsics @ axes.T)
            pose[:3, :3] = pose[:3, :3] @ rotation.T
            camera = Camera(K / K[2, 2], pose, camera.height, camera.width)
        return camera

    def turned_pixel(self, pixel: Float[np.ndarray, " 2"], turns: int) -> Float[np.ndarray, " 2"]:
        """Where a pixel (x, y) is after counterclockwise quarter turns of the picture."""
        x, y = pixel
        width, height = self.width, self.height
        return np.array([(x, y), (y, width - x), (width - x, height - y), (height - y, x)][turns % 4])

    def transformed(self, similarity: Float[np.ndarray, "4 4"]) -> Camera:
        """The camera after the world moved by a similarity (rotation, uniform scale, translation).

        Pictures of the moved world are the same; depths grow by the similarity's scale. With
        `np.linalg.inv(scene.scale_mat)` it takes a world camera to unit space.

        Raises:
            SceneError: The 4x4 matrix is not a similarity without reflection.
        """
        linear = np.asarray(similarity, dtype=np.float64)[:3, :3]
        scale = similarity_scale(similarity)
        if scale is None:
            raise SceneError(
                "expected a 4x4 similarity without reflection (rotation, one scale, translation)"
            )
        pose = np.eye(4)
        pose[:3, :3] = linear @ self.world_from_camera[:3, :3] / scale
        pose[:3, 3] = linear @ self.centre + np.asarray(similarity, dtype=np.float64)[:3, 3]
        return replace(self, world_from_camera=pose)


def quarter_turns(cameras: Sequence[Camera], up: Float[np.ndarray, " 3"]) -> list[int]:
    """Numbers of counterclockwise quarter turns (`np.rot90`) after which pictures have a direction upwards.

    Args:
        cameras: Cameras of the pictures.
        up: Upward direction in the cameras' world.
    """
    four = np.array([[-1, 0], [0, 1], [1, 0], [0, -1]])  # up, right, down, left along y and x of a picture
    return [
        int((four @ [camera.world_from_camera[:3, 1] @ up, camera.world_from_camera[:3, 0] @ up]).argmax())
        for camera in cameras
    ]


UPRIGHT_BONUS = 0.05
"""How much the share of upright pictures counts for `common_up`: it decides where cameras stand close together."""


def up_of(cameras: Sequence[Camera], near: Float[np.ndarray, " 3"] | None = None) -> Float[np.ndarray, " 3"]:
    """Mean upward direction of the cameras, a unit vector of the world.

    Args:
        cameras: World mm.
        near: Rough upward direction. With it each camera is turned about its axis by the quarter turns that bring it
            nearest, as a picture is that was stored lying on its side.
    """
    ups = np.array([-camera.world_from_camera[:3, 1] for camera in cameras])
    if near is not None:
        turned = [
            camera.turned(turns) for camera, turns in zip(cameras, quarter_turns(cameras, near), strict=True)
        ]
        ups = np.array([-camera.world_from_camera[:3, 1] for camera in turned])
    up = np.mean(ups, axis=0)
    return up / max(np.linalg.norm(up), 1e-9)


def common_up(cameras: Sequence[Camera], middle: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    """Upward direction of what cameras stand around, a unit vector of their frame, whether or not their pictures are
    stored upright: the direction that, after quarter turns, most of them have upwards, and along which they are spread
    least. Where all pictures lie on their side, up and down are told apart by nothing.

    Args:
        cameras: Of one object.
        middle: Its middle.
    """
    towards = np.stack([camera.centre for camera in cameras]) - middle
    towards /= np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-12)
    own = np.stack([-camera.world_from_camera[:3, 1] for camera in cameras])

    def preference(up: Float[np.ndarray, " 3"]) -> float:
        agreed = np.mean([np.abs(camera.world_from_camera[:3, :2].T @ up).max() for camera in cameras])
        upright = np.mean([turns == 0 for turns in quarter_turns(cameras, up)])
        return float(agreed - (towards @ up).std() + UPRIGHT_BONUS * upright)

    least = np.linalg.svd(towards - towards.mean(axis=0))[2][2]
    seeds = [sign * axis for axis in (own[0], cameras[0].world_from_camera[:3, 0], least) for sign in (1, -1)]
    found = [up_of(cameras)] + [up_of(cameras, up_of(cameras, seed)) for seed in seeds]
    return max(found, key=lambda up: round(preference(up), 9))


def _rq(matrix: Float[np.ndarray, "3 3"]) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3 3"]]:
    """Upper triangular K with a positive diagonal, and orthogonal R, with K R = matrix."""
    # QR of the matrix turned by 180 degrees and transposed is RQ of the matrix itself.
    q, r = np.linalg.qr(matrix[::-1].T)
    K, R = r.T[::-1, ::-1], q.T[::-1]
    signs = np.where(np.diag(K) < 0, -1.0, 1.0)
    return K * signs, signs[:, None] * R
