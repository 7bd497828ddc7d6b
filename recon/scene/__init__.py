"""What is reconstructed: cameras, views, scenes; one reader per format on disk; validation. Numpy only."""

from recon.scene.camera import Camera
from recon.scene.scene import GroundTruth, Scene, View

__all__ = ["Camera", "GroundTruth", "Scene", "View"]
