"""The published interface of H3DS, alone and beside the published package where that is installed."""

import logging

import numpy as np
import pytest
import trimesh
from PIL import Image

from recon.errors import EvaluationError, MeshError, SceneError
from recon.scene.h3ds import H3DS, Mesh
from tests.support.scenes import LANDMARKS, SCALE_MAT, make_h3ds, orbit_camera, sphere_mesh

ID = "1b2a8613401e42a8"
OTHER = "3b5a2eb92a501d54"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("h3ds")
    lists = {1: [2], 3: [2, 0, 4], 4: [1, 1, 3, 0]}
    rng = np.random.default_rng(0)
    mesh = sphere_mesh()
    face = np.flatnonzero(mesh.vertices[:, 2] < SCALE_MAT[2, 3])
    regions = {"face": rng.permutation(face), "face_sphere": face[::-1], "nose": face[:40]}
    make_h3ds(root, ID, default_views=lists, tags=("h3d-net", "sira++"), regions=regions, mesh_decimals=None)
    make_h3ds(root, OTHER, default_views={3: [0, 1, 2]}, tags=("sira++",), regions=regions, mask_bits=1)
    return root


@pytest.fixture
def dataset(root):
    return H3DS(path=str(root))


def prediction(seed=1):
    """The truth, bent and roughened."""
    mesh = sphere_mesh()
    rng = np.random.default_rng(seed)
    vertices = np.asarray(mesh.vertices) + rng.normal(scale=1.5, size=mesh.vertices.shape)
    vertices[:, 0] += 0.0005 * (vertices[:, 1] + 20) ** 2
    return trimesh.Trimesh(vertices, np.asarray(mesh.faces), process=False)


def test_lists(dataset):
    assert dataset.is_available()
    assert dataset.scenes() == [ID, OTHER]
    assert dataset.scenes(tags={"h3d-net"}) == [ID]
    assert dataset.scenes(tags={"h3d-net", "sira++"}) == [ID]
    assert dataset.scenes("sira++") == [ID, OTHER]
    assert dataset.regions() == ["face", "face_sphere", "nose"]
    assert dataset.default_views_configs(ID) == ["1", "3", "4"]


def test_loaders(dataset):
    mesh, images, masks, cameras = dataset.load_scene(scene_id=ID, views_config_id="3")
    assert isinstance(mesh, Mesh)
    np.testing.assert_array_equal(mesh.vertices, sphere_mesh().vertices)
    assert [len(part) for part in (images, masks, cameras)] == [3, 3, 3]
    assert all(isinstance(image, Image.Image) and image.mode == "RGB" for image in images)
    assert {mask.mode for mask in masks} == {"L"}
    for (K, pose), azimuth in zip(cameras, (-40, 0, -90), strict=True):  # the list's own order
        camera = orbit_camera(azimuth)
        np.testing.assert_allclose(K, camera.intrinsics - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]], atol=1e-9)
        np.testing.assert_allclose(pose, camera.world_from_camera, rtol=1e-6, atol=1e-4)
        assert pose.dtype == np.float32
    assert len(dataset.load_images(ID)) == 5
    assert len(dataset.load_masks(ID, 4)) == 4
    assert dataset.load_landmarks(ID) == LANDMARKS
    assert dataset.load_region(ID, "nose").shape == (40,)


def test_repeated_views_stay_repeated(dataset):
    cameras = dataset.load_cameras(ID, "4")
    np.testing.assert_array_equal(cameras[0][1], cameras[1][1])
    assert len(cameras) == 4


def test_normalised_loading_is_consistent(dataset):
    matrix = dataset.load_normalization_matrix(ID)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix @ SCALE_MAT, np.eye(4), atol=1e-5)
    mesh, unit = dataset.load_mesh(ID), dataset.load_mesh(ID, normalized=True)
    homogeneous = np.hstack([mesh.vertices, np.ones((len(mesh.vertices), 1))])
    np.testing.assert_allclose((matrix @ homogeneous.T).T[:, :3], unit.vertices, atol=1e-6)
    for (K, pose), (K_unit, pose_unit) in zip(
        dataset.load_cameras(ID), dataset.load_cameras(ID, normalized=True), strict=True
    ):
        pixels = K @ np.linalg.inv(pose)[:3] @ homogeneous[:50].T
        unit_homogeneous = np.hstack([unit.vertices, np.ones((len(unit.vertices), 1))])
        pixels_unit = K_unit @ np.linalg.inv(pose_unit)[:3] @ unit_homogeneous[:50].T
        np.testing.assert_allclose(pixels[:2] / pixels[2], pixels_unit[:2] / pixels_unit[2], atol=2e-3)


def test_the_steps_of_the_published_readme(root):
    h3ds = H3DS(path=str(root), config_id="config_v2")
    h3ds.download(token="any")  # complete: nothing to do
    assert h3ds.scenes(tags={"sira++"}) == [ID, OTHER]
    mesh, images, masks, cameras = h3ds.load_scene(scene_id=ID, views_config_id="3")
    assert len(images) == len(masks) == len(cameras) == 3
    chamfer, _, _, _ = h3ds.evaluate_scene(ID, mesh, LANDMARKS)
    assert chamfer.mean() == pytest.approx(0, abs=1e-9)


def test_unknown_names_are_key_errors_that_say_what_there_is(dataset):
    with pytest.raises(KeyError, match="has 2 scenes"):
        dataset.load_images("nobody")
    with pytest.raises(SceneError, match="no default list '32': it has 1, 3, 4"):
        dataset.load_images(ID, "32")
    with pytest.raises(KeyError, match="h3d-net"):
        dataset.scenes(tags={"sira"})
    with pytest.raises(FileNotFoundError, match="regions are face, face_sphere, nose"):
        dataset.load_region(ID, "ear")
    with pytest.raises(SceneError, match="config_v1, config_v2"):
        H3DS("/nowhere", config_id="config")
    with pytest.raises(SceneError, match=r"missing\.toml cannot be read"):
        H3DS("/nowhere", config_path="/missing.toml")


def test_partial_copies_load_what_is_there(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        folder = make_h3ds(tmp_path, ID, landmarks={})
        (tmp_path / "config.toml").unlink()
        dataset = H3DS(str(tmp_path), config_id="config_v1")
    assert "0 of 23" in caplog.text
    assert not dataset.is_available()
    assert len(dataset.load_mesh(ID).vertices) == len(sphere_mesh().vertices)
    assert dataset.default_views_configs(ID) == ["3", "4", "8", "16", "32"]
    with pytest.raises(FileNotFoundError, match=r"img_0018\.jpg is missing in this copy"):
        dataset.load_images(ID, "3")
    with pytest.raises(FileNotFoundError, match=r"landmarks\.txt is missing"):
        dataset.load_landmarks(ID)
    with pytest.raises(FileNotFoundError, match=r"cameras\.npz is missing"):
        dataset.load_cameras(OTHER, "3")
    (folder / "image" / "img_0000.jpg").write_bytes(b"broken")
    with pytest.raises(SceneError, match=r"img_0000\.jpg cannot be read"):
        dataset._picture(str(folder / "image" / "img_0000.jpg"))


def test_logging_of_the_process_is_left_alone(dataset):
    assert logging.getLoggerClass() is logging.Logger


def test_only_the_asked_images_are_decoded(dataset, monkeypatch):
    opened = []
    original = Image.open
    monkeypatch.setattr(
        Image, "open", lambda file, **options: opened.append(file) or original(file, **options)
    )
    dataset.load_images(ID, "1")
    assert len(opened) == 1


def test_the_truth_scores_zero(dataset):
    forward, backward, truth, aligned = dataset.evaluate_scene(ID, dataset.load_mesh(ID))
    assert forward.shape == backward.shape == (len(sphere_mesh().vertices),)
    np.testing.assert_allclose(forward, 0, atol=1e-9)
    assert isinstance(truth, Mesh)
    assert isinstance(aligned, Mesh)
    region = dataset.load_region(ID, "face_sphere")
    forward, _, truth, _ = dataset.evaluate_scene(ID, dataset.load_mesh(ID), region_id="face_sphere")
    np.testing.assert_array_equal(truth.vertices, sphere_mesh().vertices[region])
    assert forward.shape == region.shape


def test_evaluation_leaves_the_prediction_alone_and_keeps_its_class(dataset):
    mesh = prediction()
    before = mesh.vertices.copy()
    forward, _, _, aligned = dataset.evaluate_scene(ID, mesh, landmarks_pred=LANDMARKS)
    np.testing.assert_array_equal(mesh.vertices, before)
    assert type(aligned) is trimesh.Trimesh
    nearest = np.linalg.norm(sphere_mesh().vertices[:5, None] - aligned.vertices[None], axis=2).min(axis=1)
    np.testing.assert_allclose(forward[:5], nearest, atol=1e-9)


class Surface:
    """A mesh of somebody else's class."""

    def __init__(self, vertices, faces):
        self.vertices, self.faces, self.name = vertices, faces, "kept"


def test_evaluation_takes_anything_with_vertices_and_faces(dataset):
    mesh = prediction()
    wanted = dataset.evaluate_scene(ID, mesh, landmarks_pred=LANDMARKS)
    for vertices, faces in (
        (np.array(mesh.vertices), np.array(mesh.faces)),
        (np.array(mesh.vertices, np.float32).tolist(), np.array(mesh.faces, np.uint32)),
    ):
        other = Surface(vertices, faces)
        forward, backward, _, aligned = dataset.evaluate_scene(ID, other, landmarks_pred=LANDMARKS)
        np.testing.assert_allclose(forward, wanted[0], atol=1e-3)
        np.testing.assert_allclose(backward, wanted[1], atol=1e-3)
        assert type(aligned) is Surface and aligned.name == "kept" and other.vertices is vertices
        np.testing.assert_allclose(aligned.vertices, wanted[3].vertices, atol=1e-3)
    for bad in (
        object(),
        Surface(np.zeros((4, 2)), np.zeros((1, 3), int)),
        Surface(mesh.vertices, [[0, 1, "a"]]),
    ):
        with pytest.raises(MeshError, match=r"the prediction (is|has)"):
            dataset.evaluate_scene(ID, bad)


def test_evaluation_needs_landmarks_on_disk_only_for_predicted_ones(tmp_path):
    mesh = sphere_mesh()
    make_h3ds(tmp_path, ID, landmarks={}, regions={"face": np.arange(len(mesh.vertices))})
    dataset = H3DS(tmp_path)
    assert dataset.evaluate_scene(ID, mesh)[0].max() < 1e-3  # four decimals in the file
    with pytest.raises(FileNotFoundError, match=r"landmarks\.txt"):
        dataset.evaluate_scene(ID, mesh, LANDMARKS)
    with pytest.raises(EvaluationError, match="no faces"):
        dataset.evaluate_scene(ID, trimesh.Trimesh(mesh.vertices, process=False))


# --- Mesh -------------------------------------------------------------------------------------------------


def strip():
    """Four vertices, two triangles, everything else too."""
    mesh = Mesh()
    mesh.vertices = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1 / 3]])
    mesh.faces = np.array([[0, 1, 2], [0, 2, 3]])
    mesh.vertices_color = np.linspace(0, 1, 12).reshape(4, 3)
    mesh.texture_coordinates = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    mesh.texture_indices = np.array([[0, 1, 2], [0, 2, 3]])
    mesh.compute_normals()
    return mesh


def test_mesh_normals_are_area_weighted():
    mesh = Mesh()
    mesh.vertices = np.array([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 0, 1], [9, 9, 9]])
    mesh.faces = np.array([[0, 1, 2], [0, 3, 1]])  # areas 2 (normal z) and 1 (normal y)
    mesh.compute_normals()
    np.testing.assert_allclose(mesh.vertex_normals[0], np.array([0, 1, 2]) / np.sqrt(5))
    np.testing.assert_allclose(mesh.vertex_normals[2], [0, 0, 1])
    np.testing.assert_array_equal(mesh.vertex_normals[4], 0)


@pytest.mark.parametrize("indices", [[2, 0, 1], (np.array([2, 0, 1]),), np.array([True, True, True, False])])
def test_mesh_cut(indices):
    part = strip().cut(np.array(indices) if isinstance(indices, list) else indices)
    order = [0, 1, 2] if isinstance(indices, np.ndarray) else [2, 0, 1]
    np.testing.assert_array_equal(part.vertices, strip().vertices[order])
    np.testing.assert_array_equal(part.vertices_color, strip().vertices_color[order])
    np.testing.assert_array_equal(part.vertices[part.faces], strip().vertices[[[0, 1, 2]]])
    np.testing.assert_array_equal(part.texture_indices, [[0, 1, 2]])
    assert len(part.texture_coordinates) == 4


def test_mesh_cut_may_keep_no_face():
    part = strip().cut(np.array([0, 1]))
    assert part.faces.shape == (0, 3)
    assert len(part.vertices) == 2


def test_mesh_save_and_load(tmp_path, monkeypatch):
    mesh = strip()
    mesh.save(tmp_path / "new" / "a.obj")
    back = Mesh().load(tmp_path / "new" / "a.obj")
    for name in vars(mesh):
        np.testing.assert_array_equal(getattr(back, name), getattr(mesh, name), err_msg=name)
    monkeypatch.chdir(tmp_path)
    mesh.save("bare.ply")
    back = Mesh().load("bare.ply")
    np.testing.assert_allclose(back.vertices, mesh.vertices, atol=1e-6)
    np.testing.assert_array_equal(back.faces, mesh.faces)
    only = Mesh().load(tmp_path / "new" / "a.obj", elements=["vertices"])
    assert len(only.vertices) == 4
    assert len(only.faces) == len(only.texture_coordinates) == len(only.vertex_normals) == 0


def test_mesh_copy_shares_nothing():
    mesh = strip()
    other = mesh.copy()
    other.vertices[0] = 7
    assert mesh.vertices[0].tolist() == [0, 0, 0]


def test_mesh_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(MeshError, match="no vertices"):
        Mesh().save(tmp_path / "a.obj")
    trimesh.PointCloud(np.eye(3)).export(tmp_path / "points.ply")
    with pytest.raises(MeshError, match="PointCloud"):
        Mesh().load(tmp_path / "points.ply")
    with pytest.raises(MeshError, match=r"gone\.ply"):
        Mesh().load(tmp_path / "gone.ply")


# --- side by side with the published package ---------------------------------------------------------------


@pytest.fixture
def published(monkeypatch, root):
    """The published class on the same root; its import's changes to logging are undone."""
    before = logging.getLoggerClass()
    module = pytest.importorskip(
        "h3ds.dataset",
        reason="the published package h3ds is not installed (pip install --no-deps h3ds==0.4.0)",
    )
    logging.setLoggerClass(before)
    if not hasattr(np, "int"):
        monkeypatch.setattr(np, "int", int, raising=False)
    return module.H3DS(path=str(root), config_path=str(root / "config.toml"))


def test_lists_equal_the_published_ones(dataset, published):
    assert published.is_available()
    assert dataset.scenes() == published.scenes()
    assert dataset.scenes(tags={"h3d-net"}) == published.scenes(tags={"h3d-net"})
    assert dataset.regions() == published.regions()
    for scene in (ID, OTHER):
        assert dataset.default_views_configs(scene) == published.default_views_configs(scene)
        assert dataset.load_landmarks(scene) == published.load_landmarks(scene)
        assert dataset.helper.scene_files(scene) == published.helper.scene_files(scene)
        for region in dataset.regions():
            mine, theirs = dataset.load_region(scene, region), published.load_region(scene, region)
            np.testing.assert_array_equal(mine, theirs)
            assert mine.dtype == theirs.dtype
    assert dataset.helper.files() == published.helper.files()


@pytest.mark.parametrize("scene", [ID, OTHER])
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("views", [None, "3"])
def test_scenes_load_as_the_published_ones(dataset, published, scene, normalized, views):
    mine = dataset.load_scene(scene, views, normalized)
    theirs = published.load_scene(scene, views, normalized)
    assert type(mine) is type(theirs)
    np.testing.assert_allclose(mine[0].vertices, theirs[0].vertices, rtol=0, atol=1e-6 if normalized else 0)
    np.testing.assert_array_equal(mine[0].faces, theirs[0].faces)
    assert mine[0].vertices.dtype == theirs[0].vertices.dtype
    for part in (1, 2):
        assert [image.mode for image in mine[part]] == [image.mode for image in theirs[part]]
        for a, b in zip(mine[part], theirs[part], strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    for (K, pose), (K_theirs, pose_theirs) in zip(mine[3], theirs[3], strict=True):
        assert pose.dtype == pose_theirs.dtype
        assert pose.shape == pose_theirs.shape
        # They decompose in float32: seven digits of numbers up to a thousand.
        np.testing.assert_allclose(K, K_theirs, atol=2e-3)
        np.testing.assert_allclose(pose, pose_theirs, atol=5e-3 if not normalized else 1e-4)
    np.testing.assert_allclose(
        dataset.load_normalization_matrix(scene), published.load_normalization_matrix(scene), rtol=1e-5
    )


@pytest.mark.parametrize("region", [None, "face_sphere", "nose"])
@pytest.mark.parametrize("landmarks", [None, LANDMARKS])
def test_evaluation_equals_the_published_one(dataset, published, region, landmarks):
    mine = dataset.evaluate_scene(ID, prediction(), landmarks, region)
    theirs = published.evaluate_scene(ID, prediction(), landmarks, region)
    np.testing.assert_allclose(mine[0], theirs[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(mine[1], theirs[1], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(mine[2].vertices, theirs[2].vertices)
    np.testing.assert_array_equal(mine[2].faces, theirs[2].faces)
    np.testing.assert_allclose(mine[3].vertices, theirs[3].vertices, rtol=0, atol=1e-9)


def test_tables_equal_the_published_ones():
    pytest.importorskip("h3ds", reason="the published package h3ds is not installed")
    import tomllib
    from importlib import resources

    from recon.scene.h3ds.tables import tables

    for config_id, table in tables().items():
        config = tomllib.loads(resources.files("h3ds").joinpath(f"{config_id}.toml").read_text())
        assert list(table["scenes"]) == list(config["scenes"])
        assert table["scenes"] == config["scenes"]
        for name, entry in config["scenes"].items():
            assert list(table["scenes"][name]["default_views_configs"]) == list(
                entry["default_views_configs"]
            )
        assert (table["version"], table["file_id"], table["file_md5"]) == (
            str(config["version"]), config["file_id"], config["file_md5"]
        )  # fmt: skip
