"""Reader of the OBJ files that the public head model comes in."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int32

from recon.errors import ConfigError


@dataclass(frozen=True)
class ObjMesh:
    """Content of an OBJ file.

    Attributes:
        vertices: Positions.
        texture: Texture coordinates.
        faces: Triangles; polygons are cut into fans from their first corner.
        texture_faces: The texture coordinates of their corners, -1 where the file gives none.
        polygon: The polygon that each triangle comes from.
        material: Index into `materials` of each triangle.
        materials: Names, in order of first use.
    """

    vertices: Float[np.ndarray, "vertices 3"]
    texture: Float[np.ndarray, "texture 2"]
    faces: Int32[np.ndarray, "faces 3"]
    texture_faces: Int32[np.ndarray, "faces 3"]
    polygon: Int32[np.ndarray, " faces"]
    material: Int32[np.ndarray, " faces"]
    materials: tuple[str, ...]


def parse_obj(text: str, name: str = "OBJ file") -> ObjMesh:
    """Reads an OBJ file: positions, texture coordinates, polygons and materials; the rest is passed over.

    Indices may be relative (negative), polygons may have any number of corners.

    Raises:
        ConfigError: A line that cannot be read, or an index out of range.
    """
    lines = text.splitlines()
    texture = [line.split()[1:3] for line in lines if line.startswith("vt ")]
    vertices = parse_vertices(text, name)
    corners: list[tuple[int, int]] = []
    triangles: list[tuple[int, int, int, int, int]] = []
    materials: list[str] = []
    material, polygon, seen, seen_texture = 0, 0, 0, 0
    for number, line in enumerate(lines, start=1):
        word, _, rest = line.partition(" ")
        if word == "v":
            seen += 1
        elif word == "vt":
            seen_texture += 1
        elif word == "usemtl":
            if rest.strip() not in materials:
                materials.append(rest.strip())
            material = materials.index(rest.strip())
        elif word == "f":
            first = len(corners)
            try:
                corners += [_corner(token, seen, seen_texture) for token in rest.split()]
            except ValueError as error:
                raise ConfigError(f"{name}, line {number}: expected a face, got {line!r}") from error
            if len(corners) - first < 3:
                raise ConfigError(f"{name}, line {number}: a face needs three corners, got {line!r}")
            fan = range(first + 1, len(corners) - 1)
            triangles += [(first, k, k + 1, material, polygon) for k in fan]
            polygon += 1
    table = np.array(corners, dtype=np.int64).reshape(-1, 2)
    cut = np.array(triangles, dtype=np.int64).reshape(-1, 5)
    faces, texture_faces = table[cut[:, :3], 0], table[cut[:, :3], 1]
    reach = max(texture_faces.max(initial=-1) - len(texture), faces.max(initial=-1) - len(vertices))
    if reach >= 0 or faces.min(initial=0) < 0:
        raise ConfigError(f"{name}: a face names a vertex that the file does not have")
    return ObjMesh(
        vertices,
        np.array(texture, dtype=np.float64).reshape(-1, 2),
        faces.astype(np.int32),
        texture_faces.astype(np.int32),
        cut[:, 4].astype(np.int32),
        cut[:, 3].astype(np.int32),
        tuple(materials),
    )


def parse_vertices(text: str, name: str = "OBJ file") -> Float[np.ndarray, "vertices 3"]:
    """Reads only the positions of an OBJ file.

    Raises:
        ConfigError: A position that is not three finite numbers.
    """
    rows = [line.split()[1:4] for line in text.splitlines() if line.startswith("v ")]
    try:
        vertices = np.array(rows, dtype=np.float64).reshape(len(rows), 3)
    except ValueError as error:
        raise ConfigError(f"{name}: a vertex is not three numbers ({error})") from error
    if not np.isfinite(vertices).all():
        raise ConfigError(f"{name}: a vertex is not finite")
    return vertices


def _corner(token: str, vertices: int, texture: int) -> tuple[int, int]:
    """Zero-based vertex and texture index of a face's corner `v`, `v/t`, `v//n` or `v/t/n`."""
    parts = token.split("/")
    v = int(parts[0])
    t = int(parts[1]) if len(parts) > 1 and parts[1] else 0
    return (v - 1 if v > 0 else vertices + v), (t - 1 if t > 0 else texture + t if t < 0 else -1)
