"""The table of alarms counts what it says; the faults are where they are said to be."""

from collections import Counter

import numpy as np
import pytest

from recon.scene import Camera
from tools.measure_warnings import GOOD, alarms, inputs, named, table
from tools.spoilt_inputs import KINDS, Pictures

SEEN = "The photographs show only 33% of the surface; the rest is a guess. Add photographs from other sides."


def result(name, kind, *warnings, wrong=0, error=None):
    return {"name": name, "kind": kind, "wrong": wrong, "warnings": list(warnings), "error": error}


def test_forty_of_each_with_every_person_and_kind_early():
    everything = list(inputs(10))
    assert len({each.name for each in everything}) == 80
    good = [each for each in everything if each.kind == GOOD]
    assert Counter(each.views for each in good) == {1: 10, 3: 10, 4: 10, 8: 10}
    assert {(each.person, each.views) for each in good} == {(p, v) for p in range(10) for v in (1, 3, 4, 8)}
    assert {each.person for each in good[:10]} == set(range(10))
    spoilt = [each for each in everything if each.kind != GOOD]
    assert Counter(each.kind for each in spoilt) == {name: kind.inputs for name, kind in KINDS.items()}
    assert {each.kind for each in spoilt[:14]} == set(KINDS) and all(
        each.wrong < each.views for each in spoilt
    )
    assert [each.kind == GOOD for each in everything[:4]] == [True, False, True, False]


def test_a_spoilt_input_is_found_only_by_its_cause_and_its_view():
    said = "View 2 (img_0002.jpg) disagrees with the others: its camera is at odds."
    assert named(result("a", "camera", said, wrong=2)) == [said]
    assert named(result("a", "camera", said, wrong=1)) == []
    assert named(result("a", "camera", "View 12: its camera is at odds.", wrong=2)) == []
    assert named(result("a", "blurred", said)) == [] and alarms(result("a", "blurred", said)) == [said]
    assert named(result("a", "inverted masks", error="mask a.png is inverted: it is white")) != []


def test_table_counts_false_and_missed():
    results = [
        result("good-0-1", GOOD, SEEN),
        result("good-1-3", GOOD, "The head does not agree with view 1."),
        result("metres-0", "metres", "The world is expected in millimetres, in which a head has 100."),
        result("metres-1", "metres", SEEN),
    ]
    text = table(results, "command")
    assert "False alarms: 1 of 2 good inputs. Missed: 1 of 2 spoilt inputs." in text
    assert "| world in metres | 2 | 1 | 1 | The world is expected in millimetres, in which a (1) |" in text
    assert (
        "- good-1-3: The head does not agree with view 1." in text and "- metres-1: nothing is said" in text
    )


def pictures(seed, views=3, side=96):
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((side, side))
    mask = np.hypot(rows - 40, columns - 50 - seed) < 30
    pose = np.eye(4)
    pose[2, 3] = -500.0
    intrinsics = np.array([[100.0, 0, 48], [0, 100, 48], [0, 0, 1]])
    cameras = []
    for view in range(views):
        moved = pose.copy()
        moved[0, 3] = 10.0 * view
        cameras.append(Camera(intrinsics, moved, side, side))
    images = tuple(rng.random((side, side, 3), dtype=np.float32) for _ in range(views))
    return Pictures(images, (mask,) * views, tuple(cameras), np.diag([150.0, 150, 150, 1]))


@pytest.mark.parametrize("kind", KINDS)
def test_faults_are_in_the_view_that_is_wrong(kind):
    given, other = pictures(0), pictures(1)
    spoilt = KINDS[kind].spoil(given, other, 1)
    same = [
        np.array_equal(given.images[v], spoilt.images[v])
        and np.array_equal(given.masks[v], spoilt.masks[v])
        and np.array_equal(given.cameras[v].projection, spoilt.cameras[v].projection)
        for v in range(3)
    ]
    everywhere = kind in ("wide masks", "focal length", "metres", "inverted masks", "blurred")
    assert same == ([False] * 3 if everywhere else [True, False, kind != "exchanged"])


def test_faults_by_hand():
    given, other = pictures(0), pictures(1)
    camera = KINDS["camera"].spoil(given, other, 1).cameras[1].world_from_camera
    before = given.cameras[1].world_from_camera
    assert np.linalg.norm(camera[:3, 3] - before[:3, 3]) == pytest.approx(30.0)
    assert np.degrees(np.arccos((np.trace(camera[:3, :3]) - 1) / 2)) == pytest.approx(6.0)
    assert KINDS["focal length"].spoil(given, other, 1).cameras[0].intrinsics[0, 0] == pytest.approx(130.0)
    metres = KINDS["metres"].spoil(given, other, 1)
    assert metres.scale_mat[0, 0] == pytest.approx(0.15) and metres.cameras[0].centre[2] == pytest.approx(
        -0.5
    )
    shifted = KINDS["shifted mask"].spoil(given, other, 0).masks[0]
    assert np.array_equal(shifted[:, 8:], given.masks[0][:, :-8])
    wide = KINDS["wide masks"].spoil(given, other, 0).masks[0]  # a disc of 30 px grows to 33.75
    assert wide.sum() == pytest.approx(np.pi * 33.75**2, rel=0.03)
