"""From a signed distance function to a mesh file.

>>> mesh = to_world(clean(extract(sdf, resolution=512)), scene.scale_mat)   # doctest: +SKIP
>>> save(mesh, "mesh.glb", colours=colours)                                 # doctest: +SKIP
"""

from recon.meshing.cleaning import clean as clean
from recon.meshing.cleaning import to_world as to_world
from recon.meshing.export import save as save
from recon.meshing.export import srgb_to_linear as srgb_to_linear
from recon.meshing.extraction import extract as extract
from recon.meshing.extraction import resolution_for as resolution_for
from recon.meshing.extraction import sdf_normals as sdf_normals

__all__ = ["clean", "extract", "resolution_for", "save", "sdf_normals", "srgb_to_linear", "to_world"]
