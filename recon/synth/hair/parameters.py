"""The parameters of one hair style, from which its strands are grown."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class HairStyle:
    """One hair style, as parameters of growth.

    Attributes:
        family: One of `recon.synth.hair.styles.FAMILIES`, or "beard".
        flow: Combing field: "whorl", "back", "part", "fringe", "loose", "down", "tie", "out" or "beard"
            (see `recon.synth.hair.flow`).
        length_top_mm, length_side_mm, length_back_mm: Strand lengths over the head.
        length_front_mm: Length just behind the forehead line, None for that of the top.
        volume_top_mm, volume_side_mm: Height of the outer layer above the skin.
        rise_mm: Arc length over which strands climb to their layer.
        lift: Share of the skin's normal in the first direction, 0 lies flat, 1 stands.
        gravity: Pull downward once a strand has left the head.
        stiffness: Resistance to turning, 0 to 1.
        layering: How strongly strands keep to their layer.
        tuck: Share of the layer's height that strands lose towards their tips.
        parting_mm: Place of the parting, +x is the subject's left.
        slant: Backward (or sideways, for "back") share of the combing.
        swirl: Strength of the whorl at the crown.
        clumping: 0 to 1, how far children join their guide at the tips.
        guides, children: Number of strands of each kind.
        curl_radius_mm, curl_length_mm: Helix radius (0 for none) and wavelength.
        frizz_mm: Random deviation of the tips.
        raggedness: Relative variation of length.
        fade_mm: Width over which hair gets shorter towards the hairline.
        tie_mm: Where tied hair is gathered.
        points: Points per strand.
        cut_mm: Height on the neutral head below which strands are cut, None for no cut.
        parted_z_mm: Long hair rooted in front of this falls before the shoulders, the rest behind.
        tail_mm: Length of tied hair beyond the tie.
        bun_mm: Radius of the bun that tied hair is wound into, 0 for a tail.
        closing_mm: Gaps between locks narrower than twice this are filled in the hair surface.
        layers: Share of the hair's thickness over which strands are spread; 0 puts all in the outer layer.
        thickness_mm: Radius of the lock that a child stands for in the hair surface.
        edge_mm: Height on the neutral head of a hard edge between the length and volume of the top and those
            of the sides, as an undercut has; None for the soft change of a common cut.
    """

    family: str
    flow: str = "whorl"
    length_top_mm: float = 60.0
    length_side_mm: float = 25.0
    length_back_mm: float = 25.0
    length_front_mm: float | None = None
    volume_top_mm: float = 18.0
    volume_side_mm: float = 8.0
    rise_mm: float = 15.0
    lift: float = 0.5
    gravity: float = 0.4
    stiffness: float = 0.4
    layering: float = 1.0
    tuck: float = 0.6
    parting_mm: float = 0.0
    slant: float = 0.4
    swirl: float = 0.5
    clumping: float = 0.5
    guides: int = 500
    children: int = 6000
    curl_radius_mm: float = 0.0
    curl_length_mm: float = 25.0
    frizz_mm: float = 0.8
    raggedness: float = 0.3
    fade_mm: float = 14.0
    tie_mm: tuple[float, float, float] = (0.0, 60.0, -100.0)
    points: int = 16
    layers: float = 0.8
    cut_mm: float | None = None
    parted_z_mm: float = 30.0
    tail_mm: float = 0.0
    bun_mm: float = 0.0
    closing_mm: float = 5.0
    thickness_mm: float = 1.7
    edge_mm: float | None = None

    def recipe(self) -> dict[str, Any]:
        """Returns the parameters, ready for JSON; an edge only where there is one."""
        fields = asdict(self)
        if self.edge_mm is None:
            del fields["edge_mm"]  # recipes written before the field existed stay as they are
        return fields

    @staticmethod
    def from_recipe(recipe: Mapping[str, Any]) -> "HairStyle":
        """The inverse of `recipe`."""
        return HairStyle(**{**recipe, "tie_mm": tuple(recipe["tie_mm"])})

    def reach_mm(self) -> float:
        """How far from head and shoulders a strand can get, mm."""
        loose = max(self.tail_mm, 2.2 * self.bun_mm)
        return 40.0 + max(self.volume_top_mm, self.volume_side_mm) + 4 * self.curl_radius_mm + loose

    def length_mm(self, root: Float[np.ndarray, "roots 3"]) -> Float[np.ndarray, " roots"]:
        """Strand length at scalp points of the neutral head."""
        top, back, front = self._zones(root)
        length = self.length_side_mm + (self.length_back_mm - self.length_side_mm) * back
        length = length + (self.length_top_mm - length) * top
        if self.length_front_mm is not None:
            length = length + (self.length_front_mm - length) * front * top
        result: np.ndarray = length
        return result

    def volume_mm(self, root: Float[np.ndarray, "roots 3"]) -> Float[np.ndarray, " roots"]:
        """Height of the outer layer above the skin at scalp points of the neutral head."""
        top, _, _ = self._zones(root)
        result: np.ndarray = self.volume_side_mm + (self.volume_top_mm - self.volume_side_mm) * top
        return result

    def above_edge(self, root: Float[np.ndarray, "roots 3"]) -> Bool[np.ndarray, " roots"]:
        """Tells which points of the neutral head are above the hard edge; all of them where there is none."""
        if self.edge_mm is None:
            return np.ones(len(root), dtype=bool)
        result: np.ndarray = root[:, 1] > self.edge_mm
        return result

    def _zones(self, root: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Soft membership of scalp points in top (against the sides), back and front."""
        if self.edge_mm is None:
            top = _smooth((root[:, 1] - 75.0) / 45.0) * (1 - 0.8 * _smooth((-root[:, 2] - 5.0) / 60.0))
        else:
            top = _smooth((root[:, 1] - self.edge_mm) / 8.0)
        back = _smooth((-root[:, 2] - 15.0) / 40.0)
        front = _smooth((root[:, 2] - 35.0) / 30.0)
        return top, back, front


def _smooth(t: np.ndarray) -> np.ndarray:
    t = np.clip(t, 0, 1)
    result: np.ndarray = t * t * (3 - 2 * t)
    return result


TIED: Mapping[str, Any] = {
    "flow": "tie",
    "rise_mm": 10.0,
    "lift": 0.3,
    "gravity": 0.0,
    "stiffness": 0.3,
    "tuck": 0.0,
    "children": 5000,
    "raggedness": 0.3,
    "thickness_mm": 1.7,
    "layers": 0.6,
}
"""What all tied hair has in common, as arguments of `HairStyle`."""
