from dataclasses import replace

import numpy as np
import trimesh

from recon.calibration.masks import silhouette, with_head
from recon.calibration.observing import ObservedPhotograph, Window, within
from recon.scene import Camera

SIZE = 160
HEAD = trimesh.creation.icosphere(subdivisions=4, radius=100.0)
POSE = np.diag([1.0, -1.0, -1.0, 1.0])
POSE[2, 3] = 1000.0
CAMERA = Camera(np.array([[500.0, 0, 80], [0, 500.0, 80], [0, 0, 1]]), POSE, SIZE, SIZE)
"""Sees the ball of 100 mm at half a pixel a millimetre: a disc of 50 pixels."""
Y, X = np.mgrid[:SIZE, :SIZE] + 0.5
DISC = np.hypot(X - 80, Y - 80) < 50
LURE = (X > 140) & (Y > 110)


def observed(**other):
    """A ball before a wall; the network takes a thing in the corner for a part of the person."""
    image = np.full((SIZE, SIZE, 3), 0.7)
    image[DISC], image[LURE] = (0.8, 0.5, 0.4), (0.1, 0.2, 0.7)
    image += np.random.default_rng(0).normal(0, 0.02, image.shape)
    person = DISC | LURE
    probability = np.where(person, 0.97, 0.03).astype(np.float32)
    return ObservedPhotograph(
        "a.jpg", np.float32(np.clip(image, 0, 1)), person, probability=probability, **other
    )


def test_a_silhouette_is_where_the_camera_sees_the_mesh():
    seen = silhouette(HEAD, CAMERA)
    assert (seen & DISC).sum() / (seen | DISC).sum() > 0.98


def test_the_head_corrects_the_networks_mask():
    found = with_head(observed(), CAMERA, silhouette(HEAD, CAMERA), 0.5)
    assert (found.mask & DISC).sum() / (found.mask | DISC).sum() > 0.98
    assert not found.mask[LURE].any() and found.ignored.mean() < 0.05


def test_what_hides_the_head_stays_ignored_and_is_cut_and_scaled_with_the_photograph():
    hand = (abs(X - 80) < 20) & (Y > 100) & (Y < 120)
    view = within(observed(hidden=hand), Window(20, 20, 120, 120, (60, 60)))
    assert view.hidden.shape == view.probability.shape == view.mask.shape == (60, 60)
    assert view.hidden[42:48, 22:38].all() and view.hidden.sum() == hand.sum() / 4
    assert with_head(observed(hidden=hand), CAMERA, silhouette(HEAD, CAMERA), 0.5).ignored[hand].all()


def test_a_users_mask_stays_and_so_does_one_that_the_head_does_not_fit():
    for one, outline_mm in ((replace(observed(), probability=None), 0.5), (observed(), 5.0)):
        assert with_head(one, CAMERA, silhouette(HEAD, CAMERA), outline_mm) is one
    away = CAMERA.transformed(np.block([[np.eye(3), np.array([[900.0], [0], [0]])], [np.zeros((1, 3)), 1]]))
    one = observed()
    assert with_head(one, away, silhouette(HEAD, away), 0.5) is one
