"""Reader and writer of Wavefront OBJ files that keep the order of everything.

Landmarks and regions of a data set are vertex indices: a reader that merges, splits or drops vertices makes
them meaningless. Here a file's vertices come back as they stand in it, used or not, in float64.
"""

from __future__ import annotations

import codecs
import io
import json
import re
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float, Integer

from recon.errors import MeshError
from recon.reading import MESH_BYTES, cause, integer, listed, read_bytes, reading, shortened, table


@dataclass(frozen=True, eq=False)
class ObjData:
    """The content of an OBJ file.

    Attributes:
        vertices: (n, 3) float64, file order.
        faces: (m, 3) int64; polygons are split into fans in file order.
        colours: (n, 3) as the file has them behind the position, or None.
        normals: (k, 3) `vn` rows (k need not be n), or None.
        texture_coordinates: (t, 2) `vt` rows, or None.
        texture_faces: (m, 3) int64 into `texture_coordinates`, -1 for a face without them, or None.
    """

    vertices: Float[np.ndarray, "vertices 3"]
    faces: Integer[np.ndarray, "faces 3"]
    colours: Float[np.ndarray, "vertices 3"] | None = None
    normals: Float[np.ndarray, "normals 3"] | None = None
    texture_coordinates: Float[np.ndarray, "texels 2"] | None = None
    texture_faces: Integer[np.ndarray, "faces 3"] | None = None

    def mesh(self) -> trimesh.Trimesh:
        """Positions and triangles as a mesh with the same vertex order."""
        return trimesh.Trimesh(self.vertices, self.faces, process=False)


def read_obj(path: Path | str) -> ObjData:
    """Read positions, colours, normals, texture coordinates and faces; everything else is passed over.

    Takes `v x y z`, `v x y z w`, `v x y z r g b`; face corners `i`, `i/j`, `i//k`, `i/j/k`; negative
    (relative) indices; polygons; comments; tabs; continued lines.

    Raises:
        MeshError: The file is missing, has no vertices, holds something that is not a number, or has an
            index out of range.
    """
    path = Path(path)
    try:
        text = read_bytes(path, MESH_BYTES).removeprefix(codecs.BOM_UTF8)
    except (OSError, ValueError) as error:
        raise MeshError(f"{path} cannot be read: {cause(error)}") from error
    with reading(path, MeshError, "a Wavefront OBJ file"):
        return _parsed(text, path)


def _parsed(text: bytes, path: Path) -> ObjData:
    """The content of an OBJ file, of which `read_obj` says what is taken."""
    if b"\\" in text:
        text = text.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")
    rows, before = _sort_lines(text)
    positions, texels, faces = rows[b"v"], rows[b"vt"], rows[b"f"]
    if not positions:
        raise MeshError(f"{path} has no vertices: is it a Wavefront OBJ file?")
    vertices, colours = _positions(positions, path)
    triangles, texture_faces = _triangles(faces, before, path)
    _check_range(triangles, len(vertices), "vertex", path)
    if texture_faces is not None:
        _check_range(texture_faces[texture_faces[:, 0] >= 0], len(texels), "texture coordinate", path)
    return ObjData(
        vertices,
        triangles,
        colours,
        _numbers(rows[b"vn"], 3, path) if rows[b"vn"] else None,
        _numbers(texels, 2, path) if texels else None,
        texture_faces,
    )


def load_in_order(path: Path | str) -> Any:
    """What a mesh file of any format holds, with its vertices as they stand in it: none merged, split or reordered.

    OBJ is read by `read_obj`, everything else by trimesh, which splits the vertices of a PLY along the seams of its
    texture unless told not to, and looks for the picture.

    Raises:
        MeshError: The file is missing, of another format, or cannot be read.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".obj":
        return read_obj(path).mesh()
    if suffix not in OPTIONS:
        raise MeshError(f"{path} has the ending of no mesh: expected .obj, {', '.join(OPTIONS)}")
    with reading(path, MeshError, "a mesh"):
        content = read_bytes(path, MESH_BYTES)
        if suffix == ".ply":
            _check_ply(content)
        elif suffix == ".glb":
            _check_glb(content)
        # From memory, so that no file beside it is opened, whatever name of one stands in it.
        return trimesh.load(
            io.BytesIO(content), suffix[1:], process=False, maintain_order=True, **OPTIONS[suffix]
        )


OPTIONS: dict[str, dict[str, Any]] = {
    ".ply": {"fix_texture": False, "skip_materials": True},
    ".stl": {},
    ".off": {},
    ".glb": {"skip_materials": True},
}
"""Options of trimesh for the formats that it reads, so that vertices stay and no picture is decoded."""
MOST_INSTANCED = 100_000_000
"""Vertices of a GLB with all instances of its meshes."""


def _check_ply(content: bytes) -> None:
    """Refuses a PLY whose header claims more elements than the file has bytes.

    Raises:
        ValueError: It does.
    """
    header = content[: content.find(b"end_header")]
    for kind, count in re.findall(rb"^element\s+(\S+)\s+(\S+)", header, re.M):
        if not count.isdigit() or len(count) > 18 or int(count) > len(content):
            raise ValueError(
                f"it claims {shortened(count.decode('latin1'), 30)} elements {shortened(kind, 30)}"
            )


def _check_glb(content: bytes) -> None:
    """Refuses a GLB whose description claims more numbers than the file has bytes, or vertices without number.

    Raises:
        ValueError: It does.
        Exception: As parsers raise them: it has no description.
    """
    length = struct.unpack_from("<I", content, 12)[0]
    tree = table(json.loads(content[20 : 20 + length]), "its description")
    counts = []
    for accessor in listed(tree.get("accessors", []), "accessors"):
        counts.append(
            integer(table(accessor, "an accessor").get("count"), "the count of an accessor", 0, len(content))
        )
        if "bufferView" not in accessor:
            raise ValueError("an accessor has no numbers in the file")
    vertices = []
    for mesh in listed(tree.get("meshes", []), "meshes"):
        parts = [
            table(part, "a primitive") for part in listed(table(mesh, "a mesh")["primitives"], "primitives")
        ]
        places = [table(part["attributes"], "attributes").get("POSITION") for part in parts]
        vertices.append(sum(counts[integer(place, "POSITION", 0, len(counts) - 1)] for place in places))
    placed = [
        node["mesh"] for node in listed(tree.get("nodes", []), "nodes") if "mesh" in table(node, "a node")
    ]
    total = sum(vertices[integer(number, "the mesh of a node", 0, len(vertices) - 1)] for number in placed)
    if total > MOST_INSTANCED:
        raise ValueError(f"it places {total} vertices")


def write_obj(
    path: Path | str,
    vertices: Float[np.ndarray, "vertices 3"],
    faces: Integer[np.ndarray, "faces 3"],
    *,
    colours: Float[np.ndarray, "vertices 3"] | None = None,
    decimals: int | None = 4,
) -> None:
    """Write positions (and colours in [0, 1] behind them) and triangles, in order, without a comment line.

    Args:
        path: File to write; its folder must exist.
        vertices: (n, 3) positions.
        faces: (m, 3) vertex indices from 0.
        colours: (n, 3), written with 4 decimals.
        decimals: Digits behind the point; None writes as many as float64 needs to come back the same.

    Raises:
        MeshError: A position is not finite, or an index is out of range.
    """
    path = Path(path)
    if not np.isfinite(vertices).all():
        raise MeshError(f"{path}: refused to write vertices that are NaN or infinite")
    _check_range(faces, len(vertices), "vertex", path)
    number = "%r" if decimals is None else f"%.{decimals}f"
    # Adding 0 turns -0.0, which rounding leaves behind, into 0.0.
    values = (vertices if decimals is None else np.round(vertices, decimals)) + 0.0
    row = f"v {number} {number} {number}"
    if colours is not None:
        row += " %.4f %.4f %.4f"
        values = np.concatenate([values, colours], axis=1)
    body = (row + "\n") * len(values) % tuple(values.ravel().tolist())
    body += "f %d %d %d\n" * len(faces) % tuple((faces + 1).ravel().tolist())
    path.write_text(body, encoding="ascii")


def _sort_lines(text: bytes) -> tuple[dict[bytes, list[bytes]], dict[int, tuple[int, int]]]:
    """Lines by kind, without their keyword and comment.

    Also, for each face that may hold negative indices, how many vertices and texture coordinates stand
    before it: that is what they count back from.
    """
    rows: dict[bytes, list[bytes]] = {b"v": [], b"vn": [], b"vt": [], b"f": []}
    before: dict[int, tuple[int, int]] = {}
    positions, texels, faces = rows[b"v"], rows[b"vt"], rows[b"f"]
    commented = b"#" in text
    for line in text.splitlines():
        if commented and b"#" in line:
            line = line.split(b"#", 1)[0]
        start = line[:2]
        if start == b"v ":
            positions.append(line[2:])
        elif start == b"f ":
            if b"-" in line:
                before[len(faces)] = (len(positions), len(texels))
            faces.append(line[2:])
        else:
            parts = line.split(None, 1)
            if len(parts) == 2 and parts[0] in rows:
                if parts[0] == b"f":
                    before[len(faces)] = (len(positions), len(texels))
                rows[parts[0]].append(parts[1])
    return rows, before


def _positions(rows: list[bytes], path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """(n, 3) positions, and (n, 3) colours if at least one row has six or more numbers (others get 0)."""
    flat = _parse(b" ".join(rows), path)
    if len(flat) == 3 * len(rows):
        return flat.reshape(-1, 3), None
    counts = np.array([len(row.split()) for row in rows])
    if counts.min() < 3:
        raise MeshError(f"{path}: vertex {int(counts.argmin())} has fewer than three coordinates")
    starts = np.cumsum(counts) - counts
    vertices = flat[starts[:, None] + np.arange(3)]
    coloured = counts >= 6
    if not coloured.any():
        return vertices, None
    colours = np.zeros_like(vertices)
    colours[coloured] = flat[starts[coloured, None] + np.arange(3, 6)]
    return vertices, colours


def _numbers(rows: list[bytes], width: int, path: Path) -> np.ndarray:
    """(n, width) numbers: the first `width` of each row."""
    flat = _parse(b" ".join(rows), path)
    if len(flat) == width * len(rows):
        return flat.reshape(-1, width)
    counts = np.array([len(row.split()) for row in rows])
    if counts.min() < width:
        raise MeshError(f"{path}: a row of normals or texture coordinates has fewer than {width} numbers")
    return flat[(np.cumsum(counts) - counts)[:, None] + np.arange(width)]


def _parse(text: bytes, path: Path) -> np.ndarray:
    """All numbers of a text, float64."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return np.fromstring(text, dtype=np.float64, sep=" ")
    except (ValueError, DeprecationWarning):
        pass  # find out which word it is
    try:
        return np.array(text.split(), dtype=np.float64)
    except ValueError as error:
        raise MeshError(f"{path}: not a number where a coordinate should be ({cause(error)})") from error


def _triangles(
    rows: list[bytes], before: dict[int, tuple[int, int]], path: Path
) -> tuple[np.ndarray, np.ndarray | None]:
    """Vertex and texture indices from 0 of all triangles; texture indices are -1 where a face has none."""
    if not rows:
        return np.zeros((0, 3), dtype=np.int64), None
    groups: dict[tuple[int, int, int], list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault((len(row.split()), row.count(b"/"), row.count(b"//")), []).append(number)
    counts = np.zeros((len(rows), 2), dtype=np.int64)
    if before:
        counts[list(before)] = list(before.values())
    pieces, order = [], []
    for (corners, slashes, doubles), members in groups.items():
        if corners < 3:
            raise MeshError(f"{path}: face {members[0]} has fewer than three corners")
        indices = _corners([rows[number] for number in members], corners, slashes, doubles, path)
        indices = np.where(indices < 0, indices + counts[members][:, None, :], indices - 1)
        fan = np.array([[0, i, i + 1] for i in range(1, corners - 1)])
        pieces.append(indices[:, fan].reshape(-1, 3, 2))
        order.append(np.repeat(members, corners - 2))
    if len(pieces) == 1:
        corner_pairs = pieces[0]
    else:
        corner_pairs = np.concatenate(pieces)[np.argsort(np.concatenate(order), kind="stable")]
    texture = np.ascontiguousarray(corner_pairs[..., 1])
    return np.ascontiguousarray(corner_pairs[..., 0]), texture if (texture >= 0).any() else None


def _corners(rows: list[bytes], corners: int, slashes: int, doubles: int, path: Path) -> np.ndarray:
    """(rows, corners, 2) vertex and texture index as written (from 1; 0: none) of rows of one form."""
    text = b" ".join(rows)
    forms = {(0, 0): 1, (corners, 0): 2, (2 * corners, corners): 2, (2 * corners, 0): 3}
    try:
        if (slashes, doubles) in forms:
            flat = _integers(text.replace(b"//", b" ").replace(b"/", b" ") if slashes else text)
            table = flat.reshape(len(rows), corners, forms[slashes, doubles])
            vertex = table[..., 0]
            texture = table[..., 1] if slashes and not doubles else np.zeros_like(vertex)
        else:  # corners of different forms within one face
            fields = [corner.split(b"/") for corner in text.split()]
            vertex = np.array([int(field[0]) for field in fields]).reshape(len(rows), corners)
            texture = np.array([int(field[1]) if len(field) > 1 and field[1] else 0 for field in fields])
            texture = texture.reshape(vertex.shape)
            texture[(texture == 0).any(axis=1)] = 0
    except ValueError as error:
        raise MeshError(f"{path}: a face holds something that is not an index ({cause(error)})") from error
    if (vertex == 0).any():
        raise MeshError(f"{path}: a face uses vertex 0, but OBJ counts from 1")
    return np.stack([vertex, texture], axis=-1)


def _integers(text: bytes) -> np.ndarray:
    """All integers of a text; anything else is a ValueError."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return np.fromstring(text, dtype=np.int64, sep=" ")
        except DeprecationWarning as error:
            raise ValueError(str(error)) from error


def _check_range(indices: np.ndarray, count: int, what: str, path: Path) -> None:
    if len(indices) and (indices.min() < 0 or indices.max() >= count):
        worst = int(indices.max()) if indices.max() >= count else int(indices.min())
        raise MeshError(f"{path}: a face uses {what} {shortened(worst)} (from 0), but there are {count}")
