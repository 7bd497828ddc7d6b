"""Identities of synthetic people: head shape and expression, drawn by seed and kept inside adult anatomy.

The splits share no identity by construction. The quantile of the first (largest) identity weight is cut
into 64 bins that are dealt to the splits in turn, so that each split covers the whole range and none can
draw another's value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri

from recon.errors import ConfigError
from recon.synth.model.defects import TOLERANCE_MM3, visible_defects_mm3
from recon.synth.model.head_model import MOUTH_CAP_DEPTH_MM, HeadModel

SPLITS = ("train", "val", "test")
_BINS = 64
_DEALT = {"train": (0, 1, 2, 3, 4, 5), "val": (6,), "test": (7,)}

CLIP = 2.5
ADULT_RANGES_MM = {
    "interpupillary": (54.0, 74.0),
    "chin_vertex": (195.0, 258.0),
    "breadth": (130.0, 176.0),
    "length": (165.0, 222.0),
}
"""Ranges that hold more than 99 % of adults of either sex; wide enough for the head model's own spread."""

# Upper ends of the uniform draws of mild expressions; pairs move together, with a little asymmetry.
_PAIRED_EXPRESSIONS = {
    "mouthSmile": 0.40,
    "mouthPress": 0.20,
    "mouthFrown": 0.15,
    "mouthDimple": 0.20,
    "browDown": 0.25,
    "browInnerUp": 0.25,
    "browOuterUp": 0.25,
    "eyeSquint": 0.30,
    "cheekSquint": 0.25,
}
_LIDS = (0.10, 0.28)
_SINGLE_EXPRESSIONS = {"jawForward": 0.10, "mouthShrugLower": 0.15, "mouthPucker": 0.10}

# Middle of the inner lips, landmarks. Mild expressions part them by less than 0.3 mm, which counts as closed.
_INNER_LIPS = (62, 66)
_CLOSED_MM = 1.0
_DEPTH_PER_OPENING = 0.9
_DEEPEST_MM = 20.0


@dataclass(frozen=True)
class Identity:
    """Shape of one person.

    Attributes:
        identity: Weights of the model's identity directions.
        expression: Named expression weights in [0, 1].
    """

    identity: Float[np.ndarray, " identity"]
    expression: dict[str, float]

    def recipe(self) -> dict[str, Any]:
        """Returns the weights as JSON-ready lists."""
        return {"identity": [float(w) for w in self.identity], "expression": dict(self.expression)}

    @staticmethod
    def from_recipe(recipe: Mapping[str, Any]) -> "Identity":
        """The inverse of `recipe`."""
        return Identity(np.array(recipe["identity"], dtype=np.float64), dict(recipe["expression"]))


@dataclass(frozen=True)
class HeadShape:
    """The model's surfaces for one identity and expression, mm.

    Attributes:
        skin: Subdivided, closed skin vertices (topology: `HeadModel.refinement`).
        eyes: Subdivided vertices of the left and the right eyeball.
        eye_centres: Centres of the eyeballs, left, right.
        irises: Centres of the irises, left, right.
        landmarks68: The 68 landmarks, Multi-PIE order.
    """

    skin: Float[np.ndarray, "fine 3"]
    eyes: tuple[np.ndarray, np.ndarray]
    eye_centres: Float[np.ndarray, "2 3"]
    irises: Float[np.ndarray, "2 3"]
    landmarks68: Float[np.ndarray, "68 3"]


def generator(seed: int, split: str, purpose: int) -> np.random.Generator:
    """Returns the random generator of one seed, split and purpose; no two of them share a stream.

    Raises:
        ConfigError: Unknown split or negative seed.
    """
    if split not in SPLITS:
        raise ConfigError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if seed < 0:
        raise ConfigError(f"seed must not be negative, got {seed}")
    return np.random.default_rng([SPLITS.index(split), purpose, seed])


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draws a number of a range, each as likely."""
    return float(rng.uniform(low, high))


def split_quantile(u: float, split: str) -> float:
    """Moves a uniform number into the bins of [0, 1) that belong to a split, keeping it uniform over them."""
    dealt = _DEALT[split]
    count = _BINS // 8 * len(dealt)
    place = min(int(u * count), count - 1)
    group, member = divmod(place, len(dealt))
    inside = u * count - place
    # the open interval keeps values off the bins' shared ends
    return (group * 8 + dealt[member] + 0.001 + 0.998 * inside) / _BINS


def split_of_quantile(q: float) -> str:
    """Returns the split that a quantile in [0, 1) belongs to."""
    member = int(q * _BINS) % 8
    return next(split for split, dealt in _DEALT.items() if member in dealt)


def split_of_identity(identity: Identity) -> str:
    """Returns the split that a drawn identity belongs to."""
    return split_of_quantile(float(_truncated_cdf(identity.identity[0])))


def draw_identity(model: HeadModel, seed: int, split: str = "train") -> Identity:
    """Draws one person's shape; draws again until the head is inside adult anatomy and sound.

    Identity weights are N(0, 1) clipped at 2.5 and scaled by a factor from 0.8 to 1, except the first,
    which follows the truncated normal within the split's bins. Expressions are mild, the mouth stays closed.
    About one head in a hundred is drawn again because a wall of its ears or nostrils crosses itself.
    """
    rng = generator(seed, split, purpose=0)
    while True:
        weights = np.clip(rng.standard_normal(len(model.skin_identity)), -CLIP, CLIP) * rng.uniform(0.8, 1.0)
        weights[0] = _truncated_inverse(split_quantile(rng.uniform(), split))
        drawn = Identity(weights, _draw_expression(rng, model.expression_names))
        if is_adult(anatomy(model, drawn)):
            skin = shape_head(model, drawn).skin
            if visible_defects_mm3(model, skin) <= TOLERANCE_MM3:
                return drawn


def shape_head(model: HeadModel, identity: Identity) -> HeadShape:
    """Evaluates the linear model and subdivides it.

    Returns:
        Surfaces in the model's own frame, mm.
    """
    w = identity.identity.astype(np.float64)
    e = model.expression_weights(identity.expression)

    def blend(neutral: np.ndarray, by_identity: np.ndarray, by_expression: np.ndarray) -> np.ndarray:
        shape: np.ndarray = neutral + np.tensordot(w, by_identity, 1) + np.tensordot(e, by_expression, 1)
        return shape

    coarse = blend(model.skin, model.skin_identity, model.skin_expression)
    eyes, centres, irises = [], [], []
    for side in (0, 1):
        ball = blend(model.eyes[side], model.eye_identity[side], model.eye_expression[side])
        eyes.append(model.eye_refinement[side][1] @ ball)
        centres.append((ball.min(axis=0) + ball.max(axis=0)) / 2)
        irises.append(blend(model.gaze[side], model.gaze_identity[side], model.gaze_expression[side]))
    eye_centres = np.stack(centres)
    fine = model.refinement.apply(coarse, eye_centres, mouth_depth_mm(model, e))
    return HeadShape(fine, (eyes[0], eyes[1]), eye_centres, np.stack(irises), fine[model.landmarks])


def mouth_opening_mm(model: HeadModel, weights: Float[np.ndarray, " expression"]) -> float:
    """Computes how far expression weights (all of the model's) part the lips, mm, in the middle of the mouth."""
    upper, lower = (model.skin_expression[:, model.landmarks[k], 1] for k in _INNER_LIPS)
    return float(weights @ (upper - lower))


def mouth_depth_mm(model: HeadModel, weights: Float[np.ndarray, " expression"]) -> float:
    """Computes the depth of the mouth's cap: that of a closed mouth, and more the further the lips are apart."""
    opening = np.clip(mouth_opening_mm(model, weights) - _CLOSED_MM, 0.0, _DEEPEST_MM)
    return MOUTH_CAP_DEPTH_MM + _DEPTH_PER_OPENING * float(opening)


def anatomy(model: HeadModel, identity: Identity) -> dict[str, float]:
    """Measures a head in mm: interpupillary distance, chin to vertex, breadth and length of the skull.

    The measures are of the identity without expression, in the head frame: vertical for chin to vertex
    (gnathion to the highest point), across for the breadth (above the ears), front to back for the length.
    """
    skin = model.skin + np.tensordot(identity.identity, model.skin_identity, 1)
    irises = [model.gaze[s] + np.tensordot(identity.identity, model.gaze_identity[s], 1) for s in (0, 1)]
    skull = (model.skin[:, 1] > 48.0) & (np.abs(model.skin[:, 0]) < 90.0)
    above = skin[skull]
    return {
        "interpupillary": float(np.linalg.norm(irises[0] - irises[1])),
        "chin_vertex": float(above[:, 1].max() - skin[model.landmarks[8], 1]),
        "breadth": float(np.ptp(above[:, 0])),
        "length": float(np.ptp(above[:, 2])),
    }


def is_adult(measures: Mapping[str, float]) -> bool:
    """True where every measure of `anatomy` lies in `ADULT_RANGES_MM`."""
    return all(low <= measures[name] <= high for name, (low, high) in ADULT_RANGES_MM.items())


def _draw_expression(rng: np.random.Generator, names: tuple[str, ...]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for stem, top in _PAIRED_EXPRESSIONS.items():
        strength = rng.uniform(0, top) if rng.uniform() < 0.4 else 0.0
        for side in ("L", "R"):
            weights[f"{stem}_{side}"] = strength * rng.uniform(0.85, 1.0)
    # at rest the upper lid covers the top of the iris; the model's neutral face stares
    lids = rng.uniform(*_LIDS)
    weights["eyeBlink_L"], weights["eyeBlink_R"] = lids, lids * rng.uniform(0.95, 1.05)
    for name, top in _SINGLE_EXPRESSIONS.items():
        weights[name] = rng.uniform(0, top) if rng.uniform() < 0.3 else 0.0
    across, up = rng.uniform(-0.15, 0.15), rng.uniform(-0.1, 0.1)
    weights["eyeLookOut_L"], weights["eyeLookIn_R"] = max(across, 0.0), max(across, 0.0)
    weights["eyeLookIn_L"], weights["eyeLookOut_R"] = max(-across, 0.0), max(-across, 0.0)
    for side in ("L", "R"):
        weights[f"eyeLookUp_{side}"], weights[f"eyeLookDown_{side}"] = max(up, 0.0), max(-up, 0.0)
    return {name: round(float(w), 6) for name, w in weights.items() if w > 0 and name in names}


def _truncated_inverse(q: float) -> float:
    low = ndtr(-CLIP)
    return float(ndtri(low + q * (1 - 2 * low)))


def _truncated_cdf(w: float) -> float:
    low = ndtr(-CLIP)
    return float((ndtr(w) - low) / (1 - 2 * low))
