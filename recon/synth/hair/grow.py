"""Growth of strands: guides integrated over the head, children between them; then clumped, curled and frizzed.

All arrays of strands have shape (strands, points, 3), root first, mm, canonical head frame.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64
from scipy.spatial import cKDTree

from recon.geometry.distance_grid import RegularGrid
from recon.synth.hair.flow import flow_direction
from recon.synth.hair.parameters import HairStyle
from recon.synth.hair.scalp import Roots

_DOWN = np.array([0.0, -1.0, 0.0])


@dataclass(frozen=True)
class CollisionField:
    """The signed distance field of head and shoulders, which hair collides with.

    Attributes:
        grid: Sample points.
        distance: Signed distance, mm, negative inside.
        centre: Centre of the skull, mm.
        scale: Size of this skull over the neutral one, per axis.
    """

    grid: RegularGrid
    distance: Float32[np.ndarray, "x y z"]
    centre: Float[np.ndarray, "3"]
    scale: Float[np.ndarray, "3"]

    def neutral(self, points: np.ndarray) -> np.ndarray:
        """Maps points near this head to their places near the neutral head (an axis-aligned affine map)."""
        result: np.ndarray = (points - self.centre) / self.scale
        return result

    def own(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `neutral`."""
        result: np.ndarray = points * self.scale + self.centre
        return result

    def distance_and_normal(self, points: Float[np.ndarray, "points 3"]) -> tuple[np.ndarray, np.ndarray]:
        """Computes signed distances (mm) and unit outward directions at points."""
        gradient = self.grid.sample_gradient(self.distance, points)
        length = np.linalg.norm(gradient, axis=1, keepdims=True)
        return self.grid.sample(self.distance, points), gradient / np.maximum(length, 1e-9)

    def push_out(self, points: np.ndarray, clearance_mm: np.ndarray | float) -> np.ndarray:
        """Moves points that are closer than the clearance straight out to it; shape (..., 3)."""
        flat = points.reshape(-1, 3)
        for _ in range(2):
            distance, normal = self.distance_and_normal(flat)
            flat = flat + normal * np.clip(clearance_mm - distance, 0, None)[:, None]
        return flat.reshape(points.shape)


def grow_guides(style: HairStyle, roots: Roots, body: CollisionField, rng: np.random.Generator) -> np.ndarray:
    """Integrates one strand from every root.

    Each step turns the direction towards the combing flow (tangential near the head), towards gravity, and
    towards the layer that the strand rides in above the skin; then it is pushed out of head and shoulders.
    Tied hair runs to its tie first and goes on as a tail or a bun.

    Returns:
        Points, shape (roots, style.points, 3).
    """
    length, volume = _length_and_volume(style, roots, body, rng)
    tied = Tie(style, body, rng, len(roots)) if style.flow == "tie" else None
    steps = style.points - 1
    stride = length / steps

    out = np.empty((len(roots), style.points, 3))
    out[:, 0] = roots.positions
    at = roots.positions + 0.3 * roots.normals
    combed = _tangential(flow_direction(style, body.neutral(at), roots.canonical), roots.normals)
    direction = _unit(style.lift * roots.normals + (1 - style.lift) * combed)
    for k in range(1, style.points):
        travelled = stride * k
        distance, normal = body.distance_and_normal(at)
        # tips sink into the hair below them instead of ending in a ledge
        sink = 1 - style.tuck * (k / steps) ** 2
        layer = volume * sink * (1 - np.exp(-travelled / style.rise_mm)) + 0.4
        # over the ears hair lies close, or they would stand out through it
        layer = layer * (1 - 0.75 * _over_ear(body.neutral(at)))
        near = np.exp(-np.clip(distance - layer, 0, None) / 18.0)[:, None]
        combed = _tangential(flow_direction(style, body.neutral(at), roots.canonical), normal)
        towards = np.clip((layer - distance) / 8.0, -0.7, 1.0)[:, None] * normal
        weight = style.gravity * np.clip(travelled / 60.0, 0.15, 1.0)[:, None]
        want = near * (combed + style.layering * towards) + weight * (1 - 0.6 * near) * _DOWN
        if tied is not None:
            want = tied.steer(at, want)
        # what is left of the old direction after one stride
        memory = style.stiffness ** np.maximum(stride / 8.0, 0.05)[:, None]
        direction = _unit(memory * direction + (1 - memory) * _unit(want))
        at = body.push_out(at + direction * stride[:, None], np.minimum(0.6, layer))
        out[:, k] = at
    return cut_below(out, style, body, rng)


def _length_and_volume(
    style: HairStyle, roots: Roots, body: CollisionField, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Length and layer height of every guide, both smaller at the hairline."""
    ragged = rng.uniform(1 - style.raggedness, 1 + 0.3 * style.raggedness, len(roots))
    length = style.length_mm(roots.canonical)
    volume = style.volume_mm(roots.canonical)
    if style.flow == "tie":
        to_tie = np.linalg.norm(roots.canonical - np.asarray(style.tie_mm), axis=1)
        length = 1.25 * to_tie + style.tail_mm + 2 * np.pi * 1.3 * style.bun_mm
        length = np.where(style.above_edge(roots.canonical), length, style.length_side_mm)
    else:
        length = length * np.clip(0.35 + roots.inside_mm / style.fade_mm, 0.35, 1.0)
        if style.cut_mm is None:
            # the nape is cut shorter, or all its hair would end in one tail
            length = length * (1 - 0.6 * np.clip((15.0 - roots.canonical[:, 1]) / 60.0, 0, 1))
    length = np.maximum(length * ragged, 1.5)
    volume = np.minimum(volume, 0.75 * length + 1.0)
    return length, volume * np.clip(0.25 + roots.inside_mm / 22.0, 0.25, 1.0)


class Tie:
    """Steers strands to a tie behind the head and, once through it, into a tail or around a bun."""

    def __init__(self, style: HairStyle, body: CollisionField, rng: np.random.Generator, count: int):
        self._style = style
        self._tie = np.asarray(style.tie_mm) * body.scale + body.centre
        outward = body.distance_and_normal(self._tie[None])[1][0]
        self._out = outward
        self._bun = self._tie + outward * 0.75 * style.bun_mm
        # every guide winds around its own axis close to the bun's
        self._axis = _unit(outward + rng.normal(0, 0.45, (count, 3)))
        self._radius = style.bun_mm * rng.uniform(0.45, 1.0, count)
        self._apart = rng.normal(0, 0.09, (count, 3))
        self._through = np.zeros(count, dtype=bool)
        self._since = np.zeros(count)

    def steer(self, at: np.ndarray, want: np.ndarray) -> np.ndarray:
        """Returns the wanted directions with the tie's pull; remembers which strands have passed it."""
        towards = self._tie - at
        gap = np.linalg.norm(towards, axis=1)
        self._through |= gap < 14.0
        self._since += self._through
        close = np.exp(-gap / 30.0)[:, None]
        pulled = (1 - close) * want + close * 1.5 * _unit(towards)
        if self._style.bun_mm > 0:
            after = self._around_bun(at)
        else:
            after = _unit(self._out * np.exp(-self._since / 3.0)[:, None] + 0.9 * _DOWN + self._apart)
        return np.where(self._through[:, None], after, pulled)

    def _around_bun(self, at: np.ndarray) -> np.ndarray:
        arm = at - self._bun
        flat = arm - np.einsum("ni,ni->n", arm, self._axis)[:, None] * self._axis
        around = _unit(np.cross(self._axis, arm))
        distance = np.linalg.norm(arm, axis=1)
        inward = np.clip((self._radius - distance) / 8.0, -1, 1)[:, None] * _unit(arm)
        level = -(arm - flat) / np.maximum(self._radius, 1.0)[:, None] * 0.5
        result: np.ndarray = around + 0.8 * inward + level
        return result


def _over_ear(neutral: np.ndarray) -> np.ndarray:
    """1 at the ears of the neutral head, falling to 0 around them."""
    gap = np.stack([np.abs(neutral[:, 0]) - 88.0, neutral[:, 1] - 10.0, neutral[:, 2]], axis=1)
    gap /= [30.0, 38.0, 30.0]
    result: np.ndarray = np.exp(-((gap * gap).sum(axis=1) ** 2))
    return result


def cut_below(
    strands: np.ndarray, style: HairStyle, body: CollisionField, rng: np.random.Generator
) -> np.ndarray:
    """Cuts strands where they first fall below the style's end plane; spaces their points evenly again."""
    if style.cut_mm is None:
        return strands
    count, points, _ = strands.shape
    plane = style.cut_mm * body.scale[1] + body.centre[1] - rng.uniform(0, 25 * style.raggedness, count)
    below = strands[:, :, 1] < plane[:, None]
    first = np.where(below.any(axis=1), below.argmax(axis=1), points - 1).astype(np.float64)
    row = np.flatnonzero(below.any(axis=1) & (first > 0))
    k = first[row].astype(int)
    above, under = strands[row, k - 1, 1], strands[row, k, 1]
    first[row] = k - 1 + (above - plane[row]) / np.maximum(above - under, 1e-9)
    first = np.maximum(first, 1.0)
    place = first[:, None] * np.linspace(0, 1, points)
    low = np.minimum(place.astype(int), points - 2)
    t = (place - low)[..., None]
    index = np.arange(count)[:, None]
    return strands[index, low] * (1 - t) + strands[index, low + 1] * t


def interpolate_children(
    guides: np.ndarray,
    guide_roots: Roots,
    children: Roots,
    body: CollisionField,
    rng: np.random.Generator,
    layers: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Grows children between the three nearest guides that run the same way.

    Args:
        guides: Guide strands.
        guide_roots: Their roots.
        children: Roots of the children.
        body: Head and shoulders.
        rng: Source of randomness.
        layers: Share of the hair's thickness over which children are spread, 0 puts them all in the outer
            layer.

    Returns:
        Children's strands and, for each child, the guide that it is clumped with.
    """
    tree = cKDTree(guide_roots.canonical)
    gap, nearest = tree.query(children.canonical, k=4)
    drift = _unit(guides[:, guides.shape[1] // 2] - guides[:, 0])
    agreement = np.einsum("ni,nki->nk", drift[nearest[:, 0]], drift[nearest])
    weight = np.clip(agreement - 0.5, 0, None) / (gap + 1.0)
    weight[:, 0] = np.maximum(weight[:, 0], 1e-6)
    weight /= weight.sum(axis=1, keepdims=True)
    relative = guides - guide_roots.positions[:, None]
    strands = children.positions[:, None] + np.einsum("nk,nkpi->npi", weight, relative[nearest])
    # spread the children between the scalp and the guides' outer layer
    depth = layers * rng.uniform(size=len(children)) ** 1.7
    flat = strands.reshape(-1, 3)
    distance, normal = body.distance_and_normal(flat)
    drop = np.clip(distance, 0, 25.0) * np.repeat(depth, guides.shape[1])
    strands = (flat - normal * drop[:, None]).reshape(strands.shape)
    strands[:, 0] = children.positions
    return strands, nearest[:, 0]


def clump(
    strands: np.ndarray, guides: np.ndarray, guide_of: Int64[np.ndarray, " strands"], style: HairStyle
) -> np.ndarray:
    """Draws children towards their guide, more towards the tips."""
    s = np.linspace(0, 1, strands.shape[1])
    pull = style.clumping * s**0.8
    return strands + pull[None, :, None] * (guides[guide_of] - strands)


def curl(
    strands: np.ndarray, guide_of: Int64[np.ndarray, " strands"], style: HairStyle, rng: np.random.Generator
) -> np.ndarray:
    """Winds strands into helices around their own course; one phase, radius and wavelength per clump."""
    if style.curl_radius_mm <= 0:
        return strands
    clumps = int(guide_of.max()) + 1
    phase = rng.uniform(0, 2 * np.pi, clumps)[guide_of] + rng.normal(0, 0.35, len(strands))
    wavelength = style.curl_length_mm * rng.uniform(0.75, 1.3, clumps)[guide_of]
    radius = style.curl_radius_mm * rng.uniform(0.6, 1.2, clumps)[guide_of]
    segment = np.linalg.norm(np.diff(strands, axis=1), axis=2)
    arc = np.concatenate([np.zeros((len(strands), 1)), np.cumsum(segment, axis=1)], axis=1)
    tangent = _unit(np.gradient(strands, axis=1))
    first = np.broadcast_to([0.31, 0.23, 0.92], tangent.shape)
    side = _unit(np.cross(tangent, first))
    other = np.cross(tangent, side)
    angle = phase[:, None] + 2 * np.pi * arc / wavelength[:, None]
    ramp = np.clip(arc / (1.2 * style.curl_length_mm), 0, 1) * radius[:, None]
    return strands + (np.cos(angle) * ramp)[..., None] * side + (np.sin(angle) * ramp)[..., None] * other


def frizz(strands: np.ndarray, style: HairStyle, rng: np.random.Generator) -> np.ndarray:
    """Adds smooth random deviations that grow from the root; a few strands fly away further."""
    if style.frizz_mm <= 0:
        return strands
    points = strands.shape[1]
    knots = max(points // 4, 2)
    coarse = rng.normal(size=(len(strands), knots, 3)) * style.frizz_mm
    coarse[rng.uniform(size=len(strands)) < 0.02] *= 2.5
    place = np.linspace(0, knots - 1, points)
    low = np.minimum(place.astype(int), knots - 2)
    t = (place - low)[None, :, None]
    noise = coarse[:, low] * (1 - t) + coarse[:, low + 1] * t
    return strands + noise * np.linspace(0, 1, points)[None, :, None] ** 0.7


def _tangential(direction: np.ndarray, normal: np.ndarray) -> np.ndarray:
    return _unit(direction - np.einsum("ni,ni->n", direction, normal)[:, None] * normal)


def _unit(v: np.ndarray) -> np.ndarray:
    result: np.ndarray = v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)
    return result
