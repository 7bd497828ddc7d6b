"""A subject photographed again: in the same light the same picture, in another light another one."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("numba")

import recon.scene
from recon.errors import SceneError
from recon.synth.body.subject import draw_recipe
from recon.synth.datasets import batch, cameras, relighting, scenes
from recon.synth.datasets.faults import CLEAN, FAULTS
from recon.synth.datasets.relighting import RelitSubject, room_of_view
from recon.synth.model.identity import generator, split_of_quantile
from recon.synth.render.appearance import draw_appearance
from recon.synth.render.room import draw_room, sphere_directions
from tests.support.head_model import needs_model
from tests.support.toy_subject import toy_subject


@pytest.fixture(scope="module")
def sitting(tmp_path_factory):
    """A toy's scene of three views from the left, the front and the right, and its subject."""
    subject, appearance = toy_subject(4), draw_appearance(4)
    poses = [cameras.look_at(np.array([0.0, -20, 0]), a, 0.0, 800.0) for a in (-50.0, 0.0, 50.0)]
    intrinsics = np.array([[250.0, 0, 64], [0, 250.0, 64], [0, 0, 1]])
    views = tuple(recon.scene.Camera(intrinsics, pose, 128, 128) for pose in poses)
    orbit = cameras.Orbit(views, np.array([-50.0, 0.0, 50.0]), {3: (0, 1, 2)})
    placement = scenes.draw_placement(np.random.default_rng(5))
    folder = scenes.write_subject_scene(
        tmp_path_factory.mktemp("root"), subject, appearance, orbit, placement
    )
    return recon.scene.open(folder), RelitSubject(subject, appearance, "train", placement)


def test_in_the_same_light_the_photograph_is_the_same(sitting):
    scene, relit_subject = sitting
    view = scene.views[2]
    again = relit_subject.photograph(view.camera, FAULTS[CLEAN], 0, view.index)
    assert np.abs(again - view.image()).mean() < 0.01  # JPEG, and another draw of the sensor's noise


def brighter_half(image):
    """Brightness of the right half of the toy's cheeks, a piece of a ball, minus that of their left half."""
    grey = image[54:72].mean(axis=2)
    return grey[:, 68:85].mean() - grey[:, 43:60].mean()


@pytest.mark.slow
def test_light_on_the_camera_falls_the_same_way_in_each_view(sitting):
    scene, relit_subject = sitting
    still = [brighter_half(view.image()) for view in scene.views]
    turning = [
        brighter_half(relit_subject.photograph(view.camera, FAULTS["light_on_camera"], 0, view.index))
        for view in scene.views
    ]
    assert turning[1] == pytest.approx(still[1], abs=0.01)  # the room stands as it did for the view in front
    assert np.ptp(still) > 0.15 and np.ptp(turning) < 0.3 * np.ptp(still)


def test_another_light_makes_another_photograph(sitting):
    scene, relit_subject = sitting
    view = scene.views[1]
    other = relit_subject.photograph(view.camera, FAULTS["light_each_view"], 0, 1)
    assert np.abs(other - view.image())[view.mask()].mean() > 0.02


def test_rooms_of_views_depend_on_seed_and_view():
    camera = recon.scene.Camera(np.diag([200.0, 200, 1]), np.eye(4), 64, 64)
    room = draw_room(np.random.default_rng(3))

    def drawn(seed, view):
        return room_of_view(room, "another in each view", camera, "val", seed, view).panorama

    np.testing.assert_array_equal(drawn(0, 1), drawn(0, 1))
    for other in (drawn(0, 2), drawn(1, 1), room.panorama):
        assert np.abs(drawn(0, 1) - other).mean() > 0.02
    assert room_of_view(room, "as it is", camera, "val", 0, 1) is room


def test_highlights_make_skin_and_hair_brighter_and_leave_the_rest(sitting):
    scene, relit_subject = sitting
    view = scene.views[1]
    shiny = relit_subject.photograph(view.camera, FAULTS["highlights"], 0, 1)
    more = (shiny - view.image()).max(axis=2)
    assert np.median(np.abs(more[~view.mask()])) < 0.01
    assert np.quantile(more[view.mask()], 0.98) > 0.1 and np.median(more[view.mask()]) < 0.1


def test_lights_of_test_subjects_come_from_the_test_split():
    room = draw_room(generator(3, "test", purpose=1))
    camera = recon.scene.Camera(np.diag([200.0, 200, 1]), np.eye(4), 64, 64)
    azimuths = []
    for view in range(12):
        drawn = room_of_view(room, "another in each view", camera, "test", 7, view)
        x, _, z = drawn.lamps[0].direction
        azimuths.append(np.degrees(np.arctan2(x, z)))
        assert split_of_quantile((azimuths[-1] + 75.0) / 150.0) == "test"
    assert np.ptp(azimuths) > 80 and np.abs(azimuths).max() <= 75


def test_a_turned_room():
    room = draw_room(np.random.default_rng(3))
    still = room.turned(0.0)
    np.testing.assert_array_equal(still.panorama, room.panorama)
    turned = room.turned(90.0)
    directions = sphere_directions(500)
    # A quarter turn takes +Z to +X and +X to -Z.
    moved = np.stack([directions[:, 2], directions[:, 1], -directions[:, 0]], axis=1)
    np.testing.assert_allclose(turned.radiance(moved), room.radiance(directions), atol=1e-5)
    for lamp, before in zip(turned.lamps, room.lamps, strict=True):
        x, y, z = before.direction
        np.testing.assert_allclose(lamp.direction, [z, y, -x], atol=1e-12)
        np.testing.assert_array_equal(lamp.irradiance, before.irradiance)
    back = room.turned(37.3).turned(-37.3)
    assert np.abs(back.radiance(directions) - room.radiance(directions)).mean() < 0.005


def test_scenes_without_a_recipe_are_refused(sitting, tmp_path):
    scene, _ = sitting
    with pytest.raises(SceneError, match="only synthetic heads"):
        RelitSubject.from_scene(dataclasses.replace(scene, root=tmp_path))
    (tmp_path / "recipe.json").write_text('{"subject": {}}')
    with pytest.raises(SceneError, match="lamps"):
        RelitSubject.from_scene(dataclasses.replace(scene, root=tmp_path))


def test_a_look_that_was_chosen_by_hand_is_refused(sitting, monkeypatch):
    scene, _ = sitting  # its appearance is that of seed 4, of which the recipe knows nothing
    monkeypatch.setattr(relighting, "build_subject", lambda recipe: toy_subject(4))
    with pytest.raises(SceneError, match="chosen by hand"):
        RelitSubject.from_scene(scene)


@pytest.mark.slow
@needs_model
def test_a_person_of_make_scenes_sits_again(tmp_path):
    recipe = draw_recipe(3, split="val", style="bald")
    scene = recon.scene.open(
        batch.make_scene(tmp_path, batch.SceneSettings(views=3, size=128, truth_vertices=None), recipe)
    )
    relit_subject, view = RelitSubject.from_scene(scene), scene.views[1]
    same = relit_subject.photograph(view.camera, FAULTS[CLEAN], 0, 1)
    assert np.abs(same - view.image()).mean() < 0.01
    other = relit_subject.photograph(view.camera, FAULTS["light_each_view"], 0, 1)
    assert np.abs(other - view.image())[view.mask()].mean() > 0.02
