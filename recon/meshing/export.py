"""Writing of mesh files, atomically: binary PLY and glTF binary (GLB).

Both keep the coordinates of the mesh as they are, for a reconstruction world millimetres. The glTF
specification reads lengths as metres; `metres=True` puts a root node of scale 0.001 over the mesh for viewers
that need true size, and leaves the stored coordinates in mm.

Colours come in as sRGB. PLY stores them as they are, 8 bits, which is what every reader expects. glTF defines
COLOR_0 as linear light, so there they are linearised, and stored with 16 bits because 8 linear bits band the
shadows. Vertex colours were chosen over a texture: an extracted mesh has about one vertex per pixel of the
photographs, and needs no UV layout.

Further values of vertices, such as `std_mm` and `seen`, are scalar properties of the PLY under their own names, which
trimesh, MeshLab and plyfile read. In the GLB they are attributes of the mesh, the name in capitals after an underscore
(`_STD_MM`, `_SEEN`), as glTF 2.0 §3.7.2.1 requires of application-specific attributes.
"""

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float, Shaped

from recon.errors import MeshError
from recon.files import replacing

Colours = Float[np.ndarray, "vertices 3"]
Normals = Float[np.ndarray, "vertices 3"]
Extra = Shaped[np.ndarray, " vertices"]


def save(
    mesh: trimesh.Trimesh,
    path: Path | str,
    *,
    colours: Colours | None = None,
    normals: Normals | None = None,
    metres: bool = False,
    extra: Mapping[str, Extra] | None = None,
) -> Path:
    """Writes a mesh in the format of the suffix of `path`: `.ply` or `.glb`.

    Args:
        mesh: The mesh; its coordinates are written as they are, as float32.
        path: The file; an existing one is replaced atomically, and stays as it is if anything fails.
        colours: sRGB in [0, 1], one per vertex.
        normals: Unit vectors, one per vertex.
        metres: GLB only: a root node that scales mm to the metres of the glTF specification.
        extra: Further values of the vertices, by name: floating point, stored as float32, or uint8.

    Returns:
        The path.

    Raises:
        MeshError: Unknown suffix; colours or normals of the wrong number, or not finite; extra numbers of
            another type or number, or under a name that is taken; the file cannot be written.
    """
    path = Path(path)
    extra = {} if extra is None else extra
    vertices = np.asarray(mesh.vertices, np.float64)
    for name, array in (("vertices", vertices), ("colours", colours), ("normals", normals)):
        if array is not None and (array.shape != vertices.shape or not np.isfinite(array).all()):
            raise MeshError(
                f"{path}: {name} must be finite and of shape {vertices.shape}; got shape {array.shape}"
            )
    for name, array in extra.items():
        _check_extra(path, name, array, len(vertices))
    if not len(mesh.faces):
        raise MeshError(f"{path}: the mesh has no faces")
    if path.suffix == ".ply":
        data = _ply(mesh, colours, normals, extra)
    elif path.suffix == ".glb":
        data = _glb(mesh, colours, normals, extra, metres)
    else:
        raise MeshError(f"{path}: meshes are written as .ply or .glb, not '{path.suffix}'")
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise MeshError(f"{path}: cannot write the mesh: {error}") from error
    return path


def srgb_to_linear(colours: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Linear light of sRGB values in [0, 1] (IEC 61966-2-1)."""
    colours = np.clip(colours, 0.0, 1.0)
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


_TAKEN = {"x", "y", "z", "nx", "ny", "nz", "red", "green", "blue", "alpha"}


def _check_extra(path: Path, name: str, array: Extra, count: int) -> None:
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or name in _TAKEN:
        raise MeshError(
            f"{path}: {name!r} cannot be the name of a vertex property: small letters, digits and _ are "
            f"expected, and none of {', '.join(sorted(_TAKEN))}"
        )
    if array.shape != (count,):
        raise MeshError(f"{path}: {name} must have shape {(count,)}; got {array.shape}")
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise MeshError(f"{path}: {name} must be floating point or uint8; got {array.dtype}")
    if not np.isfinite(array).all():
        raise MeshError(f"{path}: {name} must be finite: glTF allows neither NaN nor infinity")


def _ply(
    mesh: trimesh.Trimesh, colours: Colours | None, normals: Normals | None, extra: Mapping[str, Extra]
) -> bytes:
    columns: list[tuple[str, str, str, np.ndarray]] = [
        (name, "<f4", "float", mesh.vertices[:, i]) for i, name in enumerate(("x", "y", "z"))
    ]
    if normals is not None:
        columns += [(name, "<f4", "float", normals[:, i]) for i, name in enumerate(("nx", "ny", "nz"))]
    if colours is not None:
        rgb = np.rint(np.clip(colours, 0, 1) * 255)
        columns += [(name, "u1", "uchar", rgb[:, i]) for i, name in enumerate(("red", "green", "blue"))]
    columns += [
        (name, "u1", "uchar", values) if values.dtype == np.uint8 else (name, "<f4", "float", values)
        for name, values in extra.items()
    ]
    table = np.empty(len(mesh.vertices), dtype=[(name, kind) for name, kind, _, _ in columns])
    for name, _, _, values in columns:
        table[name] = values
    faces = np.empty(len(mesh.faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, mesh.faces
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
    header += [f"property {kind} {name}" for name, _, kind, _ in columns]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    return "\n".join(header).encode() + table.tobytes() + faces.tobytes()


_FLOAT, _UBYTE, _USHORT, _UINT = 5126, 5121, 5123, 5125  # component types of glTF 2.0 §3.6.2.2
_ARRAY, _ELEMENTS = 34962, 34963  # buffer view targets


_Accessor = tuple[str, np.ndarray, dict[str, Any]]


def _attributes(
    mesh: trimesh.Trimesh, colours: Colours | None, normals: Normals | None, extra: Mapping[str, Extra]
) -> list[_Accessor]:
    """Name, stored array and accessor of each vertex attribute; every row is a multiple of four bytes."""
    positions = np.asarray(mesh.vertices, "<f4")
    bounds = {"min": positions.min(axis=0).tolist(), "max": positions.max(axis=0).tolist()}
    arrays: list[_Accessor] = [("POSITION", positions, {"componentType": _FLOAT, "type": "VEC3", **bounds})]
    if normals is not None:
        arrays.append(("NORMAL", np.asarray(normals, "<f4"), {"componentType": _FLOAT, "type": "VEC3"}))
    if colours is not None:
        rgba = np.concatenate([srgb_to_linear(colours), np.ones((len(colours), 1))], axis=1)
        rgba = np.rint(rgba * 65535).astype("<u2")
        arrays.append(("COLOR_0", rgba, {"componentType": _USHORT, "type": "VEC4", "normalized": True}))
    for name, values in extra.items():
        kind = _FLOAT
        if values.dtype == np.uint8:
            kind, padded = _UBYTE, np.zeros((len(values), 4), np.uint8)
            padded[:, 0] = values
            values = padded
        stored = values if kind == _UBYTE else np.asarray(values, "<f4")
        arrays.append((f"_{name.upper()}", stored, {"componentType": kind, "type": "SCALAR"}))
    return arrays


def _glb(
    mesh: trimesh.Trimesh,
    colours: Colours | None,
    normals: Normals | None,
    extra: Mapping[str, Extra],
    metres: bool,
) -> bytes:
    """GLB container of glTF 2.0 §4: a JSON chunk describing one mesh, a binary chunk with its arrays."""
    arrays = _attributes(mesh, colours, normals, extra)
    arrays.append(("", np.asarray(mesh.faces, "<u4").reshape(-1), {"componentType": _UINT, "type": "SCALAR"}))

    binary, views, accessors, attributes = [], [], [], {}
    at = 0
    for i, (name, array, accessor) in enumerate(arrays):
        view = {"buffer": 0, "byteOffset": at, "byteLength": array.nbytes}
        view["target"] = _ARRAY if name else _ELEMENTS
        if accessor["componentType"] == _UBYTE:
            view["byteStride"] = 4  # attributes must be aligned to four bytes
        views.append(view)
        accessors.append({"bufferView": i, "count": len(array), **accessor})
        binary.append(array.tobytes())
        at += array.nbytes
        if name:
            attributes[name] = i
    node: dict[str, Any] = {"mesh": 0, "name": "head"}
    if metres:
        node["scale"] = [0.001] * 3
    material = {
        "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
        "name": "skin and hair",
    }
    document = {
        "asset": {"version": "2.0", "generator": "headrecon"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [node],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": len(arrays) - 1, "material": 0}]}],
        "materials": [material],
        "buffers": [{"byteLength": at}],
        "bufferViews": views,
        "accessors": accessors,
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = [struct.pack("<I4s", len(text), b"JSON"), text, struct.pack("<I4s", at, b"BIN\0"), *binary]
    return struct.pack("<4sII", b"glTF", 2, 12 + sum(map(len, chunks))) + b"".join(chunks)
