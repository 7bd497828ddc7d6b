import numpy as np
import pytest
import torch

from recon.perception import PersonMask
from recon.perception.masks import unsure
from recon.perception.refinement import NOISE, OUTLIERS, Mixture, person_probability, refined_mask

SIZE, MM = 240, 0.75
"""Side of the picture, and pixels per mm."""
Y, X = np.mgrid[:SIZE, :SIZE] + 0.5
HEAD = np.hypot(X - 120, (Y - 120) / 1.2) < 55


def seen(person, colours, lure=None):
    """A picture of a person before a grey wall, and the probability of a network that takes the lure for the person."""
    rng = np.random.default_rng(0)
    image = np.full((SIZE, SIZE, 3), 0.6)
    if lure is not None:
        image[lure] = colours[1]
    image[person] = colours[0]
    probability = np.where(person | (False if lure is None else lure), 0.97, 0.03)
    return np.float32(np.clip(image + rng.normal(0, 0.02, image.shape), 0, 1)), np.float32(probability)


def refined(image, probability, hidden=None, body=None):
    """The mask and what is ignored, of what the network says."""
    network = PersonMask(probability > 0.5, unsure(probability, 110.0), probability, "network", hidden=hidden)
    return refined_mask(image, network, HEAD, np.zeros_like(HEAD) if body is None else body, MM, 0.5)


def test_what_is_far_from_the_head_and_of_other_colours_is_not_the_person():
    lure = (X > 190) & (Y > 150)
    image, probability = seen(HEAD, ((0.8, 0.6, 0.5), (0.1, 0.2, 0.7)), lure)
    mask, ignored = refined(image, probability)
    assert (mask & HEAD).sum() / (mask | HEAD).sum() > 0.99
    assert not (mask & lure)[:, 200:].any() and not ignored[HEAD].any()


def test_a_thing_that_touches_the_head_is_cut_off_along_the_head():
    shoulder = (X > 120) & (Y > 120)
    image, probability = seen(HEAD, ((0.8, 0.6, 0.5), (0.1, 0.2, 0.7)), shoulder & ~HEAD)
    probability[HEAD] = 0.97
    mask, ignored = refined(image, probability)
    far = np.hypot(X - 120, (Y - 120) / 1.2) > 55 + 60 * MM
    assert not (mask & ~ignored & shoulder & far).any()
    assert mask[HEAD].all() and ignored[HEAD].mean() < 0.05


def test_hair_that_the_shape_model_lacks_stays():
    tail = (abs(X - 185) < 12) & (abs(Y - 120) < 60)
    image, probability = seen(HEAD | tail, ((0.2, 0.15, 0.1), (0, 0, 0)))
    mask, ignored = refined(image, probability)
    assert mask[tail].mean() > 0.97 and not ignored.any()


def test_before_a_backdrop_of_the_persons_colours_the_networks_mask_stays():
    hair = HEAD | (np.hypot(X - 120, (Y - 100) / 1.2) < 55)  # 27 mm higher than the head that was fitted
    image, _ = seen(np.ones_like(HEAD), ((0.2, 0.15, 0.1), (0, 0, 0)))
    probability = np.where(hair, 0.97, 0.03).astype(np.float32)
    mask, ignored = refined(image, probability)
    assert (mask == hair).all()
    assert ignored[hair].mean() < 0.1 and not ignored[HEAD & (Y > 100)].any()


def test_a_part_of_the_head_that_the_network_lost_comes_back():
    lost, deep = HEAD & (Y < 95), np.hypot(X - 120, (Y - 120) / 1.2) < 42
    image, probability = seen(HEAD, ((0.2, 0.15, 0.1), (0, 0, 0)))
    probability[lost] = 0.1
    mask, ignored = refined(image, probability)
    assert mask[lost & deep].mean() > 0.97 and not ignored[lost & deep].any()


def test_what_the_network_doubts_deep_inside_the_head_counts_and_near_its_outline_does_not():
    image, probability = seen(HEAD, ((0.8, 0.6, 0.5), (0, 0, 0)))
    cheek, temple = (np.hypot(X - 120, Y - y) < 14 for y in (130, 62))
    probability[cheek | temple] = 0.6
    mask, ignored = refined(image, probability)
    assert mask[cheek].all() and not ignored[cheek].any()
    assert ignored[temple & (Y < 60)].mean() > 0.9


def test_shoulders_of_the_fitted_head_are_no_evidence():
    image, probability = seen(HEAD & (Y < 150), ((0.8, 0.6, 0.5), (0, 0, 0)))
    mask, _ = refined(image, probability, body=Y > 145)
    assert not mask[Y > 155].any()
    mask, _ = refined(image, probability)
    assert mask[(Y > 158) & (np.hypot(X - 120, (Y - 120) / 1.2) < 42)].any()


def test_what_hides_the_head_stays_ignored_and_teaches_no_colours():
    hand = (abs(X - 120) < 30) & (Y > 150) & (Y < 200)
    image, probability = seen(HEAD, ((0.8, 0.6, 0.5), (0, 0, 0)))
    image[hand] = (0.1, 0.7, 0.2)
    mask, ignored = refined(image, probability, hand)
    assert ignored[hand].all()
    assert (mask & HEAD & ~hand).sum() > 0.99 * (HEAD & ~hand).sum()


def test_a_head_whose_outline_is_nowhere_that_of_the_mask_changes_nothing():
    small = np.hypot(X - 120, (Y - 120) / 1.2) < 30
    image, probability = seen(small, ((0.8, 0.6, 0.5), (0, 0, 0)))
    assert refined(image, probability) is None


def test_a_picture_without_any_backdrop_keeps_what_network_and_head_say():
    image = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    found = person_probability(image, np.ones((SIZE, SIZE), np.float32), HEAD, MM, 0.5)
    assert found[120, 120] > 0.99


@pytest.mark.parametrize("apart", [0.3, 0.6])
def test_a_mixture_finds_the_density_of_two_clusters(apart):
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(4000, 2, generator=rng) * 0.05 + apart * (torch.arange(4000) % 2)[:, None]
    places = torch.tensor([[0.0, 0.0], [apart, apart], [apart / 2, apart / 2], [5.0, 5.0]])

    def density(place):
        variance = 0.05**2 + NOISE**2
        bumps = [np.exp(-((place - c) ** 2).sum() / (2 * variance)) for c in (0.0, apart)]
        return (1 - OUTLIERS) * sum(bumps) / 2 / (2 * np.pi * variance) + OUTLIERS

    expected = np.log([density(place) for place in places.numpy()])
    assert Mixture.fitted(values).log_density(places).numpy() == pytest.approx(expected, abs=0.35)
