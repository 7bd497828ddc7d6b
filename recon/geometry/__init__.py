"""Triangle meshes, distances to them, their pictures and outlines, and the frames that heads stand in.

Names are imported on first use: readers of files need neither compiled loops nor marching cubes.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recon.geometry.decimation import decimate as decimate
    from recon.geometry.distance_grid import RegularGrid as RegularGrid
    from recon.geometry.distance_grid import mesh_from_grid as mesh_from_grid
    from recon.geometry.distance_grid import signed_distance_grid as signed_distance_grid
    from recon.geometry.drawing import OrthographicView as OrthographicView
    from recon.geometry.drawing import orthographic_view as orthographic_view
    from recon.geometry.frames import BOX_HIGH_MM as BOX_HIGH_MM
    from recon.geometry.frames import BOX_LOW_MM as BOX_LOW_MM
    from recon.geometry.frames import FACE_RADIUS_MM as FACE_RADIUS_MM
    from recon.geometry.frames import LANDMARKS_MM as LANDMARKS_MM
    from recon.geometry.frames import UNIT_CENTRE_MM as UNIT_CENTRE_MM
    from recon.geometry.frames import UNIT_RADIUS_MM as UNIT_RADIUS_MM
    from recon.geometry.frames import CanonicalFrame as CanonicalFrame
    from recon.geometry.frames import similarity as similarity
    from recon.geometry.frames import transform as transform
    from recon.geometry.nearest import NearestTracker as NearestTracker
    from recon.geometry.nearest import PointSet as PointSet
    from recon.geometry.obj import ObjData as ObjData
    from recon.geometry.obj import read_obj as read_obj
    from recon.geometry.obj import write_obj as write_obj
    from recon.geometry.outlines import Agreement as Agreement
    from recon.geometry.outlines import agreement as agreement
    from recon.geometry.outlines import mask_iou as mask_iou
    from recon.geometry.outlines import mask_outlines as mask_outlines
    from recon.geometry.raster import Fragments as Fragments
    from recon.geometry.raster import rasterise as rasterise
    from recon.geometry.signed_distance import MeshDistance as MeshDistance
    from recon.geometry.surface import Closest as Closest
    from recon.geometry.surface import Surface as Surface
    from recon.geometry.surface import SurfaceTracker as SurfaceTracker
    from recon.geometry.tidy import drop_small_components as drop_small_components
    from recon.geometry.tidy import enclosed_volume as enclosed_volume
    from recon.geometry.tidy import largest_component as largest_component
    from recon.geometry.tidy import taubin_smooth as taubin_smooth
    from recon.geometry.tidy import vertex_normals as vertex_normals

_NAMES = {
    "decimation": "decimate",
    "distance_grid": "RegularGrid mesh_from_grid signed_distance_grid",
    "drawing": "OrthographicView orthographic_view",
    "frames": (
        "BOX_HIGH_MM BOX_LOW_MM CanonicalFrame FACE_RADIUS_MM LANDMARKS_MM UNIT_CENTRE_MM "
        "UNIT_RADIUS_MM similarity transform"
    ),
    "nearest": "NearestTracker PointSet",
    "obj": "ObjData read_obj write_obj",
    "outlines": "Agreement agreement mask_iou mask_outlines",
    "raster": "Fragments rasterise",
    "signed_distance": "MeshDistance",
    "surface": "Closest Surface SurfaceTracker",
    "tidy": "drop_small_components enclosed_volume largest_component taubin_smooth vertex_normals",
}
"""Public names by the module that has them; the imports above say the same to type checkers."""

_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    """Imports the module of a public name when the name is first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
