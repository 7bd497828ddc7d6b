import os
import pickle
import tomllib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from recon import scene as scenes
from recon.errors import SceneError
from recon.geometry.obj import read_obj
from recon.scene.h3ds import write_scene
from recon.scene.h3ds.tables import CONFIGS, scene_ids, table_entry, tables
from tests.support.scenes import LANDMARKS, SCALE_MAT, make_h3ds, orbit_camera, sphere_mask, sphere_mesh


def test_a_written_scene_comes_back(tmp_path):
    folder = make_h3ds(tmp_path, mesh_decimals=None)
    scene = scenes.open(folder)
    assert scene.name == "ball"
    assert scene.version == "generated-1"
    assert scene.default_views == {3: (0, 1, 2)}
    np.testing.assert_array_equal(scene.scale_mat, SCALE_MAT)
    assert [view.index for view in scene.views] == [0, 1, 2, 3, 4]
    for view, azimuth in zip(scene.views, (0, 40, -40, 90, -90), strict=True):
        camera = orbit_camera(azimuth, 5.0 * (view.index % 2))
        np.testing.assert_allclose(view.camera.projection, camera.projection, atol=1e-9)
        np.testing.assert_array_equal(view.mask(), sphere_mask(camera))
        assert view.image().shape == (96, 96, 3)
        assert view.image()[48, 48] == pytest.approx(0.8, abs=0.02)
    truth = scene.ground_truth
    np.testing.assert_array_equal(truth.mesh().vertices, sphere_mesh().vertices)
    np.testing.assert_array_equal(truth.mesh().faces, sphere_mesh().faces)
    assert truth.mesh() is truth.mesh()
    assert truth.landmarks == LANDMARKS
    assert list(truth.landmarks) == list(LANDMARKS)
    assert truth.regions() == ["face", "face_sphere", "nose"]
    assert truth.region("nose").tolist() == [0, 3]
    with pytest.raises(SceneError, match=r"region 'ear'.*present: face, face_sphere, nose"):
        truth.region("ear")


def test_files_follow_the_published_convention(tmp_path):
    folder = make_h3ds(tmp_path)
    stored = np.load(folder / "cameras.npz")
    assert stored["world_mat_0"].shape == (4, 4)
    camera = orbit_camera(0)
    point = np.array([10.0, 5.0, 480.0])
    homogeneous = stored["world_mat_0"][:3] @ [*point, 1]
    # Integer pixel centres: half a pixel less than inside this package.
    expected = camera.project(point[None])[0][0] - 0.5
    np.testing.assert_allclose(homogeneous[:2] / homogeneous[2], expected, atol=1e-9)
    assert (tmp_path / "version.txt").read_text() == "generated-1\n"
    config = tomllib.loads((tmp_path / "config.toml").read_text())
    assert config["scenes"]["ball"] == {
        "tags": ["round"], "views": 5, "default_views_configs": {"3": [0, 1, 2]}
    }  # fmt: skip
    assert Image.open(folder / "image" / "img_0004.jpg").size == (96, 96)
    assert Image.open(folder / "mask" / "mask_0004.png").mode == "L"
    half = scenes.open(folder, pixel_centre=0.5).views[0].camera
    np.testing.assert_allclose(half.intrinsics[:2, 2], camera.intrinsics[:2, 2] - 0.5)


def test_same_input_gives_the_same_bytes(tmp_path):
    first = make_h3ds(tmp_path / "a", mask_bits=1)
    os.utime(first / "cameras.npz", (0, 0))
    second = make_h3ds(tmp_path / "b", mask_bits=1)
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) == 1 + 5 + 5 + 1 + 1 + 3
    for name in files:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert Image.open(first / "mask" / "mask_0000.png").mode == "1"
    np.testing.assert_array_equal(scenes.open(first).views[1].mask(), sphere_mask(orbit_camera(40, 5)))


def test_several_scenes_share_a_root(tmp_path):
    make_h3ds(tmp_path, "zoe")
    make_h3ds(tmp_path, "adam", default_views={2: [1, 0]}, tags=())
    config = tomllib.loads((tmp_path / "config.toml").read_text())
    assert list(config["scenes"]) == ["adam", "zoe"]
    assert scenes.open(tmp_path / "zoe").default_views == {3: (0, 1, 2)}
    assert scenes.open("adam", h3ds_root=tmp_path).default_views == {2: (1, 0)}
    with pytest.raises(SceneError, match="never mix versions"):
        make_h3ds(tmp_path, "eve", version="other")


def test_nothing_is_left_of_a_scene_that_fails(tmp_path):
    make_h3ds(tmp_path, "good")
    before = sorted(os.listdir(tmp_path))
    cameras = [orbit_camera(0), orbit_camera(30)]
    masks = [sphere_mask(camera) for camera in cameras]
    images = [np.zeros((96, 96, 3), np.uint8)]  # one too few
    with pytest.raises(SceneError, match="ends at 1"):
        write_scene(
            tmp_path,
            "bad",
            images=images,
            masks=masks,
            cameras=cameras,
            scale_mat=SCALE_MAT,
            mesh=sphere_mesh(),
        )
    assert sorted(os.listdir(tmp_path)) == before


def test_an_existing_scene_is_replaced_only_when_asked(tmp_path):
    folder = make_h3ds(tmp_path)
    with pytest.raises(SceneError, match="exists"):
        make_h3ds(tmp_path)
    make_h3ds(tmp_path, azimuths=(0, 90), default_views={2: [0, 1]}, overwrite=True)
    assert len(scenes.open(folder).views) == 2
    assert sorted(os.listdir(tmp_path)) == ["ball", "config.toml", "version.txt"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"landmarks": {"nose_tip": 10**6}}, "landmark nose_tip"),
        ({"regions": {"face": np.array([-1])}}, "region face"),
        ({"default_views": {2: [0, 5]}}, "0..4"),
        ({"mask_bits": 2}, "mask_bits"),
        ({"name": "../up"}, "scene name"),
    ],
)
def test_wrong_input_is_refused(tmp_path, options, words):
    with pytest.raises(SceneError, match=words):
        make_h3ds(tmp_path, **options)


def test_extras_land_with_the_scene_and_colours_with_the_mesh(tmp_path):
    mesh = sphere_mesh()
    mesh.visual.vertex_colors = np.tile([255, 0, 51, 255], (len(mesh.vertices), 1)).astype(np.uint8)
    folder = make_h3ds(
        tmp_path, mesh=mesh, vertex_colours=True, extras=lambda work: (work / "note.txt").write_text("hair")
    )
    assert (folder / "note.txt").read_text() == "hair"
    np.testing.assert_allclose(read_obj(folder / "full_head.obj").colours[7], [1, 0, 0.2])


def test_partial_copies_open(tmp_path):
    folder = make_h3ds(tmp_path)
    (folder / "image" / "img_0001.jpg").unlink()
    (folder / "mask" / "mask_0004.png").unlink()
    (folder / "full_head.obj").unlink()
    scene = scenes.open(folder)
    assert len(scene.views) == 5
    assert scene.available() == [0, 2, 3]
    assert scene.ground_truth is None
    with pytest.raises(SceneError, match=r"img_0001\.jpg is missing"):
        _ = scene.views[1].camera


def test_scenes_travel_between_processes(tmp_path):
    scene = pickle.loads(pickle.dumps(scenes.open(make_h3ds(tmp_path))))
    np.testing.assert_allclose(scene.views[3].camera.projection, orbit_camera(90, 5).projection, atol=1e-9)


def test_the_first_release_had_jpeg_masks(tmp_path):
    folder = make_h3ds(tmp_path)
    png = folder / "mask" / "mask_0000.png"
    Image.open(png).save(png.with_suffix(".jpg"), quality=95)
    png.unlink()
    mask = scenes.open(folder).views[0].mask()
    assert (mask != sphere_mask(orbit_camera(0))).mean() < 0.01


def test_tables_hold_the_published_facts():
    v1, v2 = (tables()[config] for config in CONFIGS)
    assert (v1["version"], v2["version"]) == ("0.2", "0.4")
    assert (len(v1["scenes"]), len(v2["scenes"])) == (23, 59)
    assert list(v2["scenes"])[:23] == list(v1["scenes"])
    assert sum(entry["views"] for entry in v1["scenes"].values()) == 1580
    assert sum(entry["views"] for entry in v2["scenes"].values()) == 4877
    assert list(v1["scenes"]["1b2a8613401e42a8"]["default_views_configs"]) == ["3", "4", "8", "16", "32"]
    assert v1["scenes"]["1b2a8613401e42a8"]["default_views_configs"]["3"] == [0, 18, 65]
    repeated = {
        config: [
            (name, key)
            for name, entry in tables()[config]["scenes"].items()
            for key, views in entry["default_views_configs"].items()
            if len(set(views)) < len(views)
        ]
        for config in CONFIGS
    }
    assert repeated["config_v1"] == [("eef826f0c1f6deb0", "32"), ("0cd3f3c0bc34a287", "32")]
    assert len(repeated["config_v2"]) == 22
    odd = v2["scenes"]["16ac29e87716206b"]["default_views_configs"]
    assert [len(odd[key]) for key in ("8", "16", "32")] == [9, 17, 33]
    for table in (v1, v2):
        for entry in table["scenes"].values():
            assert all(
                0 <= i < entry["views"] for views in entry["default_views_configs"].values() for i in views
            )
            if "1" in entry["default_views_configs"]:
                assert entry["default_views_configs"]["1"] == entry["default_views_configs"]["3"][:1]


def test_scene_ids_by_tag():
    assert len(scene_ids("h3d-net")) == 10
    assert len(scene_ids("sira++", "config_v1")) == 23
    assert scene_ids()[0] == "1b2a8613401e42a8"
    with pytest.raises(SceneError, match="h3d-net, sira"):
        scene_ids("sira")
    with pytest.raises(SceneError, match="config_v1, config_v2"):
        scene_ids("sira++", "config_v3")


def test_scene_ids_of_a_root(tmp_path):
    make_h3ds(tmp_path / "made", "b", tags=("long", "test"))
    make_h3ds(tmp_path / "made", "a", tags=("short", "test"))
    assert scene_ids("test", root=tmp_path / "made") == ["a", "b"]
    assert scene_ids("long", root=tmp_path / "made") == ["b"]
    with pytest.raises(SceneError, match="long, short, test"):
        scene_ids("sira++", root=tmp_path / "made")
    (tmp_path / "version.txt").write_text("0.2\n")
    assert len(scene_ids(root=tmp_path)) == 23
    assert len(scene_ids(root=tmp_path, config_id="config_v2")) == 59
    assert len(scene_ids(root=tmp_path / "nowhere")) == 59


def test_table_entry_follows_the_version():
    assert sorted(table_entry("1b2a8613401e42a8", "0.2")["default_views_configs"]) == [
        "16",
        "3",
        "32",
        "4",
        "8",
    ]
    assert "6" in table_entry("1b2a8613401e42a8", "0.4")["default_views_configs"]
    assert "6" in table_entry("1b2a8613401e42a8")["default_views_configs"]
    assert table_entry("e66dc6927fc5e28c", "0.2") is None
    assert table_entry("nobody") is None


def test_many_writers_in_one_root(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: make_h3ds(tmp_path, f"s{number}", azimuths=(0, 90, 45)), range(8)))
    config = tomllib.loads((tmp_path / "config.toml").read_text())
    assert list(config["scenes"]) == [f"s{number}" for number in range(8)]
