import numpy as np

from recon.scene import View
from recon.systems.report.appearance import coloured


class Shown(View):
    """A view with a mask of 12 rows and what is ignored in it."""

    def __init__(self, *ignored):
        self._ignored = np.zeros((12, 8), bool)
        for rows, columns in ignored:
            self._ignored[rows, columns] = True

    def mask(self):
        mask = np.zeros((12, 8), bool)
        mask[2:, 1:7] = True
        return mask

    def ignored(self):
        return self._ignored.copy()


def test_clothes_give_colours_though_their_shape_is_not_believed():
    hand, body = (slice(3, 5), slice(2, 4)), (slice(9, 12), slice(0, 8))
    view = Shown(hand, body)
    taken = coloured(view, body_ignored=True)
    assert not taken[3:5, 2:4].any() and taken[9:, 1:7].all() and not taken[9:, 0].any()
    strict = coloured(view, body_ignored=False)  # the user says what is ignored, and that holds
    np.testing.assert_array_equal(strict, view.mask() & ~view.ignored())
    np.testing.assert_array_equal(
        coloured(Shown(hand), body_ignored=True), coloured(Shown(hand), body_ignored=False)
    )
