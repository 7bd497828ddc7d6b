import json
import struct

import numpy as np
import pytest
import trimesh

from recon.errors import MeshError
from recon.meshing import save, srgb_to_linear


@pytest.fixture
def mesh():
    return trimesh.creation.icosphere(subdivisions=2, radius=100.0)


@pytest.fixture
def colours(mesh):
    return np.random.default_rng(0).random((len(mesh.vertices), 3))


def glb_parts(path):
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    json_length, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON" and json_length % 4 == 0
    document = json.loads(data[20 : 20 + json_length])
    binary_length, kind = struct.unpack_from("<I4s", data, 20 + json_length)
    assert kind == b"BIN\0" and binary_length % 4 == 0
    return document, data[28 + json_length :]


def test_ply_comes_back(tmp_path, mesh, colours):
    normals = mesh.vertices / 100.0
    path = save(mesh, tmp_path / "deep" / "mesh.ply", colours=colours, normals=normals)
    assert b"format binary_little_endian 1.0" in path.read_bytes()[:100]
    back = trimesh.load(path, process=False)
    np.testing.assert_allclose(back.vertices, mesh.vertices, atol=1e-5)
    np.testing.assert_array_equal(back.faces, mesh.faces)
    np.testing.assert_allclose(back.vertex_normals, normals, atol=1e-6)
    np.testing.assert_array_equal(back.visual.vertex_colors[:, :3], np.rint(colours * 255))


def test_ply_without_colours_or_normals(tmp_path, mesh):
    back = trimesh.load(save(mesh, tmp_path / "mesh.ply"), process=False)
    np.testing.assert_array_equal(back.faces, mesh.faces)


def test_glb_comes_back_in_mm(tmp_path, mesh, colours):
    path = save(mesh, tmp_path / "mesh.glb", colours=colours, normals=mesh.vertices / 100.0)
    scene = trimesh.load(path, process=False)
    back = scene.to_mesh() if hasattr(scene, "to_mesh") else scene.dump(concatenate=True)
    np.testing.assert_allclose(back.bounds, mesh.bounds, atol=1e-4)
    assert len(back.faces) == len(mesh.faces)
    metres = trimesh.load(save(mesh, tmp_path / "metres.glb", metres=True), process=False)
    np.testing.assert_allclose(metres.bounds, mesh.bounds / 1000, atol=1e-6)


def test_glb_colours_are_linear_and_the_material_is_matte(tmp_path, mesh, colours):
    colours[0] = [0.0, 0.5, 1.0]
    document, binary = glb_parts(save(mesh, tmp_path / "mesh.glb", colours=colours))
    primitive = document["meshes"][0]["primitives"][0]
    accessor = document["accessors"][primitive["attributes"]["COLOR_0"]]
    assert accessor["normalized"] and accessor["componentType"] == 5123 and accessor["type"] == "VEC4"
    view = document["bufferViews"][accessor["bufferView"]]
    stored = np.frombuffer(binary, "<u2", accessor["count"] * 4, view["byteOffset"]).reshape(-1, 4) / 65535
    # sRGB 0.5 is 0.21404 in linear light
    np.testing.assert_allclose(stored[0], [0.0, 0.21404, 1.0, 1.0], atol=1e-5)
    np.testing.assert_allclose(stored[:, :3], srgb_to_linear(colours), atol=1e-5)
    pbr = document["materials"][primitive["material"]]["pbrMetallicRoughness"]
    assert pbr == {"metallicFactor": 0.0, "roughnessFactor": 1.0}


@pytest.fixture
def extra(mesh):
    numbers = np.random.default_rng(1)
    std = numbers.random(len(mesh.vertices)) * 5
    return {"std_mm": std, "seen": numbers.integers(0, 17, len(mesh.vertices)).astype(np.uint8)}


def test_ply_has_further_numbers_of_the_vertices(tmp_path, mesh, colours, extra):
    """Read by trimesh, and by hand after the PLY specification."""
    path = save(mesh, tmp_path / "mesh.ply", colours=colours, normals=mesh.vertices / 100.0, extra=extra)
    data = trimesh.load(path, process=False).metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(data["std_mm"].ravel(), extra["std_mm"].astype(np.float32))
    np.testing.assert_array_equal(data["seen"].ravel(), extra["seen"])

    text, body = path.read_bytes().split(b"end_header\n", 1)
    sizes = {"float": ("<f4", 4), "uchar": ("u1", 1)}
    lines = [line.split() for line in text.decode().splitlines() if line.startswith("property")]
    assert [line[2] for line in lines[-3:-1]] == ["std_mm", "seen"] and lines[-1][1] == "list"
    row = np.dtype([(name, sizes[kind][0]) for _, kind, name in lines[:-1]])
    table = np.frombuffer(body, row, len(mesh.vertices))
    np.testing.assert_array_equal(table["std_mm"], extra["std_mm"].astype(np.float32))
    np.testing.assert_array_equal(table["seen"], extra["seen"])
    assert len(body) == row.itemsize * len(mesh.vertices) + 13 * len(mesh.faces)


def test_glb_has_further_numbers_as_attributes_of_its_own(tmp_path, mesh, colours, extra):
    """glTF 2.0: names begin with an underscore; every element starts at a multiple of four bytes."""
    path = save(mesh, tmp_path / "mesh.glb", colours=colours, extra=extra)
    document, binary = glb_parts(path)
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    assert set(attributes) == {"POSITION", "COLOR_0", "_STD_MM", "_SEEN"}
    for name, kind, size in (("_STD_MM", "<f4", 4), ("_SEEN", "u1", 1)):
        accessor = document["accessors"][attributes[name]]
        view = document["bufferViews"][accessor["bufferView"]]
        stride = view.get("byteStride", size)
        assert accessor["type"] == "SCALAR" and accessor["count"] == len(mesh.vertices)
        assert view["byteOffset"] % 4 == 0 and stride % 4 == 0
        assert view["byteLength"] >= stride * (accessor["count"] - 1) + size
        part = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        stored = [np.frombuffer(part, kind, 1, i * stride)[0] for i in range(accessor["count"])]
        expected = extra[name[1:].lower()]
        np.testing.assert_array_equal(stored, expected.astype(kind))
    scene = trimesh.load(path, process=False)
    np.testing.assert_array_equal(next(iter(scene.geometry.values())).faces, mesh.faces)


def test_further_numbers_that_cannot_be_written_are_named(tmp_path, mesh, extra):
    path = tmp_path / "mesh.ply"
    count = len(mesh.vertices)
    with pytest.raises(MeshError, match="std_mm must have shape"):
        save(mesh, path, extra={"std_mm": extra["std_mm"][:-1]})
    with pytest.raises(MeshError, match="seen must be floating point or uint8; got int64"):
        save(mesh, path, extra={"seen": np.zeros(count, np.int64)})
    with pytest.raises(MeshError, match="std_mm must be finite"):
        save(mesh, path, extra={"std_mm": np.where(np.arange(count) == 3, np.nan, 1.0)})
    for name in ("red", "two words", "Seen"):
        with pytest.raises(MeshError, match="name of a vertex property"):
            save(mesh, path, extra={name: np.zeros(count)})
    assert not path.exists()


def test_linear_light_is_monotonic_and_joins_at_the_knee():
    values = np.linspace(0, 1, 1001)
    assert (np.diff(srgb_to_linear(values)) > 0).all()
    assert srgb_to_linear(np.array([0.04045]))[0] == pytest.approx(
        ((0.04045 + 0.055) / 1.055) ** 2.4, abs=1e-6
    )


def test_errors_and_atomicity(tmp_path, mesh, colours, monkeypatch):
    path = save(mesh, tmp_path / "mesh.ply")
    before = path.read_bytes()
    with pytest.raises(MeshError, match=r"\.obj"):
        save(mesh, tmp_path / "mesh.obj")
    with pytest.raises(MeshError, match="colours"):
        save(mesh, path, colours=colours[:-1])
    with pytest.raises(MeshError, match="normals"):
        save(mesh, path, normals=np.full((len(mesh.vertices), 3), np.nan))
    with pytest.raises(MeshError, match="no faces"):
        save(trimesh.Trimesh(mesh.vertices, np.zeros((0, 3), int), process=False), path)

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recon.files.os.replace", full_disk)
    with pytest.raises(MeshError, match="No space left"):
        save(mesh, path, colours=colours)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["mesh.ply"]
