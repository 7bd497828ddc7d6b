"""The H3DS data set: its layout on disk read and written, its tables, and its published interface."""

from recon.scene.h3ds.dataset import H3DS, Mesh
from recon.scene.h3ds.layout import LANDMARKS, REGIONS
from recon.scene.h3ds.reader import H3DSReader
from recon.scene.h3ds.tables import scene_ids
from recon.scene.h3ds.writer import write_scene

__all__ = ["H3DS", "LANDMARKS", "REGIONS", "H3DSReader", "Mesh", "scene_ids", "write_scene"]
