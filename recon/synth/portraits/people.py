"""People of portraits: geometry and baked light that all pictures of a person share, and sittings that differ in light
and colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from recon.geometry.frames import transform
from recon.synth.body.subject import build_subject, draw_recipe
from recon.synth.datasets.template import at_rest
from recon.synth.hair.styles import WIDE_SHARES
from recon.synth.model.head_model import HeadModel, load_head_model
from recon.synth.model.identity import Identity, generator
from recon.synth.parts import CLOTH, EYE, Subject
from recon.synth.render.appearance import Appearance, appearance_of, draw_appearance
from recon.synth.render.prepared import PreparedSubject, prepare
from recon.synth.render.room import Lamp, Room
from recon.synth.render.shading import normalised

_STYLE, _SITTING, _RENDERER = 48, 49, 50
"""Purposes of random generators."""
PLAIN_SHARE = 0.25
"""Share of the people of val and test who are photographed by the second renderer."""
SCALARS = ("lip", "brow", "ear", "mouth", "bare")
"""Scalars of surfaces that parts are told by."""
BOTTOM_MM, BODY_MM = 7.0, 500.0
"""What of the clothes is so near to their lower end is moved down by so much: trunk and arms go on straight."""
DARK = Room(np.zeros((2, 4, 3), np.float32), ())


@dataclass(frozen=True, eq=False)
class Person:
    """A person ready to sit for portraits.

    Attributes:
        prepared: Geometry, baked light and attributes; its room has no background.
        table: For each vertex its canonical coordinates (those of skin and eyes), normal, tangent, and `SCALARS`.
        canonical_from_head: Similarity from the person's frame to the canonical one, by the landmarks of the head at
            rest.
        family: Family of the hair.
        plain: Whether the second renderer photographs the person: no strands, no gloss, matt surfaces.
    """

    prepared: PreparedSubject
    table: Float32[np.ndarray, "v columns"]
    canonical_from_head: Float[np.ndarray, "4 4"]
    family: str
    plain: bool

    def to_head(self, canonical_mm: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Takes canonical points to the person's frame."""
        return transform(np.linalg.inv(self.canonical_from_head), canonical_mm)


@dataclass(frozen=True, eq=False)
class Sitting:
    """A person with light and colours of a few pictures.

    Attributes:
        person: Geometry.
        prepared: The same with other lamps, colours and skin tone.
        flash: Irradiance of a flash beside the camera's lens, relative to the lamps; 0 for none.
        tint: Colour of all light.
    """

    person: Person
    prepared: PreparedSubject
    flash: float
    tint: Float[np.ndarray, " 3"]


def draw_person(
    seed: int, split: str, held_out: tuple[str, ...] = (), model: HeadModel | None = None
) -> dict[str, Any]:
    """Draws the recipe of a person of portraits: every other one is drawn wider; families held out are not drawn for
    training, and twice as often otherwise.

    Args:
        seed: Which person of the split.
        split: "train", "val" or "test".
        held_out: Families of hair that training does not see.
        model: Head model; by default the one of `load_head_model()`.
    """
    shares = np.array(list(WIDE_SHARES.values()))
    known = np.isin(list(WIDE_SHARES), held_out)
    shares = np.where(known, 0.0 if split == "train" else 2 * shares, shares)
    rng = generator(seed, split, purpose=_STYLE)
    style = str(rng.choice(list(WIDE_SHARES), p=shares / shares.sum()))
    recipe = draw_recipe(seed, split=split, style=style, model=model, wide=seed % 2 == 1)
    plain = split != "train" and generator(seed, split, purpose=_RENDERER).uniform() < PLAIN_SHARE
    return recipe | {"renderer": "plain" if plain else "full"}


def seat(recipe: Mapping[str, Any], model: HeadModel | None = None) -> Person:
    """Builds and prepares the person of a recipe of `draw_person`.

    Args:
        recipe: Everything about the person.
        model: Head model; by default the one of `load_head_model()`.
    """
    model = model or load_head_model()
    subject = build_subject(recipe, model=model, spacing_mm=None)
    _, to_canonical = at_rest(model, Identity.from_recipe(recipe["identity"]))
    family = str(recipe["hair"]["style"]["family"]) if recipe["hair"] else "bald"
    plain = recipe.get("renderer") == "plain"
    return person_of(subject, appearance_of(recipe), to_canonical, family, plain=plain)


def person_of(
    subject: Subject,
    appearance: Appearance,
    canonical_from_head: Float[np.ndarray, "4 4"],
    family: str,
    *,
    plain: bool = False,
) -> Person:
    """Prepares a subject for portraits; see `Person` for the arguments."""
    prepared = _with_flash(_with_body(prepare(subject, appearance, strands=not plain)))
    columns = prepared.columns
    blocks = [prepared.attributes[:, columns[name]] for name in ("canonical", "normal", "tangent")]
    zeros = np.zeros((len(prepared.attributes), 1), np.float32)
    for name in SCALARS:
        column = columns.get(f"scalar {name}")
        blocks.append(zeros if column is None else prepared.attributes[:, column])
    table = np.concatenate(blocks, axis=1)
    start = 0
    for part in subject.parts:
        if part.label == EYE:  # its texture has coordinates of its own
            table[start : start + len(part.vertices), :3] = part.canonical
        start += len(part.vertices)
    return Person(prepared, table, canonical_from_head, family, plain)


def sit(person: Person, seed: tuple[int, ...]) -> Sitting:
    """Draws light and colours: hair, clothes and skin of any tone, lamps from a candle to an overcast sky, a flash.

    Args:
        person: Who sits.
        seed: Seed of the draws, one for each sitting.
    """
    rng = np.random.default_rng([_SITTING, *seed])
    prepared, own = person.prepared, person.prepared.appearance
    other = draw_appearance(int(rng.integers(1 << 30)))
    skin = own.skin
    darker = 1.0
    if rng.uniform() < 0.6:
        darker = float(np.exp(rng.uniform(np.log(0.07), np.log(1.5)))) / skin.melanin
    hair = other.hair if rng.uniform() < 0.7 else own.hair
    strength = np.exp(rng.normal(0.0, 0.7, len(own.room.lamps)))
    kind = rng.choice(["room", "candle", "overcast", "flash"], p=[0.55, 0.12, 0.15, 0.18])
    tint = np.exp(rng.normal(0.0, [0.10, 0.03, 0.12]))
    flash = 0.0
    if kind == "candle":
        strength, tint = strength * 8.0, tint * [1.25, 0.95, 0.6]
    elif kind == "overcast":
        strength = strength * 0.1
    elif kind == "flash":
        flash = float(np.exp(rng.uniform(np.log(0.6), np.log(6.0))))
    lamps = tuple(
        replace(lamp, irradiance=lamp.irradiance * power)
        for lamp, power in zip(own.room.lamps, strength, strict=True)
    )
    appearance = replace(
        own, hair=hair, cloth=other.cloth, eyes=own.eyes, room=replace(DARK, lamps=(*lamps, _flash(0.0)))
    )
    attributes = prepared.attributes
    if darker != 1.0 and "scalar melanin" in prepared.columns:
        attributes = attributes.copy()
        attributes[:, prepared.columns["scalar melanin"]] *= darker
        appearance = replace(appearance, skin=replace(skin, melanin=skin.melanin * darker))
    return Sitting(person, replace(prepared, appearance=appearance, attributes=attributes), flash, tint)


def with_flash(sitting: Sitting, towards_camera: Float[np.ndarray, " 3"]) -> PreparedSubject:
    """The subject of a sitting with its flash where the camera is."""
    appearance: Appearance = sitting.prepared.appearance
    lamp = replace(_flash(sitting.flash), direction=towards_camera / np.linalg.norm(towards_camera))
    room = replace(appearance.room, lamps=(*appearance.room.lamps[:-1], lamp))
    return replace(sitting.prepared, appearance=replace(appearance, room=room))


def _flash(power: float) -> Lamp:
    return Lamp(np.array([0.0, 0.0, 1.0]), np.full(3, power), 1.0)


def _with_body(prepared: PreparedSubject) -> PreparedSubject:
    """Draws the lower end of the bust down, so that no portrait shows where it ends; the light stays."""
    parts = prepared.subject.parts
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    cloth = next(k for k, part in enumerate(parts) if part.label == CLOTH)
    own = np.arange(starts[cloth], starts[cloth + 1])
    height = prepared.vertices[own, 1]
    lowest = own[height < height.min() + BOTTOM_MM]
    vertices, attributes = prepared.vertices.copy(), prepared.attributes
    vertices[lowest, 1] -= BODY_MM
    attributes[lowest, prepared.columns["position"].start + 1] -= BODY_MM
    normal = prepared.columns["normal"]
    level = attributes[lowest, normal] * [1.0, 0.0, 1.0]
    attributes[lowest, normal] = normalised(level)
    return replace(prepared, vertices=vertices, attributes=attributes)


def _with_flash(prepared: PreparedSubject) -> PreparedSubject:
    """Gives every vertex one lamp more, which shines on all that the camera sees."""
    lamps = prepared.columns["lamps"]
    ones = np.ones((len(prepared.attributes), 1), np.float32)
    attributes = np.concatenate([prepared.attributes, prepared.attributes[:, lamps], ones], axis=1)
    start = prepared.attributes.shape[1]
    columns = {**prepared.columns, "lamps": slice(start, attributes.shape[1])}
    return replace(prepared, attributes=attributes, columns=columns)
