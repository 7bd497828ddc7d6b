"""Extraction, cleaning and writing of meshes: from a signed distance function to a file.

>>> mesh = to_world(clean(extract(sdf, resolution=512)), scene.scale_mat)   # doctest: +SKIP
>>> save(mesh, "mesh.glb", colours=colours)                                 # doctest: +SKIP
"""

from recon.meshing.base import with_flat_base
from recon.meshing.cleaning import clean, to_world
from recon.meshing.export import save, srgb_to_linear
from recon.meshing.extraction import extract, resolution_for, sdf_normals
from recon.meshing.handles import without_handles

__all__ = [
    "clean",
    "extract",
    "resolution_for",
    "save",
    "sdf_normals",
    "srgb_to_linear",
    "to_world",
    "with_flat_base",
    "without_handles",
]
