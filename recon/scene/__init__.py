"""What is reconstructed: cameras, views, scenes; one reader per format on disk; validation. Numpy only."""

from recon.scene.camera import Camera
from recon.scene.opening import open
from recon.scene.scene import GroundTruth, Scene, View
from recon.scene.validation import problems, validate

__all__ = ["Camera", "GroundTruth", "Scene", "View", "open", "problems", "validate"]
