"""The mesh class of the H3DS interface: plain arrays in file order, with the published names."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from recon.errors import MeshError
from recon.geometry.obj import load_in_order, read_obj


class Mesh:
    """Arrays of a triangle mesh; what a mesh does not have is an empty array.

    Attributes:
        vertices: (n, 3) float64.
        vertices_color: (n, 3), or (0, 3).
        vertex_normals: (n, 3), or (0, 3).
        faces: (m, 3) int.
        texture_coordinates: (k, 2), or (0, 2).
        texture_indices: (m, 3) int into `texture_coordinates`, or (0, 3).
    """

    def __init__(self, dimension: int = 3, dtype: type = float) -> None:
        self.dimension = dimension
        self.dtype = dtype
        self._clear()

    def _clear(self) -> None:
        self.vertices: np.ndarray = np.zeros((0, self.dimension), dtype=self.dtype)
        self.vertices_color: np.ndarray = np.zeros((0, 3), dtype=self.dtype)
        self.vertex_normals: np.ndarray = np.zeros((0, self.dimension), dtype=self.dtype)
        self.faces = np.zeros((0, 3), dtype=int)
        self.texture_coordinates: np.ndarray = np.zeros((0, 2), dtype=self.dtype)
        self.texture_indices = np.zeros((0, 3), dtype=int)

    def to_trimesh(self) -> trimesh.Trimesh:
        """Positions and faces as a trimesh, vertex order kept."""
        return trimesh.Trimesh(np.array(self.vertices, dtype=np.float64), self.faces.copy(), process=False)

    def load(
        self,
        filename: str | os.PathLike[str],
        elements: Sequence[str] = ("vertices", "vertex_normals", "faces", "uvs"),
    ) -> Mesh:
        """Read a file into this mesh, vertices in file order.

        Args:
            filename: `.obj` by our own reader, everything else by trimesh without any processing.
            elements: What to keep of an OBJ: `vertices` (with colours), `vertex_normals`, `faces`, `uvs`.
                Normals are kept if there is one for each vertex.

        Returns:
            This mesh.

        Raises:
            MeshError: The file cannot be read or is not one triangle mesh.
        """
        self._clear()
        if Path(filename).suffix.lower() != ".obj":
            return self._load_other(filename)
        data = read_obj(Path(filename))
        if "vertices" in elements:
            self.vertices = data.vertices
            if data.colours is not None:
                self.vertices_color = data.colours
        if (
            "vertex_normals" in elements
            and data.normals is not None
            and len(data.normals) == len(data.vertices)
        ):
            self.vertex_normals = data.normals
        if "faces" in elements:
            self.faces = data.faces
        if "uvs" in elements and data.texture_coordinates is not None:
            self.texture_coordinates = data.texture_coordinates
            if data.texture_faces is not None and "faces" in elements:
                self.texture_indices = data.texture_faces
        return self

    def _load_other(self, filename: str | os.PathLike[str]) -> Mesh:
        loaded = load_in_order(Path(filename))
        if not isinstance(loaded, trimesh.Trimesh):
            raise MeshError(
                f"{filename} holds a {type(loaded).__name__}, not one triangle mesh: export one mesh"
            )
        self.vertices = np.array(loaded.vertices, dtype=np.float64)
        self.faces = np.array(loaded.faces, dtype=int)
        return self

    def save(self, filename: str | os.PathLike[str]) -> None:
        """Write the mesh, making missing folders. `.obj` keeps all arrays, others positions and faces.

        Raises:
            MeshError: There is nothing to write.
        """
        if not len(self.vertices) or not len(self.faces):
            raise MeshError(f"refused to write {filename}: the mesh has no vertices or no faces")
        path = Path(filename)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() != ".obj":
            self.to_trimesh().export(str(path))
            return
        columns = [self.vertices, self.vertices_color] if len(self.vertices_color) else [self.vertices]
        parts = [_lines("v", np.concatenate(columns, axis=1))]
        parts += [_lines("vn", self.vertex_normals), _lines("vt", self.texture_coordinates)]
        if len(self.texture_indices):
            pairs = np.stack([self.faces, self.texture_indices], axis=-1).reshape(-1, 6) + 1
            parts.append("f %d/%d %d/%d %d/%d\n" * len(pairs) % tuple(pairs.ravel().tolist()))
        else:
            parts.append("f %d %d %d\n" * len(self.faces) % tuple((self.faces + 1).ravel().tolist()))
        path.write_text("".join(parts), encoding="ascii")

    def copy(self) -> Mesh:
        """A copy that shares nothing with this mesh."""
        return copy.deepcopy(self)

    def compute_normals(self) -> None:
        """Set `vertex_normals` to the area-weighted mean of face normals; 0 for a vertex without any."""
        corners = self.vertices[self.faces]
        weighted = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        sums = np.zeros_like(self.vertices)
        for corner in range(3):
            np.add.at(sums, self.faces[:, corner], weighted)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        self.vertex_normals = np.divide(sums, length, out=np.zeros_like(sums), where=length > 0)

    def cut(self, indices: Any) -> Mesh:
        """The part of the mesh over some vertices.

        Args:
            indices: Vertex indices, the tuple that `np.where` returns, or a boolean mask over the vertices.

        Returns:
            A mesh with those vertices in the given order and the faces all of whose corners are among them
            (perhaps none); colours, normals and texture indices go along.
        """
        chosen = np.asarray(indices[0] if isinstance(indices, tuple) else indices)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.ravel().astype(int)
        place = np.full(len(self.vertices), -1)
        place[chosen] = np.arange(len(chosen))
        whole = (place[self.faces] >= 0).all(axis=1)
        part = Mesh(self.dimension, self.dtype)
        part.vertices = self.vertices[chosen].copy()
        part.faces = place[self.faces[whole]]
        if len(self.vertices_color):
            part.vertices_color = self.vertices_color[chosen].copy()
        if len(self.vertex_normals):
            part.vertex_normals = self.vertex_normals[chosen].copy()
        if len(self.texture_indices):
            part.texture_indices = self.texture_indices[whole].copy()
        part.texture_coordinates = self.texture_coordinates.copy()
        return part


def _lines(keyword: str, rows: np.ndarray) -> str:
    """`keyword a b c` for each row, with every digit that float64 needs."""
    if not len(rows):
        return ""
    line = keyword + " %r" * rows.shape[1] + "\n"
    return line * len(rows) % tuple(np.asarray(rows, dtype=np.float64).ravel().tolist())
