import numpy as np
import pytest
import torch

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


def test_what_is_far_from_the_head_and_of_other_colours_is_not_the_person():
    lure = (X > 190) & (Y > 150)
    image, probability = seen(HEAD, ((0.8, 0.6, 0.5), (0.1, 0.2, 0.7)), lure)
    mask, unknown = refined_mask(image, probability, HEAD, MM, 0.5)
    assert (mask & HEAD).sum() / (mask | HEAD).sum() > 0.99
    assert not (mask & lure)[:, 200:].any() and not unknown[HEAD].any()


def test_hair_that_the_shape_model_lacks_stays():
    tail = (abs(X - 185) < 12) & (abs(Y - 120) < 60)
    image, probability = seen(HEAD | tail, ((0.2, 0.15, 0.1), (0, 0, 0)))
    mask, _ = refined_mask(image, probability, HEAD, MM, 0.5)
    assert mask[tail].mean() > 0.97


def test_a_part_of_the_head_that_the_network_lost_comes_back():
    lost = HEAD & (Y < 95)
    image, probability = seen(HEAD, ((0.2, 0.15, 0.1), (0, 0, 0)))
    probability[lost] = 0.1
    mask, _ = refined_mask(image, probability, HEAD, MM, 0.5)
    assert mask[lost].mean() > 0.97
    dark = np.where(HEAD[..., None], image, np.float32([0.2, 0.15, 0.1]))  # before a ground of its own colour
    mask, unknown = refined_mask(dark, probability, HEAD, MM, 0.5)
    inner = lost & (np.hypot(X - 120, (Y - 120) / 1.2) < 45)
    assert mask[inner].mean() > 0.97 and not (mask & ~unknown & ~HEAD)[:, :50].any()


def test_what_hides_the_head_stays_unknown_and_teaches_no_colours():
    hand = (abs(X - 120) < 30) & (Y > 150) & (Y < 200)
    image, probability = seen(HEAD, ((0.8, 0.6, 0.5), (0, 0, 0)))
    image[hand] = (0.1, 0.7, 0.2)
    mask, unknown = refined_mask(image, probability, HEAD, MM, 0.5, hand)
    assert unknown[hand].all()
    assert (mask & HEAD & ~hand).sum() > 0.99 * (HEAD & ~hand).sum()


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
