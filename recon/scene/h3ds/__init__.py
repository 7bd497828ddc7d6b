"""The H3DS data set: its layout on disk, read and written."""

from recon.scene.h3ds.layout import LANDMARKS, REGIONS, read_scene
from recon.scene.h3ds.writer import write_scene

__all__ = ["LANDMARKS", "REGIONS", "read_scene", "write_scene"]
