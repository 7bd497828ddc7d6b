"""Plain sentences about what is wrong between photographs and fit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recon.geometry.outlines import Agreement, Excess
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
LANDMARKS_MM = 6.0
"""Median distance of a photograph's landmarks from those of the head: at most 2 on ten synthetic people and twenty real
portraits; an exchanged camera or another head's landmarks are 15 and more away."""
EXCESS_SHARE = 0.02
"""Share of an outline from which a part of it that lies far beyond is worth a word."""
LITTLE_COUNTED = 0.25
"""Share of an outline below which it is said how little of it counts."""
LOW = 0.5
"""How far down, in the mean of unit vectors, a part lies that may be of the shoulders."""
BESIDE_SHARE = 0.15
"""Share of both outlines that lies far beyond the other where a camera or a mask is wrong as a whole."""
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
        name: Of the photograph's file; empty where there is none.
        landmark_mm: Median distance of its landmarks from those of the head; None where either has none.
        mask_beyond: Where the mask reaches far beyond the head; None where it does not.
        head_beyond: Where the head reaches far beyond the mask; None where it does not.
    """

    view: int
    outlines: Agreement
    pixel_mm: float
    gap_mm: float | None = None
    name: str = ""
    landmark_mm: float | None = None
    mask_beyond: Excess | None = None
    head_beyond: Excess | None = None

    @property
    def label(self) -> str:
        """Number and file of the view."""
        return f"view {self.view} ({self.name})" if self.name else f"view {self.view}"

    @property
    def landmarks_apart(self) -> bool:
        """The head's landmarks are not where the photograph shows them."""
        return self.landmark_mm is not None and self.landmark_mm > LANDMARKS_MM

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
        if np.isnan(found.median_px):
            return "nothing of its outline counts: all of it is ignored or beyond the picture"
        if np.isinf(found.median_px):
            return "one of the outlines is not in the picture"
        few = (
            f"; only {found.counted:.0%} of the mask's outline is in the picture and not ignored"
            if found.counted < LITTLE_COUNTED
            else ""
        )
        return (
            f"outlines {found.median_px:.1f} px = {self.median_mm:.1f} mm apart (median), 90 % within "
            f"{found.p90_px:.1f} px = {self.p90_mm:.1f} mm; overlap (IoU) {found.iou:.1%}{few}"
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
    said = [_about_landmarks(f) for f in fitted if f.landmarks_apart and not f.apart]
    bad = [f for f in fitted if f.apart]
    if not bad:
        return said
    odd = _odd_one_out(fitted)
    if odd is not None:
        return [
            *said,
            f"{_sentence_case(odd.label)} disagrees with the others: {odd.sentence()}. {_cause(odd)} Mend it, or leave "
            f"the view out (views=[...]): look at renders/overlay_{odd.view:04d}.png.",
        ]
    gaps = [f.gap_mm for f in fitted if f.gap_mm is not None]
    known = [f for f in bad if f.gap_mm is not None]
    if known and max(gaps) >= ODD_MM:
        worst = max(known, key=lambda f: f.gap_mm or 0.0)
        listed = "; ".join(f"{f.label}: {f.sentence()}" for f in bad)
        return [
            *said,
            f"The fitted surface does not agree with the photographs ({listed}): masks and cameras do not agree with "
            f"each other, most of these those of {worst.label}, where rays of the mask's outline miss what the other "
            f"masks leave by {worst.gap_mm:.1f} mm in the mean. {_cause(worst)} Or cameras are given in another order "
            "than the photographs: look at renders/overlay_*.png and run headrecon-validate.",
        ]
    agree = " Masks and cameras agree with each other." if len(gaps) == len(fitted) > 1 else ""
    return [*said, *_about_all_around(bad, agree), *(_about_view(f, agree) for f in bad if _size(f) == 0)]


def _about_all_around(bad: Sequence[Fitted], agree: str) -> list[str]:
    """What is said of views whose head is larger than its mask on every side, and of those where it is smaller."""
    said = []
    for sign, word in ((1, "larger"), (-1, "smaller")):
        if those := [f for f in bad if _size(f) == sign]:
            listed = "; ".join(f"{f.label}: {f.sentence()}" for f in those)
            too = "narrow" if sign > 0 else "wide"
            said.append(
                f"The head is {word} than its masks all around ({listed}).{agree} The masks are too {too}, or focal "
                "lengths or the unit of the cameras are wrong, or the method cannot make such a head: look at "
                "renders/overlay_*.png."
            )
    return said


def _size(view: Fitted) -> int:
    """1 where the head is larger than its mask on every side, -1 where it is smaller, else 0."""
    larger = view.head_beyond is not None and view.head_beyond.around and view.mask_beyond is None
    smaller = view.mask_beyond is not None and view.mask_beyond.around and view.head_beyond is None
    return int(larger) - int(smaller)


def _about_view(view: Fitted, agree: str) -> str:
    """What is wrong between the head and one photograph, where no other photograph says more."""
    return (
        f"The head does not agree with {view.label}: {view.sentence()}. {_cause(view)}{agree} Look at "
        f"renders/overlay_{view.view:04d}.png."
    )


def _about_landmarks(view: Fitted) -> str:
    return (
        f"The landmarks of {view.label} are {view.landmark_mm:.1f} mm (median) from those of the head, though its "
        "outline agrees: they are marked wrongly, or the face has another expression than in the other photographs, or "
        "is another person's."
    )


def _cause(view: Fitted) -> str:
    """Which of mask, camera and landmarks is at odds, as far as the photograph itself tells, and what may be the
    reason.
    """
    if view.landmark_mm is not None and view.landmarks_apart:
        return (
            f"Its landmarks are {view.landmark_mm:.1f} mm off too, so that its camera is at odds, or it shows another "
            "person."
        )
    if view.mask_beyond is not None and _beside(view):
        return (
            f"The head lies beside the mask, which reaches beyond it {view.mask_beyond.place}: its camera is at odds, "
            "or the mask belongs to another photograph or is mirrored."
        )
    parts = [_excess_sentence(view, part, of) for part, of in _excesses(view)]
    if not parts:
        return "Its mask or its camera is at odds, in many small places."
    said = _sentence_case("; ".join(parts)) + "."
    if view.landmark_mm is not None:
        said += f" Its landmarks agree ({view.landmark_mm:.1f} mm), so that its camera is not the cause."
    return said


def _excesses(view: Fitted) -> list[tuple[Excess, str]]:
    """What reaches beyond what, the worse first."""
    found = [
        (part, of)
        for part, of in ((view.mask_beyond, "mask"), (view.head_beyond, "head"))
        if part is not None
    ]
    return sorted(found, key=lambda each: -each[0].share * each[0].px)


def _excess_sentence(view: Fitted, part: Excess, of: str) -> str:
    """Where the mask reaches beyond the head or the head beyond the mask, with what may be the reason."""
    low = (
        "shoulders or clothes that are others than the method's; "
        if part.direction[1] > LOW and not part.around
        else ""
    )
    where = f"{part.place}, over {part.share:.0%} of the outlines"
    depth = f"{part.px * view.pixel_mm:.0f} mm"
    if of == "mask":
        return (
            f"the mask reaches up to {depth} beyond the head {where}: {low}hair or a hat that the method cannot make, "
            "or something else that was taken for the person"
        )
    return (
        f"the head reaches up to {depth} beyond the mask {where}: {low}hair or skin that the mask lacks, or something "
        "that hides them and should be ignored"
    )


def _beside(view: Fitted) -> bool:
    """Whether mask and head are beyond each other on opposite sides, as where one of them is shifted."""
    a, b = view.mask_beyond, view.head_beyond
    if a is None or b is None or min(a.share, b.share) < BESIDE_SHARE or a.around or b.around:
        return False
    return float(np.dot(a.direction, b.direction)) < 0.0


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


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
