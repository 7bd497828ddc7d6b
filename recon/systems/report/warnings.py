"""Plain sentences about what is wrong between photographs and fit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recon.geometry.outlines import Agreement
from recon.scene.consistency import ODD_MM

# Measured at three views, 512 x 512. Good: 10 subjects x h3dnet and idr, and the shape model's member alone that fits
# two validation heads. Broken, the member fitted to the broken input: a mask of another view, a mirrored mask, one or
# all masks widened by 20 px, two cameras swapped. Figures are of the worst view.
OUTLINE_MM = 2.5
"""Median distance between outlines: good at most 1.4, broken 1.7 to 14."""
OUTLINE_P90_MM = 4.5
"""90th percentile of it: good at most 3.4, broken at least 4.9. The least are masks that are all too wide: a wide head
explains them, and a method of free shape will explain them so well that nothing is said.
"""
LEAST_PX = 1.5
"""Distances of fewer pixels are the masks' own precision, however large a pixel is; twice that at the percentile."""
ODD_ONE_OUT = 3.0
"""A view's percentile against the next one's: at least 6.5 where its mask was mirrored or of a far view; swapped
cameras reach 2.6, and there the odd one is the one that is right.
"""
LIFE_SHARE = 0.12
"""Departure from the mean head's size: good at most 0.03, a world scaled by 1.3 comes out at 1.25 and 1.26."""
EXTENT_MM = (200.0, 900.0)
"""Of the mesh with shoulders: good 380 to 450. Only another unit is outside of these."""
SEEN_SHARE = 0.40
"""Share of the surface: three views show 0.45 to 0.53, one shows 0.32 to 0.34."""


@dataclass(frozen=True)
class Fitted:
    """How the fitted surface agrees with one photograph.

    Attributes:
        view: Id.
        outlines: Agreement in pixels.
        pixel_mm: Width of a pixel at the head.
        gap_mm: Mean distance by which rays of the mask's outline miss what the other masks leave; None where there is
            no other mask. It does not depend on the surface.
    """

    view: int
    outlines: Agreement
    pixel_mm: float
    gap_mm: float | None = None

    @property
    def median_mm(self) -> float:
        """Median distance between the outlines at the head."""
        return self.outlines.median_px * self.pixel_mm

    @property
    def p90_mm(self) -> float:
        """90th percentile of the same."""
        return self.outlines.p90_px * self.pixel_mm

    @property
    def apart(self) -> bool:
        """The fit does not explain this photograph."""
        found = self.outlines
        return (self.median_mm > OUTLINE_MM and found.median_px > LEAST_PX) or (
            self.p90_mm > OUTLINE_P90_MM and found.p90_px > 2 * LEAST_PX
        )

    def sentence(self) -> str:
        """The agreement in words."""
        found = self.outlines
        if not np.isfinite(found.median_px):
            return "one of the outlines is not in the picture"
        return (
            f"outlines {found.median_px:.1f} px = {self.median_mm:.1f} mm apart (median), 90 % within "
            f"{found.p90_px:.1f} px = {self.p90_mm:.1f} mm; overlap (IoU) {found.iou:.1%}"
        )


def warnings(
    fitted: Sequence[Fitted], seen_share: float, extent_mm: float, life_size: float | None
) -> list[str]:
    """What a user should know before trusting the mesh; empty if all is well.

    Args:
        fitted: Agreement with each input view.
        seen_share: Share of the surface that some input photograph shows.
        extent_mm: Longest side of the mesh's bounding box.
        life_size: Size of the head against the mean head, where known.
    """
    return [*_about_outlines(fitted), *_about_size(extent_mm, life_size), *_about_what_is_seen(seen_share)]


def _about_outlines(fitted: Sequence[Fitted]) -> list[str]:
    bad = [f for f in fitted if f.apart]
    if not bad:
        return []
    odd = _odd_one_out(fitted)
    if odd is not None:
        return [
            f"View {odd.view} disagrees with the others: {odd.sentence()}. Its mask probably shows something else, is "
            f"mirrored or belongs to another photograph, or its camera is wrong: look at "
            f"renders/overlay_{odd.view:04d}.png, mend it or leave the view out (views=[...])."
        ]
    listed = "; ".join(f"view {f.view}: {f.sentence()}" for f in bad)
    said = f"The fitted surface does not agree with the photographs ({listed})"
    gaps = [f.gap_mm for f in fitted if f.gap_mm is not None]
    if len(gaps) == len(fitted) > 1 and max(gaps) < ODD_MM:
        return [
            f"{said}, though masks and cameras agree with each other, so that no single one of them is at fault: the "
            "method cannot make what the masks show, such as a hat or cut-off shoulders, or all masks are too wide: "
            "look at renders/overlay_*.png."
        ]
    known = [f for f in bad if f.gap_mm is not None]
    if known and max(gaps) >= ODD_MM:
        worst = max(known, key=lambda f: f.gap_mm or 0.0)
        return [
            f"{said}: masks and cameras do not agree with each other, most of these those of view {worst.view}, where "
            f"rays of the mask's outline miss what the other masks leave by {worst.gap_mm:.1f} mm in the mean. Its "
            "mask or its camera is wrong, or cameras are given in another order than the photographs: look at "
            "renders/overlay_*.png and run headrecon-validate."
        ]
    return [
        f"{said}. Masks or cameras are wrong, or are given in another order than the photographs, or the method cannot "
        "make what they show, such as a hat: look at renders/overlay_*.png and run headrecon-validate."
    ]


def _odd_one_out(fitted: Sequence[Fitted]) -> Fitted | None:
    """The one view that is much worse than every other; None if there is none, or if there are only two."""
    if len(fitted) < 3:
        return None
    *_, second, worst = sorted(fitted, key=lambda f: (f.p90_mm, f.median_mm))
    return worst if worst.apart and worst.p90_mm > ODD_ONE_OUT * second.p90_mm else None


def _about_size(extent_mm: float, life_size: float | None) -> list[str]:
    remedy = "Check the unit of the cameras: the world must be in millimetres."
    if life_size is not None and abs(life_size - 1) > LIFE_SHARE:
        word = "larger" if life_size > 1 else "smaller"
        return [
            f"The head is {abs(life_size - 1):.0%} {word} than the mean adult's, which real heads hardly are, so "
            f"millimetres of this mesh are not to be relied on. {remedy} Masks that are too wide or too narrow, or "
            "wrong focal lengths, do this too."
        ]
    if not EXTENT_MM[0] <= extent_mm <= EXTENT_MM[1]:
        return [
            f"The surface is {extent_mm:.3g} mm across, but a head with its shoulders is about 400 mm. {remedy}"
        ]
    return []


def _about_what_is_seen(seen_share: float) -> list[str]:
    if seen_share >= SEEN_SHARE:
        return []
    return [
        f"The photographs show only {seen_share:.0%} of the surface; the rest (hatched in renders/uncertainty.png, "
        "`seen` 0 in mesh.ply) is a guess. Add photographs from other sides."
    ]
