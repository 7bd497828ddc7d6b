"""Scenes: cameras, views and ground truth, one reader per format on disk, and validation. Numpy only."""

from recon.scene.camera import Camera
from recon.scene.opening import open
from recon.scene.scene import CameraSource, GroundTruth, Scene
from recon.scene.validation import problems, validate
from recon.scene.view import View

__all__ = ["Camera", "CameraSource", "GroundTruth", "Scene", "View", "open", "problems", "validate"]
