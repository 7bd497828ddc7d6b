"""Whether photographs show one person: whether several heads explain their landmarks much better than one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recon.calibration.bundle import Bundle, BundleSettings, LandmarkView, bundle_adjust
from recon.calibration.landmarks import LandmarkModel

EVIDENCE = 12.0
"""Difference of energies from which a photograph is said to show another person. `tools/measure_identity.py` has what
sets of one person and of several reach.
"""

STEPS = 10
"""Of Gauss–Newton, in each of these adjustments: then energies are settled to 0.6."""


def other_persons(
    model: LandmarkModel, views: Sequence[LandmarkView], together: Bundle, settings: BundleSettings
) -> list[int]:
    """The photographs whose landmarks fit a head of their own much better than that of the others.

    One after the other, the photograph that fits worst is left out, as long as the energy falls by more than
    `EVIDENCE`: the logarithm of a Bayes factor, since both sides pay for the codes of their heads.

    Args:
        model: Landmarks by code.
        views: The photographs.
        together: Their common head.
        settings: By which it was found.

    Returns:
        Positions in the list, worst first; one of two photographs, which is no worse than the other.
    """
    if len(views) < 2:
        return []
    alone = [bundle_adjust(model, [view], replace(settings, steps=STEPS)) for view in views]
    kept, common, found = list(range(len(views))), together, list[int]()
    while len(kept) > 1:
        evidence, worst, without = evidence_of_another(
            model, [views[index] for index in kept], common, [alone[index] for index in kept], settings
        )
        if evidence < EVIDENCE:
            break
        found.append(kept.pop(worst))
        common = without
    return found


def evidence_of_another(
    model: LandmarkModel,
    views: Sequence[LandmarkView],
    together: Bundle,
    alone: Sequence[Bundle],
    settings: BundleSettings,
) -> tuple[float, int, Bundle]:
    """How much less energy a photograph and the rest have with a head each than with a common one, of the photograph
    that fits worst.

    Args:
        model: Landmarks by code.
        views: At least two photographs.
        together: Their common head.
        alone: The head of each by itself.
        settings: By which these were found.

    Returns:
        The difference, the photograph's position, and the head of the others.
    """
    rise = [each - own.view_energy[0] for each, own in zip(together.view_energy, alone, strict=True)]
    worst = rise.index(max(rise))
    rest = [index for index in range(len(views)) if index != worst]
    without = (
        alone[rest[0]]
        if len(rest) == 1
        else bundle_adjust(model, [views[index] for index in rest], replace(settings, steps=STEPS))
    )
    return together.energy - without.energy - alone[worst].energy, worst, without
