"""Landmarks of photographs, made of a head of a few components."""

import numpy as np
from scipy.spatial.transform import Rotation

from recon.calibration.bundle import LandmarkView, yaw_and_derivative
from recon.calibration.landmarks import LandmarkModel

POINTS, COMPONENTS = 40, 3


def landmark_model():
    """A model of 40 points on a face, with bias."""
    rng = np.random.default_rng(0)
    places = rng.normal(size=(POINTS, 3)) * [50, 60, 25] + [0, 0, 90]
    basis = rng.normal(size=(POINTS, 3, COMPONENTS)) * 2
    bias = rng.normal(size=(POINTS, 2, 5)) * 0.5
    return LandmarkModel(places, basis, bias, np.ones((POINTS, 11)), np.arange(POINTS))


def pose_from(yaw_deg, pitch_deg=3.0, roll_deg=2.0, distance=900.0):
    """camera_from_world that looks at the origin, positive yaw on the subject's left."""
    facing = Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))
    turn = Rotation.from_euler("ZXY", [roll_deg, pitch_deg, -yaw_deg], degrees=True)
    pose = np.eye(4)
    pose[:3, :3] = (facing * turn).as_matrix()
    pose[:3, 3] = [15.0, -10.0, distance]
    return pose


def view_of(model, pose, code, focal=1500.0, known=True, noise=0.0, rng=None):
    """What a camera sees of a head's landmarks, with noise in pixels."""
    yaw, _ = yaw_and_derivative(pose[:3, :3], pose[:3, 3])
    local = (model.points_of(code) + model.offset(yaw)[0]) @ pose[:3, :3].T + pose[:3, 3]
    pixels = focal * local[:, :2] / local[:, 2:] + [300, 400]
    if noise:
        pixels = pixels + noise * rng.normal(size=pixels.shape)
    return LandmarkView(pixels, np.full(POINTS, 2.0), 600, 800, focal if known else None)
