import pytest

from recon.systems.objective import Objective, stepped


@pytest.mark.parametrize(
    ("epoch", "alpha"),
    [(0, 50), (249, 50), (250, 100), (500, 200), (999, 400), (1000, 800), (1250, 1600), (1999, 1600)],
)
def test_alpha_at_the_published_epochs(epoch, alpha):
    objective = Objective()
    assert (
        objective.alpha * stepped(epoch / 2000, objective.alpha_milestones, objective.alpha_factor) == alpha
    )


@pytest.mark.parametrize(
    ("epoch", "rate"), [(0, 1e-4), (999, 1e-4), (1000, 5e-5), (1500, 2.5e-5), (1999, 2.5e-5)]
)
def test_learning_rate_at_the_published_epochs(epoch, rate):
    objective = Objective()
    factor = stepped(epoch / 2000, objective.learning_rate_milestones, objective.learning_rate_factor)
    assert objective.learning_rate * factor == pytest.approx(rate)
