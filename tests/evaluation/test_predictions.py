import json

import numpy as np
import pytest
import trimesh

from recon.errors import EvaluationError
from recon.evaluation import Evaluator
from recon.evaluation.predictions import Prediction, find, read_landmarks, read_mesh
from recon.meshing import save
from tests.support import official_cases as cases
from tools.fuzzing.seeds import textured_ply

BALL = trimesh.creation.icosphere(subdivisions=1)


def run(folder, **metrics):
    folder.mkdir(parents=True)
    save(BALL, folder / "mesh.ply")
    (folder / "metrics.json").write_text(
        json.dumps({"scene": "demo", "views": [9, 14, 19], "method": "idr"} | metrics)
    )


def test_named_meshes(tmp_path):
    for name in ("1b2a8613401e42a8_3.ply", "1b2a8613401e42a8_16.ply", "my_head_8.ply"):
        save(BALL, tmp_path / name)
    (tmp_path / "notes.txt").write_text("")
    jobs = find(tmp_path, method="ours")
    assert [(j.method, j.scene, j.views) for j in jobs] == [
        ("ours", "1b2a8613401e42a8", 3),
        ("ours", "1b2a8613401e42a8", 16),
        ("ours", "my_head", 8),
    ]
    assert [j.views for j in find(tmp_path, views=[8, 16])] == [16, 8]
    assert find(tmp_path / "my_head_8.ply")[0].method == tmp_path.name
    with pytest.raises(EvaluationError, match=r"nothing with \[5\] views"):
        find(tmp_path, views=[5])


def test_run_folders(tmp_path, caplog):
    run(tmp_path / "2026-01-01" / "10-00-00-demo-idr")
    run(tmp_path / "2026-01-01" / "11-00-00-demo-idr")
    run(tmp_path / "2026-01-02" / "anna", scene="/data/anna", views=8, method="h3dnet")
    jobs = find(tmp_path)
    assert [(j.method, j.scene, j.views) for j in jobs] == [("h3dnet", "anna", 8), ("idr", "demo", 3)]
    assert "11-00-00" in str(jobs[1].path) and "replaces" in caplog.text
    one = tmp_path / "2026-01-02" / "anna"
    assert find(one) == find(one / "mesh.ply") == [jobs[0]]


def test_what_is_not_there_or_says_too_little(tmp_path):
    with pytest.raises(EvaluationError, match="no such file"):
        find(tmp_path / "nothing")
    with pytest.raises(EvaluationError, match="nothing to score"):
        find(tmp_path)
    save(BALL, tmp_path / "head.ply")
    with pytest.raises(EvaluationError, match="<scene>_<views>"):
        find(tmp_path)
    assert find(tmp_path / "head.ply", scene="demo", views=[3])[0].scene == "demo"
    run(tmp_path / "broken", views=None)
    (tmp_path / "head.ply").unlink()
    with pytest.raises(EvaluationError, match="metrics of a run"):
        find(tmp_path)


def test_meshes_are_read_as_they_are(tmp_path):
    soup = trimesh.Trimesh(np.repeat(BALL.vertices[:3], 2, axis=0), [[0, 2, 4], [1, 5, 3]], process=False)
    back = read_mesh(save(soup, tmp_path / "soup.ply"))
    np.testing.assert_allclose(back.vertices, soup.vertices, atol=1e-7)
    np.testing.assert_array_equal(read_mesh(save(BALL, tmp_path / "ball.glb")).faces, BALL.faces)
    (tmp_path / "bad.ply").write_text("not a mesh")
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_mesh(tmp_path / "bad.ply")
    (tmp_path / "points.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 1\n"
        "property float x\nproperty float y\nproperty float z\nend_header\n0 0 0\n"
    )
    with pytest.raises(EvaluationError, match="not a mesh with faces"):
        read_mesh(tmp_path / "points.ply")


def test_landmarks_beside_the_mesh(tmp_path):
    mesh = tmp_path / "demo_3.ply"
    assert read_landmarks(mesh) is None
    (tmp_path / "demo_3.landmarks.json").write_text('{"nose_tip": 5, "left_eye": [1, 2, 3.5]}')
    landmarks = read_landmarks(mesh)
    assert landmarks is not None and landmarks["nose_tip"] == 5
    np.testing.assert_array_equal(landmarks["left_eye"], [1, 2, 3.5])
    (tmp_path / "demo_3.landmarks.json").write_text('{"nose_tip": [1, 2]}')
    with pytest.raises(EvaluationError, match="vertex index or"):
        read_landmarks(mesh)


SEAM = (
    np.arange(len(BALL.faces)) % 2
)  # two patches of texture, so that vertices between them have two coordinates


def write_ply_with_texture(path):
    rows = np.zeros(len(BALL.faces), [("n", "u1"), ("i", "<i4", 3), ("m", "u1"), ("t", "<f4", 6)])
    rows["n"], rows["i"], rows["m"], rows["t"] = 3, BALL.faces, 6, SEAM[:, None] * np.linspace(0.1, 0.9, 6)
    head = (
        f"ply\nformat binary_little_endian 1.0\ncomment TextureFile lost.png\nelement vertex {len(BALL.vertices)}\n"
        f"property float x\nproperty float y\nproperty float z\nelement face {len(rows)}\n"
        "property list uchar int vertex_indices\nproperty list uchar float texcoord\nend_header\n"
    )
    path.write_bytes(head.encode() + np.asarray(BALL.vertices, "<f4").tobytes() + rows.tobytes())


def write_obj_with_texture(path):
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in BALL.vertices] + ["vt 0.1 0.1", "vt 0.9 0.9"]
    lines += [
        "f " + " ".join(f"{i + 1}/{t + 1}" for i in face) for face, t in zip(BALL.faces, SEAM, strict=True)
    ]
    path.write_text("\n".join(lines))


@pytest.mark.parametrize("write", [write_ply_with_texture, write_obj_with_texture])
def test_vertices_keep_their_indices_along_seams_of_a_texture(tmp_path, write, caplog):
    path = tmp_path / f"demo_3.{'ply' if 'ply' in write.__name__ else 'obj'}"
    write(path)
    np.testing.assert_allclose(read_mesh(path).vertices, BALL.vertices, atol=1e-5)
    assert not caplog.text  # the picture that does not lie beside the PLY is not missed


def test_an_stl_has_no_vertices_to_count(tmp_path):
    (tmp_path / "demo_3.landmarks.json").write_text('{"nose_tip": 5}')
    with pytest.raises(EvaluationError, match=r"demo_3\.landmarks\.json .* is an STL.*\[x, y, z\]"):
        read_landmarks(tmp_path / "demo_3.stl")
    (tmp_path / "demo_3.landmarks.json").write_text('{"nose_tip": [1, 2, 3]}')
    assert read_landmarks(tmp_path / "demo_3.stl")["nose_tip"].tolist() == [1, 2, 3]


def test_hidden_files_are_no_predictions_and_byte_order_marks_mean_nothing(tmp_path):
    save(BALL, tmp_path / "demo_3.ply").rename(tmp_path / "demo_3.PLY")
    (tmp_path / "._demo_3.PLY").write_bytes(b"\x00\x05\x16\x07")
    assert [job.path.name for job in find(tmp_path)] == ["demo_3.PLY"]
    (tmp_path / "demo_3.landmarks.json").write_text('{"nose_tip": 5}', "utf-8-sig")
    assert read_landmarks(tmp_path / "demo_3.PLY") == {"nose_tip": 5}


def test_a_glb_of_several_meshes_has_no_one_order_of_vertices(tmp_path):
    (tmp_path / "demo_3.landmarks.json").write_text('{"nose_tip": 5}')
    save(BALL, tmp_path / "demo_3.glb")
    assert read_landmarks(tmp_path / "demo_3.glb") == {"nose_tip": 5}
    trimesh.Scene([BALL, BALL.copy().apply_translation([300, 0, 0])]).export(tmp_path / "demo_3.glb")
    with pytest.raises(EvaluationError, match=r"demo_3\.glb holds 2 meshes.*\[x, y, z\]"):
        read_landmarks(tmp_path / "demo_3.glb")


@pytest.mark.parametrize("suffix", [".obj", ".ply"])
def test_exact_meshes_score_nothing_with_landmarks_by_index_whatever_their_texture(tmp_path, suffix):
    """Scanners write texture coordinates for each face; a reader that splits vertices at seams scored 10 mm."""
    gt, landmarks, regions = cases.ground_truth()
    path = tmp_path / f"demo_3{suffix}"
    if suffix == ".ply":
        path.write_bytes(textured_ply(np.asarray(gt.vertices), np.asarray(gt.faces)))
    else:
        lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in gt.vertices] + ["vt 0.1 0.1", "vt 0.9 0.9"]
        lines += ["f " + " ".join(f"{i + 1}/{n % 2 + 1}" for i in face) for n, face in enumerate(gt.faces)]
        path.write_text("\n".join(lines))
    path.with_suffix(".landmarks.json").write_text(json.dumps(landmarks))
    prediction = Prediction(read_mesh(path), landmarks=read_landmarks(path))
    for mode in ("official", "strict"):
        assert Evaluator(cases.Truth(gt, landmarks, regions)).evaluate(prediction, mode=mode).mean_mm < 1e-3
