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
    settings = replace(settings, steps=STEPS)
    alone = [bundle_adjust(model, [view], settings) for view in views]
    kept, common, found = list(range(len(views))), together, list[int]()
    while len(kept) > 1:
        rise = [common.view_energy[k] - alone[index].view_energy[0] for k, index in enumerate(kept)]
        worst = rise.index(max(rise))
        rest = [index for index in kept if index != kept[worst]]
        without = (
            alone[rest[0]]
            if len(rest) == 1
            else bundle_adjust(model, [views[index] for index in rest], settings)
        )
        if common.energy - without.energy - alone[kept[worst]].energy < EVIDENCE:
            break
        found.append(kept[worst])
        kept, common = rest, without
    return found
