import numpy as np
import pytest

from recon import scene as scenes
from recon.errors import SceneError
from recon.scene.selection import spread
from tests.support.scenes import SCALE_MAT, make_h3ds, orbit_camera

UNIT = np.linalg.inv(SCALE_MAT)


def unit_cameras(azimuths, elevation=0.0):
    return [orbit_camera(azimuth, elevation).transformed(UNIT) for azimuth in azimuths]


FRONT = np.array([0.0, 0.0, -1.0])


def test_default_lists_come_as_they_are(tmp_path):
    scene = scenes.open(make_h3ds(tmp_path, default_views={3: [4, 0, 4], 2: [1, 0, 2]}))
    assert scene.select(3) == [4, 0, 4]  # a data set's list may repeat a view
    assert scene.select(2) == [1, 0, 2]  # or be longer than its name


@pytest.mark.parametrize(
    ("views", "words"),
    [
        ([4, 1, 4], "view 4 is named twice"),
        ([0, 5], r"no view 5: its 5 views are 0\.\.4"),
        ([-1], "no view -1"),
        ([], "empty"),
        ([True], "not an index"),
        ([0.5], "not an index"),
        (["1"], "not an index"),
        (6, "6 views asked for, but scene 'ball' has 5"),
        (0, "at least 1"),
        (-2, "at least 1"),
    ],
)
def test_impossible_choices(tmp_path, views, words):
    scene = scenes.open(make_h3ds(tmp_path))
    with pytest.raises(SceneError, match=words):
        scene.select(views)


def test_explicit_lists_keep_their_order(tmp_path):
    assert scenes.open(make_h3ds(tmp_path)).select([3, 0, np.int64(2)]) == [3, 0, 2]


def test_landmarks_say_where_the_face_is(tmp_path):
    azimuths = (180, 120, 60, 0, -60, -120)
    scene = scenes.open(make_h3ds(tmp_path, azimuths=azimuths, default_views={}))
    assert scene.front() @ FRONT > 0.02
    assert scene.select(1) == [3]
    assert scene.select(3)[0] == 3
    assert sorted(scene.select(3)[1:]) == [2, 4]
    assert sorted(scene.select(6)) == [0, 1, 2, 3, 4, 5]


def test_without_landmarks_the_first_default_view_is_the_front(tmp_path):
    scene = scenes.open(
        make_h3ds(
            tmp_path, azimuths=(180, 90, 0, -90), default_views={3: [1, 0, 2], 4: [0, 1, 2, 3]}, landmarks={}
        )
    )
    assert scene.select(1) == [1]


def test_missing_pictures_are_not_chosen(tmp_path):
    folder = make_h3ds(tmp_path, default_views={})
    (folder / "image" / "img_0000.jpg").unlink()
    (folder / "mask" / "mask_0001.png").unlink()
    scene = scenes.open(folder)
    assert sorted(scene.select(3)) == [2, 3, 4]
    with pytest.raises(SceneError, match=r"has 3 \(2 more lack their image or mask\)"):
        scene.select(4)


def test_few_views_stand_45_degrees_apart_around_the_front():
    azimuths = list(range(-180, 180, 15))
    cameras = unit_cameras(azimuths)
    assert [azimuths[i] for i in spread(cameras, 3, FRONT)] == [0, -45, 45]
    assert [azimuths[i] for i in spread(cameras, 5, FRONT)] == [0, -45, 45, -90, 90]


def test_many_views_close_the_circle_evenly():
    azimuths = np.arange(0, 360, 7.5)
    chosen = np.sort(azimuths[spread(unit_cameras(azimuths), 12, FRONT)])
    gaps = np.diff(np.append(chosen, chosen[0] + 360))
    assert gaps.min() >= 22.5
    assert gaps.max() <= 37.5


@pytest.mark.parametrize("low", [-60, -100, 120])
def test_an_arc_is_covered_from_end_to_end(low):
    azimuths = [low + 10 * i for i in range(13)]  # 120 degrees
    front = orbit_camera(low + 60).transformed(UNIT).centre
    chosen = sorted(azimuths[i] for i in spread(unit_cameras(azimuths), 7, front))
    assert chosen == [low + 20 * i for i in range(7)]


def test_densest_direction_is_the_front_when_nothing_else_is_known():
    azimuths = [0, 90, 180, 190, 200, 210, 220, 270]
    assert azimuths[spread(unit_cameras(azimuths), 1)[0]] == 200


@pytest.mark.parametrize(
    ("azimuths", "elevation"),
    [
        (range(-175, 180, 24), 0.0),
        (range(-175, 180, 24), 50.0),
        (range(-70, 75, 14), 20.0),
        ((-30, 0, 25), 0.0),
    ],
)
@pytest.mark.parametrize("front", [FRONT, None])
def test_pictures_that_are_stored_lying_on_their_side_change_no_choice(azimuths, elevation, front):
    cameras = unit_cameras(azimuths, elevation)
    rng = np.random.default_rng(0)
    for count in range(1, min(len(cameras), 8) + 1):
        expected = spread(cameras, count, front)
        for rolls in (1, 2, 3):
            rolled = [camera.turned(rolls) for camera in cameras]
            assert set(spread(rolled, count, front)) == set(expected)
        mixed = [camera.turned(int(rng.integers(4))) for camera in cameras]
        assert set(spread(mixed, count, front)) == set(expected)
    # where more pictures are stored upright than upside down, the order is the same too
    few = [camera.turned(1 if number % 3 else 0) for number, camera in enumerate(cameras)]
    assert spread(few, 3, front) == spread(cameras, 3, front)


def test_the_rule_does_not_depend_on_the_frame_or_on_a_reordering():
    rng = np.random.default_rng(3)
    azimuths = np.sort(rng.uniform(-180, 180, 40))
    cameras = unit_cameras(azimuths)
    before = azimuths[spread(cameras, 6, FRONT)]
    turn = np.eye(4)
    turn[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn[:3, :3] *= np.sign(np.linalg.det(turn[:3, :3]))
    order = rng.permutation(40)
    turned = [cameras[i].transformed(turn) for i in order]
    after = azimuths[order][spread(turned, 6, turn[:3, :3] @ FRONT)]
    np.testing.assert_allclose(after, before)
