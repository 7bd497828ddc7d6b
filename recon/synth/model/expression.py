"""Wide expressions of synthetic people: smiles, open mouths, closed eyes, moved brows and mixtures of them.

The mild expressions that come with an identity are drawn in `recon.synth.model.identity`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from recon.synth.model.defects import TOLERANCE_MM3, visible_defects_mm3
from recon.synth.model.head_model import HeadModel
from recon.synth.model.identity import Identity, between, generator, shape_head

WIDE_KINDS = {"mild": 0.30, "smile": 0.30, "open": 0.20, "closed_eyes": 0.10, "mixture": 0.10}
"""How often each kind of expression is drawn for wider people; "mild" keeps what came with the identity."""

_PURPOSE = 3
_TRIES = 30
_SHUT = 0.5
_Weights = dict[str, float]


def with_wide_expression(model: HeadModel, identity: Identity, seed: int, split: str) -> Identity:
    """Returns the identity with a wide expression; its shape weights stay, and its eyes look the same way.

    Draws again where a wall of ears or nostrils crosses itself; after 30 such draws the mild expression stays.
    """
    rng = generator(seed, split, _PURPOSE)
    kind = str(rng.choice(tuple(WIDE_KINDS), p=list(WIDE_KINDS.values())))
    for _ in range(_TRIES):
        drawn = replace(
            identity, expression=draw_wide(rng, kind, identity.expression, model.expression_names)
        )
        if visible_defects_mm3(model, shape_head(model, drawn).skin) <= TOLERANCE_MM3:
            return drawn
    return identity


def draw_wide(
    rng: np.random.Generator, kind: str, mild: Mapping[str, float], names: tuple[str, ...]
) -> dict[str, float]:
    """Draws the weights of one kind of expression.

    Args:
        rng: Source of randomness.
        kind: One of `WIDE_KINDS`.
        mild: Expression of the identity, which the kind is laid over.
        names: Names that the head model has.

    Returns:
        Weights above 0 and up to 1, by name.
    """
    weights = dict(mild)
    if kind in _DRAWS:
        _DRAWS[kind](rng, weights)
        if rng.uniform() < 0.5:
            _brows(rng, weights)
    bounded = {name: round(min(float(w), 1.0), 6) for name, w in weights.items() if name in names}
    return {name: w for name, w in bounded.items() if w > 0}


def _pair(
    rng: np.random.Generator, weights: _Weights, stem: str, strength: float, uneven: float = 0.1
) -> None:
    """Sets both sides of an expression; one of them is weaker by up to the share `uneven`."""
    weaker = 1.0 - between(rng, 0.0, uneven)
    sides = ("L", "R") if rng.uniform() < 0.5 else ("R", "L")
    weights[f"{stem}_{sides[0]}"], weights[f"{stem}_{sides[1]}"] = strength, strength * weaker


def _smile(rng: np.random.Generator, weights: _Weights) -> None:
    _close_lips(weights)
    strength = between(rng, 0.35, 1.0)
    one_sided = rng.uniform() < 0.15
    _pair(rng, weights, "mouthSmile", strength, 1.0 if one_sided else 0.15)
    _pair(rng, weights, "cheekSquint", strength * between(rng, 0.3, 1.0))
    _pair(rng, weights, "eyeSquint", strength * between(rng, 0.0, 0.3))
    # raised cheeks narrow the eyes already; a resting lid on top of that would shut them
    for side in ("L", "R"):
        if (lid := weights.get(f"eyeBlink_{side}", 0.0)) < _SHUT:
            weights[f"eyeBlink_{side}"] = lid * (1.0 - 0.8 * strength)
    if rng.uniform() < 0.3:
        _pair(rng, weights, "mouthDimple", between(rng, 0.1, 0.6))
    if rng.uniform() < 0.45:
        weights["jawOpen"] = between(rng, 0.03, 0.25)
        _pair(rng, weights, "mouthUpperUp", between(rng, 0.0, 0.4))
        _pair(rng, weights, "mouthLowerDown", between(rng, 0.0, 0.4))


def _open_mouth(rng: np.random.Generator, weights: _Weights) -> None:
    _close_lips(weights)
    weights["jawOpen"] = between(rng, 0.1, 0.6)
    if rng.uniform() < 0.35:
        _pair(rng, weights, "mouthSmile", between(rng, 0.1, 0.7))
    elif rng.uniform() < 0.4:
        weights["mouthFunnel"] = between(rng, 0.1, 0.6)
    if rng.uniform() < 0.4:
        _pair(rng, weights, "mouthUpperUp", between(rng, 0.0, 0.4))
        _pair(rng, weights, "mouthLowerDown", between(rng, 0.0, 0.5))
    if rng.uniform() < 0.2:
        weights[str(rng.choice(["jawLeft", "jawRight"]))] = between(rng, 0.05, 0.3)


def _closed_eyes(rng: np.random.Generator, weights: _Weights) -> None:
    strength = between(rng, 0.75, 1.0)
    if rng.uniform() < 0.2:  # a wink
        weights[str(rng.choice(["eyeBlink_L", "eyeBlink_R"]))] = strength
    else:
        _pair(rng, weights, "eyeBlink", strength, 0.06)
    if rng.uniform() < 0.3:
        _smile(rng, weights)
    elif rng.uniform() < 0.25:
        _open_mouth(rng, weights)


def _mixture(rng: np.random.Generator, weights: _Weights) -> None:
    _close_lips(weights)
    mouth = str(rng.choice(["pucker", "frown", "lopsided", "stretch", "press"]))
    if mouth == "pucker":
        weights["mouthPucker"] = between(rng, 0.3, 0.9)
    elif mouth == "frown":
        _pair(rng, weights, "mouthFrown", between(rng, 0.3, 0.9))
        weights["mouthShrugLower"] = between(rng, 0.0, 0.15)
    elif mouth == "lopsided":
        side = str(rng.choice(["L", "R"]))
        weights[f"mouthSmile_{side}"] = between(rng, 0.4, 0.9)
        weights["mouthLeft" if side == "L" else "mouthRight"] = between(rng, 0.0, 0.4)
    elif mouth == "stretch":
        _pair(rng, weights, "mouthStretch", between(rng, 0.2, 0.7))
        weights["jawOpen"] = between(rng, 0.0, 0.3)
    else:
        _pair(rng, weights, "mouthPress", between(rng, 0.2, 0.5))
    if rng.uniform() < 0.3:
        _pair(rng, weights, "noseSneer", between(rng, 0.1, 0.6), 0.3)
    if rng.uniform() < 0.25:
        _pair(rng, weights, "cheekPuff", between(rng, 0.1, 0.6))
    _brows(rng, weights)


def _brows(rng: np.random.Generator, weights: _Weights) -> None:
    """Raises the brows or lowers them; sometimes one only."""
    for stem in ("browDown", "browInnerUp", "browOuterUp"):
        weights.pop(f"{stem}_L", None), weights.pop(f"{stem}_R", None)
    uneven = 1.0 if rng.uniform() < 0.2 else 0.15
    if rng.uniform() < 0.55:
        _pair(rng, weights, "browInnerUp", between(rng, 0.1, 0.9))
        _pair(rng, weights, "browOuterUp", between(rng, 0.1, 0.9), uneven)
    else:
        _pair(rng, weights, "browDown", between(rng, 0.2, 1.0), uneven)


def _close_lips(weights: _Weights) -> None:
    """Takes the mild movements of the mouth out, which would work against a strong one."""
    for name in [name for name in weights if name.startswith(("mouth", "jaw"))]:
        del weights[name]


_DRAWS: dict[str, Callable[[np.random.Generator, _Weights], None]] = {
    "smile": _smile,
    "open": _open_mouth,
    "closed_eyes": _closed_eyes,
    "mixture": _mixture,
}
