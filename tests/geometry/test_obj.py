import json
import struct

import numpy as np
import pytest
import trimesh

from recon.errors import MeshError
from recon.geometry.obj import load_in_order, read_obj, write_obj


def load(tmp_path, text):
    path = tmp_path / "mesh.obj"
    path.write_text(text)
    return read_obj(path)


def test_order_comments_tabs_and_unused_vertices(tmp_path):
    data = load(
        tmp_path,
        "# v 9 9 9 list of v and f \nmtllib v f vt .mtl\nv\t0 0 0 # here\nv 1 0 0\nv 5 5 5\nv 0 1 0 1.0\n"
        "vn 0 0 1\nvt 0.25 0.5 0\nf 1 2 4\n",
    )
    np.testing.assert_array_equal(data.vertices, [[0, 0, 0], [1, 0, 0], [5, 5, 5], [0, 1, 0]])
    np.testing.assert_array_equal(data.faces, [[0, 1, 3]])
    np.testing.assert_array_equal(data.normals, [[0, 0, 1]])
    np.testing.assert_array_equal(data.texture_coordinates, [[0.25, 0.5]])
    assert data.colours is None
    assert data.texture_faces is None
    mesh = data.mesh()
    assert len(mesh.vertices) == 4  # the unused vertex stays
    assert mesh.vertices.dtype == np.float64


def test_polygons_split_into_fans_in_file_order(tmp_path):
    text = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 2 2 2\nf 1 2 3 4\nf 1 2 5\nf 1 2 3 4 5\n"
    np.testing.assert_array_equal(
        load(tmp_path, text).faces, [[0, 1, 2], [0, 2, 3], [0, 1, 4], [0, 1, 2], [0, 2, 3], [0, 3, 4]]
    )


def test_negative_indices_count_back_from_where_they_stand(tmp_path):
    text = "v 0 0 0\nv 1 0 0\nv 1 1 0\nf -3 -2 -1\nv 7 7 7\nf -3 -2 -1\nf 1 2 -1\n"
    np.testing.assert_array_equal(load(tmp_path, text).faces, [[0, 1, 2], [1, 2, 3], [0, 1, 3]])


@pytest.mark.parametrize(
    ("corners", "texture"),
    [
        ("1 2 3", None),
        ("1/3 2/2 3/1", [2, 1, 0]),
        ("1//1 2//1 3//1", None),
        ("1/3/1 2/2/1 3/1/1", [2, 1, 0]),
        ("1/-1 2/-2 3/-3", [2, 1, 0]),
        ("1/3 2/2/1 3/1", [2, 1, 0]),
        ("1 2/2 3/1", None),
    ],
)
def test_every_form_of_a_corner(tmp_path, corners, texture):
    text = "v 0 0 0\nv 1 0 0\nv 1 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvn 0 0 1\nf " + corners + "\n"
    data = load(tmp_path, text)
    np.testing.assert_array_equal(data.faces, [[0, 1, 2]])
    if texture is None:
        assert data.texture_faces is None
    else:
        np.testing.assert_array_equal(data.texture_faces, [texture])


def test_mixed_forms_keep_order_and_mark_untextured_faces(tmp_path):
    text = "v 0 0 0\nv 1 0 0\nv 1 1 0\nvt 0 0\nf 1/1 2/1 3/1\nf 3 2 1\nf 2/1/1 3/1/1 1/1/1\nvn 0 0 1\n"
    data = load(tmp_path, text)
    np.testing.assert_array_equal(data.faces, [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
    np.testing.assert_array_equal(data.texture_faces, [[0, 0, 0], [-1, -1, -1], [0, 0, 0]])


def test_colours_and_continued_lines(tmp_path):
    data = load(tmp_path, "v 0 0 0 0.1 0.2 0.3\nv 1 0 0 \\\n 0.4 0.5 0.6\nv 2 0 0\nf 1 2 \\\n3\n")
    np.testing.assert_array_equal(data.colours, [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0, 0, 0]])
    np.testing.assert_array_equal(data.faces, [[0, 1, 2]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no vertices"),
        ("v 0 0\n", "fewer than three"),
        ("v 0 0 x\n", "not a number"),
        ("v 0 0 0\nf 1 1 2\n", "uses vertex 1"),
        ("v 0 0 0\nf 1 1 0\n", "counts from 1"),
        ("v 0 0 0\nf 1 1 -2\n", "uses vertex -1"),
        ("v 0 0 0\nf 1 1\n", "fewer than three corners"),
        ("v 0 0 0\nf 1 1 a\n", "not an index"),
        ("v 0 0 0\nvt 0 0\nf 1/1 1/1 1/2\n", "texture coordinate 1"),
    ],
)
def test_broken_files_name_the_file_and_the_fault(tmp_path, text, words):
    with pytest.raises(MeshError, match=words) as error:
        load(tmp_path, text)
    assert "mesh.obj" in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(MeshError, match=r"nothing.obj"):
        read_obj(tmp_path / "nothing.obj")


def test_written_file_comes_back(tmp_path):
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(50, 3)) * 100
    faces = rng.integers(0, 50, size=(70, 3))
    write_obj(tmp_path / "a.obj", vertices, faces, decimals=None)
    exact = read_obj(tmp_path / "a.obj")
    np.testing.assert_array_equal(exact.vertices, vertices)
    np.testing.assert_array_equal(exact.faces, faces)
    colours = rng.random((50, 3))
    write_obj(tmp_path / "b.obj", vertices, faces, colours=colours, decimals=3)
    rounded = read_obj(tmp_path / "b.obj")
    np.testing.assert_allclose(rounded.vertices, vertices, atol=5.1e-4)
    np.testing.assert_allclose(rounded.colours, colours, atol=5.1e-5)
    assert "-0.000 " not in (tmp_path / "b.obj").read_text()


def test_unwritable_meshes_are_refused(tmp_path):
    triangle = np.array([[0, 1, 2]])
    with pytest.raises(MeshError, match="NaN"):
        write_obj(tmp_path / "a.obj", np.full((3, 3), np.nan), triangle)
    with pytest.raises(MeshError, match="uses vertex 2"):
        write_obj(tmp_path / "a.obj", np.zeros((2, 3)), triangle)


def glb_of(change):
    """A GLB of a ball whose description was changed."""
    content = trimesh.creation.icosphere(subdivisions=1).export(file_type="glb")
    length = struct.unpack_from("<I", content, 12)[0]
    tree = json.loads(content[20 : 20 + length])
    change(tree)
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + content[20 + length :]
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def test_no_file_beside_a_mesh_is_opened(tmp_path):
    whole = glb_of(lambda tree: None)
    (tmp_path / "sound.glb").write_bytes(whole)
    assert len(load_in_order(tmp_path / "sound.glb").geometry) == 1
    data = whole[20 + struct.unpack_from("<I", whole, 12)[0] + 8 :]
    (tmp_path / "beside.bin").write_bytes(data)
    (tmp_path / "a.glb").write_bytes(
        glb_of(lambda tree: tree.update(buffers=[{"uri": "beside.bin", "byteLength": len(data)}]))
    )
    with pytest.raises(MeshError, match=r"a\.glb cannot be read as a mesh"):
        load_in_order(tmp_path / "a.glb")


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree["accessors"][0].update(count=10**9),
        lambda tree: tree["accessors"][0].pop("bufferView"),
        lambda tree: tree["nodes"].extend([{"mesh": 0}] * 3_000_000),
        lambda tree: tree.update(accessors=[[]]),
    ],
)
def test_a_glb_that_claims_more_than_it_holds_is_refused(tmp_path, change):
    (tmp_path / "a.glb").write_bytes(glb_of(change))
    with pytest.raises(MeshError, match=r"a\.glb cannot be read as a mesh \("):
        load_in_order(tmp_path / "a.glb")


@pytest.mark.parametrize("count", ["1000000000", "-1", "1e9", "9" * 40])
def test_a_ply_that_claims_more_than_it_holds_is_refused(tmp_path, count):
    (tmp_path / "a.ply").write_text(
        f"ply\nformat ascii 1.0\nelement vertex {count}\nproperty float x\nproperty float y\nproperty float z\n"
        "end_header\n"
    )
    with pytest.raises(MeshError, match=r"a\.ply cannot be read as a mesh \(it claims"):
        load_in_order(tmp_path / "a.ply")


def test_formats_that_are_no_meshes_are_not_tried(tmp_path):
    (tmp_path / "a.xaml").write_text("<x/>")
    with pytest.raises(MeshError, match=r"a\.xaml has the ending of no mesh: expected \.obj, \.ply"):
        load_in_order(tmp_path / "a.xaml")
    with pytest.raises(MeshError, match=r"none\.ply cannot be read as a mesh \(No such file"):
        load_in_order(tmp_path / "none.ply")
