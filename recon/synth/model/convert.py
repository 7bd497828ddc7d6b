"""Converts the public ICT-FaceKit Light repository to the packed head model that `recon.synth.model.head_model` reads.

The model is text: one OBJ file for the neutral head, one per identity direction, one per expression, and a
JSON file of vertex lists. All have the same vertices in the same order, so that a direction is a
difference of positions.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from recon.errors import ConfigError
from recon.files import replacing
from recon.synth.model.ict_obj import ObjMesh, parse_obj, parse_vertices
from recon.synth.model.source import FOLDER, Source, content_digest
from recon.synth.model.subdivision import boundary_loops

logger = logging.getLogger(__name__)

COMMIT = "da5f95a607f5e6b37755b38d3385d7f2853732e5"
SHA256 = "cebc70db53598b3c95256977012e1f6b7bec3c2771e6d65d0e602a71a00b9385"
"""`content_digest` of the model at `COMMIT`; an archive's own bytes may change, its content may not."""

_ORIGIN = "github.com/ICT-VGL/ICT-FaceKit (MIT, (c) 2020 USC Institute for Creative Technologies)"

NEUTRAL = "generic_neutral_mesh"
_EXTRA_EXPRESSIONS = ("PupilDilate_L", "PupilDilate_R", "cheekRaiser_L", "cheekRaiser_R")
# the longer jaw lines of the model's README: they follow the contour of a turned head
_JAW_RIGHT = (1280, 1278, 1275, 1272, 1248, 12, 820, 1834, 1902, 243, 844, 781, 1673, 2199, 801, 1447, 800)
_JAW_LEFT = (
    3041,
    3661,
    3042,
    4390,
    3880,
    3022,
    3085,
    2484,
    4102,
    4036,
    3061,
    2253,
    3466,
    3490,
    3493,
    3496,
    3498,
)


@dataclass(frozen=True)
class Layout:
    """How the model's vertices are ordered (its README's table of geometry).

    Attributes:
        regions: Name, number of vertices and number of polygons of each region, in the file's order.
        kept: How many of the regions are packed; the rest are see-through shells.
        iris: First and last vertex of the left and of the right iris.
        narrow_face: Vertices of the narrow face area.
        open_regions: Regions that with their one opening capped enclose the skin.
        identities: Number of identity files.
    """

    regions: tuple[tuple[str, int, int], ...]
    kept: int
    iris: tuple[tuple[int, int], tuple[int, int]]
    narrow_face: int
    open_regions: tuple[str, ...]
    identities: int


ICT_LIGHT = Layout(
    regions=(
        ("face", 9409, 9230),
        ("head_neck", 1839, 1914),
        ("mouth_socket", 2046, 2082),
        ("eye_socket_L", 384, 404),
        ("eye_socket_R", 384, 404),
        ("gums_tongue", 2977, 2972),
        ("teeth", 4412, 4490),
        ("eyeball_L", 1570, 1598),
        ("eyeball_R", 1570, 1598),
        ("lacrimal_L", 204, 163),
        ("lacrimal_R", 204, 163),
        ("eye_blend_L", 24, 15),
        ("eye_blend_R", 24, 15),
        ("eye_occl_L", 152, 128),
        ("eye_occl_R", 152, 128),
        ("lashes_L", 684, 540),
        ("lashes_R", 684, 540),
    ),
    kept=9,
    iris=((22221, 23020), (23791, 24590)),
    narrow_face=6706,
    open_regions=("face", "head_neck", "mouth_socket", "eye_socket_L", "eye_socket_R"),
    identities=100,
)


def cap_strip(loop: np.ndarray) -> Int32[np.ndarray, "cap 3"]:
    """Closes a boundary loop by a strip of triangles between its two halves.

    Args:
        loop: Boundary vertices in the order of `boundary_loops`.

    Returns:
        Triangles that, with the open mesh, are closed and consistently wound.
    """
    left, right = 0, len(loop) - 1
    triangles = []
    forward = True
    while right - left > 1:
        following = left + 1 if forward else right - 1
        triangles.append((loop[right], loop[following], loop[left]))
        left, right = (following, right) if forward else (left, following)
        forward = not forward
    return np.array(triangles, dtype=np.int32).reshape(-1, 3)


def convert(source: Source, layout: Layout = ICT_LIGHT) -> dict[str, Any]:
    """Packs the model.

    Args:
        source: The repository's files.
        layout: The order of its vertices.

    Returns:
        The arrays of the packed file, by name.

    Raises:
        ConfigError: A file is missing, broken, or does not fit the others.
    """
    neutral = parse_obj(_text(source, NEUTRAL), NEUTRAL)
    total = sum(count for _, count, _ in layout.regions)
    if len(neutral.vertices) != total:
        raise ConfigError(f"{NEUTRAL}.obj has {len(neutral.vertices)} vertices, the model's layout {total}")
    region_of = np.repeat(np.arange(len(layout.regions)), [count for _, count, _ in layout.regions])
    kept = int((region_of < layout.kept).sum())
    inside = (neutral.faces < kept).all(axis=1)
    faces = neutral.faces[inside]
    lists = _vertex_lists(source)
    face_region = _polygon_regions(neutral, layout)[neutral.polygon[inside]]
    neck = _neck_loop(faces, face_region, layout)
    return {
        "vertices": neutral.vertices[:kept].astype(np.float32),
        "faces": faces,
        "face_region": face_region.astype(np.uint8),
        "face_material": neutral.material[inside].astype(np.uint8),
        "face_src_polygon": neutral.polygon[inside],
        "vertex_region": region_of[:kept].astype(np.uint8),
        "region_names": np.array([name for name, _, _ in layout.regions]),
        "material_names": np.array(neutral.materials),
        "orig_vertex_index": np.arange(kept, dtype=np.int32),
        "orig_num_vertices": np.int32(total),
        "uv": neutral.texture.astype(np.float32),
        "faces_uv": neutral.texture_faces[inside],
        **_directions(source, layout, neutral.vertices, kept, lists["expressions"]),
        **_places(layout, lists),
        **_facts(source),
        "neck_loop": neck.astype(np.int32),
        "neck_cap_faces": cap_strip(neck),
    }


def _polygon_regions(neutral: ObjMesh, layout: Layout) -> np.ndarray:
    """Index of the region that each polygon of the file belongs to."""
    regions = np.repeat(np.arange(len(layout.regions)), [count for _, _, count in layout.regions])
    if len(regions) != neutral.polygon[-1] + 1:
        raise ConfigError(f"{NEUTRAL}.obj has {neutral.polygon[-1] + 1} polygons, not {len(regions)}")
    return regions


def _neck_loop(faces: np.ndarray, face_region: np.ndarray, layout: Layout) -> np.ndarray:
    """Vertices around the one opening of the skin."""
    open_ids = [index for index, (name, _, _) in enumerate(layout.regions) if name in layout.open_regions]
    loops = boundary_loops(faces[np.isin(face_region, open_ids)].astype(np.int64))
    if len(loops) != 1:
        raise ConfigError(f"{NEUTRAL}.obj: expected one opening at the neck, found {len(loops)}")
    return loops[0]


def _directions(
    source: Source, layout: Layout, neutral: np.ndarray, kept: int, arkit: Sequence[str]
) -> dict[str, Any]:
    """Identities and expressions, as differences from the neutral head."""
    present = set(source.names())
    expressions = [n for n in (*arkit, *_EXTRA_EXPRESSIONS) if f"{FOLDER}/{n}.obj" in present]

    def deltas(names: Iterable[str]) -> np.ndarray:
        return np.stack([_delta(source, name, neutral)[:kept] for name in names]).astype(np.float16)

    return {
        "identity_deltas": deltas(f"identity{n:03d}" for n in range(layout.identities)),
        "expression_deltas": deltas(expressions),
        "expression_names": np.array(expressions),
        "n_arkit_expressions": np.int32(len(arkit)),
    }


def _places(layout: Layout, lists: Mapping[str, Any]) -> dict[str, Any]:
    """Vertices that have a name."""
    return {
        "landmarks68": np.array(lists["idx_to_landmark_verts"], dtype=np.int32),
        "jaw_right_ext": np.array(_JAW_RIGHT, dtype=np.int32),
        "jaw_left_ext": np.array(_JAW_LEFT, dtype=np.int32),
        "rigid_vertices": np.array(lists["idx_to_rigid_verts"], dtype=np.int32),
        "fitting_vertices": np.array(lists["idx_to_fitting_verts"], dtype=np.int32),
        "rigid_landmark_idx": np.array(lists["idx_to_rigid_landmark_idx"], dtype=np.int32),
        "narrow_face_num_vertices": np.int32(layout.narrow_face),
        "iris_L_orig_range": np.array(layout.iris[0]),
        "iris_R_orig_range": np.array(layout.iris[1]),
    }


def _facts(source: Source) -> dict[str, Any]:
    """Units, axes, licence and origin, in words."""
    return {
        "units": np.array("centimetre"),
        "scale_to_mm": np.float32(10.0),
        "axes": np.array("+Y up, +Z out of the face, +X subject's left"),
        "identity_sampling": np.array("weights ~ N(0,1), independent"),
        "licence": np.array(source.read("LICENSE").decode("utf-8")),
        "source": np.array(f"{_ORIGIN}; content sha256 {content_digest(source)}"),
    }


def write_packed(arrays: dict[str, Any], path: str | Path) -> Path:
    """Writes the packed model at once or not at all."""
    target = Path(path)
    with replacing(target) as temporary:
        np.savez_compressed(temporary, **arrays)
    logger.info("wrote %s", target)
    return target


def _text(source: Source, stem: str) -> str:
    return source.read(f"{FOLDER}/{stem}.obj").decode("utf-8", errors="replace")


def _delta(source: Source, stem: str, neutral: np.ndarray) -> np.ndarray:
    vertices = parse_vertices(_text(source, stem), f"{stem}.obj")
    if vertices.shape != neutral.shape:
        raise ConfigError(f"{stem}.obj has {len(vertices)} vertices, the neutral head {len(neutral)}")
    result: np.ndarray = vertices - neutral
    return result


def _vertex_lists(source: Source) -> dict[str, Any]:
    name = f"{FOLDER}/vertex_indices.json"
    try:
        lists: dict[str, Any] = json.loads(source.read(name))
    except ValueError as error:
        raise ConfigError(f"{source.path}: {name} is not JSON ({error})") from error
    wanted = ("expressions", "idx_to_landmark_verts", "idx_to_rigid_verts", "idx_to_fitting_verts",
              "idx_to_rigid_landmark_idx")  # fmt: skip
    missing = [key for key in wanted if key not in lists]
    if missing:
        raise ConfigError(f"{source.path}: {name} lacks {', '.join(missing)}")
    return lists
