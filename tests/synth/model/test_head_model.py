import hashlib
import http.server
import json
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh

from recon.errors import ConfigError
from recon.synth.model import convert as model_convert
from recon.synth.model.convert import Layout, cap_strip, convert
from recon.synth.model.download import get_head_model
from recon.synth.model.head_model import H3DS_LANDMARKS, load_head_model
from recon.synth.model.ict_obj import parse_obj, parse_vertices
from recon.synth.model.source import FOLDER, Source, content_digest
from recon.synth.model.subdivision import boundary_loops, loop_subdivision
from tests.support.head_model import ball, needs_model

# --- subdivision -------------------------------------------------------------------------------------------


def test_subdivision_of_one_triangle_follows_the_boundary_rules():
    faces, matrix = loop_subdivision(np.array([[0, 1, 2]]), 3)
    corners = np.array([[0.0, 0.0, 0.0], [8.0, 0.0, 0.0], [0.0, 8.0, 0.0]])
    fine = matrix @ corners
    # boundary vertex: (6 * self + neighbours) / 8; boundary edges: their middles
    assert np.allclose(fine[0], [1, 1, 0])
    assert np.allclose(fine[1], [6, 1, 0])
    assert {tuple(p) for p in fine[3:].round(9)} == {(4, 0, 0), (4, 4, 0), (0, 4, 0)}
    assert len(faces) == 4


def test_subdivision_of_a_hexagon_fan_uses_loops_regular_weights():
    rim = np.stack([np.cos(np.arange(6) * np.pi / 3), np.sin(np.arange(6) * np.pi / 3), np.zeros(6)], axis=1)
    coarse = np.concatenate([[[0.0, 0.0, 16.0]], rim])
    faces = np.array([[0, k + 1, (k + 1) % 6 + 1] for k in range(6)])
    fine_faces, matrix = loop_subdivision(faces, 7)
    fine = matrix @ coarse
    # valence 6: 10/16 of itself, 1/16 of each neighbour
    assert np.allclose(fine[0], [0, 0, 10])
    # an inner edge: 3/8 of its ends, 1/8 of the two opposite vertices
    middle = 3 / 8 * (coarse[0] + coarse[1]) + 1 / 8 * (coarse[2] + coarse[6])
    assert np.isclose(np.abs(fine - middle).sum(axis=1).min(), 0, atol=1e-12)
    assert len(fine_faces) == 24


def test_subdivision_of_a_closed_mesh_stays_closed_and_reproduces_constants():
    vertices, faces = ball(10, level=1)
    fine_faces, matrix = loop_subdivision(faces, len(vertices))
    assert np.allclose(matrix.sum(axis=1), 1)
    fine = trimesh.Trimesh(matrix @ vertices, fine_faces, process=False)
    assert fine.is_watertight and fine.is_winding_consistent and fine.volume > 0
    assert len(fine.faces) == 4 * len(faces)


def test_boundary_loops_follow_the_faces():
    # a square of two triangles: one loop, in the direction of its faces
    assert [list(loop) for loop in boundary_loops(np.array([[0, 1, 2], [0, 2, 3]]))] == [[0, 1, 2, 3]]
    two = boundary_loops(np.array([[0, 1, 2], [5, 4, 3]]))
    assert [list(loop) for loop in two] == [[0, 1, 2], [3, 5, 4]]


# --- the OBJ reader ----------------------------------------------------------------------------------------

OBJ = """# comment
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0.25 0.5
vt 1 0
usemtl red
f 1/1 2/2 3/1 4/2
usemtl blue
f -4//7 -3//7 -1//7
"""


def test_obj_polygons_become_fans_and_keep_their_origin():
    mesh = parse_obj(OBJ)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 3]]
    assert mesh.texture_faces.tolist() == [[0, 1, 0], [0, 0, 1], [-1, -1, -1]]
    assert mesh.polygon.tolist() == [0, 0, 1]
    assert mesh.material.tolist() == [0, 0, 1] and mesh.materials == ("red", "blue")
    assert np.allclose(mesh.texture[0], [0.25, 0.5])
    assert np.allclose(parse_vertices(OBJ), [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])


@pytest.mark.parametrize(
    ("line", "says"),
    [("f 1 2 9", "does not have"), ("f 1 2", "three corners"), ("f 1 x 2", "line 12"), ("v 1 nan 2", "finite"),
     ("v 1 2", "three numbers")],
)  # fmt: skip
def test_broken_obj_says_where(line, says):
    with pytest.raises(ConfigError, match=says):
        parse_obj(OBJ + line + "\n", "small.obj")


# --- the converter, on a model of five vertices ------------------------------------------------------------

LAYOUT = Layout(
    regions=(("face", 5, 4), ("eyeball_L", 4, 4), ("eyeball_R", 4, 4), ("lashes_L", 3, 1)),
    kept=3,
    iris=((5, 8), (9, 12)),
    narrow_face=5,
    open_regions=("face",),
    identities=2,
)
PYRAMID = [(1, 2, 5), (2, 3, 5), (3, 4, 5), (4, 1, 5)]
TETRAHEDRON = [(0, 2, 1), (0, 1, 3), (1, 2, 3), (2, 0, 3)]


def small_obj(shift: float = 0.0) -> str:
    """A pyramid without its base, two tetrahedra and a stray triangle; the apex moves by `shift`."""
    skin = [(-2, 0, -2), (-2, 0, 2), (2, 0, 2), (2, 0, -2), (0, 3 + shift, 0)]
    eyes = [
        (x + dx, y, z) for x in (-1, 1) for dx, y, z in ((0, 0, 0), (0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5))
    ]
    lines = [f"v {x} {y} {z}" for x, y, z in [*skin, *eyes, (9, 9, 9), (9, 9, 8), (9, 8, 9)]]
    lines += ["vt 0 0", "usemtl M_Face"] + [f"f {a}/1 {b}/1 {c}/1" for a, b, c in PYRAMID]
    for first, name in ((6, "M_ScleraLeft"), (10, "M_ScleraRight")):
        lines += [f"usemtl {name}"] + [
            "f " + " ".join(f"{first + k}/1" for k in face) for face in TETRAHEDRON
        ]
    return "\n".join([*lines, "usemtl M_EyeLashes", "f 14/1 15/1 16/1"]) + "\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "ICT-FaceKit-abc"
    folder = root / FOLDER
    folder.mkdir(parents=True)
    for name, shift in {
        model_convert.NEUTRAL: 0,
        "identity000": 0.5,
        "identity001": -1,
        "smile": 0.25,
    }.items():
        (folder / f"{name}.obj").write_text(small_obj(shift))
    lists = {"expressions": ["smile"], "idx_to_landmark_verts": list(range(4)), "idx_to_rigid_verts": [0],
             "idx_to_fitting_verts": [1], "idx_to_rigid_landmark_idx": [2]}  # fmt: skip
    (folder / "vertex_indices.json").write_text(json.dumps(lists))
    (root / "LICENSE").write_text("MIT, somebody\n")
    return root


def archive_of(root: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                archive.write(file, f"{root.name}/{file.relative_to(root)}")
    return path


def test_convert_packs_differences_regions_and_cap(repository):
    packed = convert(Source(repository), LAYOUT)
    assert packed["vertices"].shape == (13, 3) and packed["faces"].shape == (12, 3)
    # the apex moves by 0.5 and -1, nothing else does
    assert packed["identity_deltas"].shape == (2, 13, 3)
    assert packed["identity_deltas"][:, 4, 1].tolist() == [0.5, -1.0]
    assert np.abs(np.delete(packed["identity_deltas"], 4, axis=1)).max() == 0
    assert packed["expression_names"].tolist() == ["smile"] and packed["expression_deltas"][0, 4, 1] == 0.25
    assert packed["face_region"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert [str(packed["material_names"][m]) for m in packed["face_material"][[0, 4, 8]]] == [
        "M_Face", "M_ScleraLeft", "M_ScleraRight"]  # fmt: skip
    skin = packed["faces"][packed["face_region"] == 0]
    closed = trimesh.Trimesh(
        packed["vertices"], np.concatenate([skin, packed["neck_cap_faces"]]), process=False
    )
    assert closed.is_watertight and np.isclose(closed.volume, 16.0)  # a pyramid: 4 x 4 x 3 / 3
    assert str(packed["licence"]).startswith("MIT, somebody")


def test_cap_strip_closes_any_loop():
    for count in (3, 4, 7, 54):
        cap = cap_strip(np.arange(count))
        assert len(cap) == count - 2
        edges = {(a, b) for f in cap.tolist() for a, b in zip(f, f[1:] + f[:1], strict=True)}
        # against the loop's direction, and every inner edge once in each direction
        outer = {(b, a) for a, b in zip(range(count), [*range(1, count), 0], strict=True)}
        assert outer <= edges and all((b, a) in edges for a, b in edges - outer)


def test_folder_and_archive_have_one_digest_and_a_changed_byte_another(repository, tmp_path):
    expected = hashlib.sha256()
    for name in sorted(p.relative_to(repository).as_posix() for p in repository.rglob("*") if p.is_file()):
        expected.update(f"{hashlib.sha256((repository / name).read_bytes()).hexdigest()}  {name}\n".encode())
    assert content_digest(Source(repository)) == expected.hexdigest()
    assert content_digest(Source(archive_of(repository, tmp_path / "a.zip"))) == expected.hexdigest()
    obj = repository / FOLDER / "smile.obj"
    obj.write_text(obj.read_text().replace("v -2", "v -3", 1))
    assert content_digest(Source(repository)) != expected.hexdigest()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "identity001.obj").unlink(), "identity001"),
        (lambda f: (f / "identity001.obj").write_text("v 0 0 0\n"), "1 vertices, the neutral head 16"),
        (lambda f: (f / "generic_neutral_mesh.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"), "layout 16"),
        (lambda f: (f / "vertex_indices.json").write_text("{"), "not JSON"),
        (lambda f: (f / "vertex_indices.json").write_text("{}"), "lacks expressions"),
    ],
)  # fmt: skip
def test_convert_names_what_is_wrong(repository, spoil, says):
    spoil(repository / FOLDER)
    with pytest.raises(ConfigError, match=says):
        convert(Source(repository), LAYOUT)


def test_source_refuses_what_is_no_archive(tmp_path):
    (tmp_path / "x.zip").write_text("not a zip")
    with pytest.raises(ConfigError, match="folder or a zip"):
        Source(tmp_path / "x.zip")


# --- the download --------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_download_downloads_checks_and_packs(server, repository, tmp_path, monkeypatch):
    archive_of(repository, tmp_path / "a.zip")
    monkeypatch.setattr(model_convert, "convert", lambda source: convert(source, LAYOUT))
    out = tmp_path / "cache" / "model.npz"
    get_head_model(out, url=f"{server}/a.zip", sha256=content_digest(Source(repository)))
    with np.load(out) as packed:
        assert packed["identity_deltas"][0, 4, 1] == 0.5


def test_download_writes_nothing_when_the_content_differs(server, repository, tmp_path):
    archive_of(repository, tmp_path / "a.zip")
    out = tmp_path / "cache" / "model.npz"
    with pytest.raises(ConfigError, match="nothing was written"):
        get_head_model(out, url=f"{server}/a.zip")
    assert not out.exists()


def test_download_says_what_to_do_without_network(server, tmp_path):
    with pytest.raises(ConfigError, match="source="):
        get_head_model(tmp_path / "m.npz", url=f"{server}/missing.zip")
    with pytest.raises(ConfigError, match="https"):
        get_head_model(tmp_path / "m.npz", url="http://example.com/a.zip")


# --- the packed model --------------------------------------------------------------------------------------


def test_missing_model_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("H3D_HEAD_MODEL", str(tmp_path / "nowhere.npz"))
    with pytest.raises(ConfigError, match="headrecon-get-head-model") as caught:
        load_head_model()
    assert "nowhere.npz" in str(caught.value) and "H3D_HEAD_MODEL" in str(caught.value)


def test_a_file_of_another_kind_is_refused(tmp_path):
    np.savez(tmp_path / "m.npz", vertices=np.zeros(3))
    with pytest.raises(ConfigError, match="cannot be read as a packed head model"):
        load_head_model(tmp_path / "m.npz")


@needs_model
def test_refined_skin_is_closed_with_four_caps():
    model = load_head_model()
    fine = model.refinement
    skin = trimesh.Trimesh(fine.canonical, fine.faces, process=False)
    assert skin.is_watertight and skin.is_winding_consistent
    assert 3e6 < skin.volume < 8e6  # head, neck and upper shoulders: a few litres, in mm³
    assert sorted(cap.name for cap in fine.caps) == ["eye_left", "eye_right", "mouth", "neck"]
    eye = {cap.name: cap for cap in fine.caps}
    assert fine.canonical[eye["eye_left"].loop, 0].min() > 0  # +X is the subject's left


@needs_model
def test_landmarks_are_where_their_names_say():
    model = load_head_model()
    points = {name: model.refinement.canonical[model.landmarks[i]] for name, i in H3DS_LANDMARKS.items()}
    assert points["nose_tip"][2] == max(p[2] for p in points.values())
    assert points["left_eye"][0] > 10 and points["right_eye"][0] < -10
    assert points["left_lips"][0] > 10 and points["left_lips"][1] < points["nose_base"][1]


@needs_model
def test_unknown_expression_is_named():
    with pytest.raises(ConfigError, match="grin"):
        load_head_model().expression_weights({"grin": 1.0})
