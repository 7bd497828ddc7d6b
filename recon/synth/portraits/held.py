"""Things held or passing before a head: hands, telephones, microphones, anything else; and the draw of all things."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from recon.perception.portrait_maps import OCCLUDER
from recon.scene import Camera
from recon.synth.parts import CLOTH
from recon.synth.portraits.people import Sitting
from recon.synth.portraits.pieces import Piece, Thing, ball, box, capsule
from recon.synth.portraits.worn import any_colour, glasses, hat, scarf, surgical_mask
from recon.synth.render.skin import BASE, BLOOD, MELANIN

SHARES = {
    "glasses": 0.22,
    "mask": 0.05,
    "hat": 0.12,
    "scarf": 0.07,
    "hand": 0.10,
    "phone": 0.04,
    "microphone": 0.05,
    "blob": 0.08,
}
"""How often each thing is in a portrait; they are drawn independently."""


def draw_things(sitting: Sitting, camera: Camera, rng: np.random.Generator) -> list[Thing]:
    """Draws the things of one portrait: none in about half of them.

    Args:
        sitting: The person.
        camera: What is held is seen by it.
        rng: Generator, consumed.
    """
    wanted = {name: rng.uniform() < share for name, share in SHARES.items()}
    person = sitting.person
    things: list[Thing | None] = []
    for name, make in (("glasses", glasses), ("mask", surgical_mask), ("hat", hat), ("scarf", scarf)):
        if wanted[name]:
            things.append(make(person, rng))
    for name, make_held in (("hand", hand), ("phone", phone), ("microphone", microphone), ("blob", blob)):
        if wanted[name]:
            things.append(make_held(sitting, camera, rng))
    return [thing for thing in things if thing is not None]


def hand(sitting: Sitting, camera: Camera, rng: np.random.Generator) -> Thing:
    """A hand that touches the head where the camera sees it, and its forearm."""
    place, out = _seen_place(sitting, camera, rng)
    down = np.array([rng.normal(0, 0.6), -1.0, rng.normal(0, 0.3)])
    down -= (down @ out) * out
    down /= np.linalg.norm(down)
    side = np.cross(out, down) * rng.choice([-1, 1])
    skin = sitting.prepared.appearance.skin
    colour = BASE * np.exp(-(skin.melanin * MELANIN + skin.haemoglobin * BLOOD)) * rng.uniform(0.8, 1.15)
    lift, size = rng.uniform(8.0, 14.0), rng.uniform(0.85, 1.1)
    palm = place + lift * out + 48.0 * size * down
    pieces = []
    bent = rng.uniform(0.0, 0.8)
    for finger in range(4):
        base = palm - 34.0 * size * down + (24.0 - 16.0 * finger) * size * side
        length = size * (42.0, 47.0, 44.0, 35.0)[finger]
        spread = 0.12 * (1.5 - finger) * rng.uniform(0.2, 2.0)
        along = -down + spread * side
        middle = base + 0.55 * length * along + 4.0 * out
        tip = middle + 0.5 * length * ((1 - bent) * along - bent * out)
        pieces += [
            capsule(base, middle, 8.3 * size, colour),
            capsule(middle, tip, 7.8 * size, colour, taper=0.85),
        ]
        pieces.append(capsule(palm + 0.3 * (base - palm), base, 10.5 * size, colour))
    thumb = palm + 34.0 * size * side - 12.0 * down
    pieces.append(
        capsule(
            thumb, thumb - 38.0 * size * down + rng.uniform(-10, 18) * side, 9.5 * size, colour, taper=0.85
        )
    )
    pieces.append(capsule(palm - 6.0 * down, palm + 28.0 * size * down, 24.0 * size, colour))
    wrist = palm + 45.0 * size * down + 6.0 * out
    elbow = wrist + 210.0 * (down + rng.normal(0, 0.25) * side + rng.uniform(0, 0.4) * out)
    sleeve = any_colour(rng) if rng.uniform() < 0.5 else colour
    pieces.append(capsule(palm + 20.0 * down, wrist, 20.0 * size, colour))
    pieces.append(capsule(wrist, elbow, 22.0 * size, sleeve, taper=1.6, rough=0.2))
    return Thing("hand", OCCLUDER, False, tuple(pieces))


def phone(sitting: Sitting, camera: Camera, rng: np.random.Generator) -> Thing:
    """A telephone at an ear or before the face, with the hand that holds it."""
    place, out = _seen_place(sitting, camera, rng)
    centre = place + rng.uniform(14.0, 120.0) * out + rng.normal(0, 12.0, 3)
    up = np.array([rng.normal(0, 0.35), 1.0, rng.normal(0, 0.2)])
    up -= (up @ out) * out
    up /= np.linalg.norm(up)
    axes = np.stack([np.cross(up, out), up, out])
    half = np.array([rng.uniform(34, 40), rng.uniform(68, 80), 4.0])
    pieces: list[Piece] = [box(centre, axes, half, any_colour(rng), gloss=0.3)]
    skin = sitting.prepared.appearance.skin
    colour = BASE * np.exp(-(skin.melanin * MELANIN + skin.haemoglobin * BLOOD)) * rng.uniform(0.8, 1.15)
    for finger in range(4):
        start = centre + axes[0] * half[0] * 1.15 - axes[1] * (10.0 + 17.0 * finger)
        pieces.append(capsule(start, start - axes[0] * rng.uniform(20, 50) + 9.0 * out, 8.5, colour))
    wrist = centre - 1.0 * half[1] * axes[1] - 8.0 * out
    pieces.append(
        capsule(centre - 0.4 * half[1] * axes[1] - 18.0 * out, wrist - 60.0 * axes[1], 22.0, colour)
    )
    return Thing("phone", OCCLUDER, False, tuple(pieces))


def microphone(sitting: Sitting, camera: Camera, rng: np.random.Generator) -> Thing:
    """A microphone on a stick near the mouth."""
    marks = sitting.prepared.subject.landmarks68
    mouth = marks[48:60].mean(axis=0)
    reach = rng.uniform(25.0, 90.0)
    at = mouth + reach * np.array([rng.normal(0, 0.5), rng.normal(-0.3, 0.2), 1.0])
    away = np.array([rng.normal(0, 0.6), -1.0, rng.uniform(-0.2, 1.0)])
    away /= np.linalg.norm(away)
    dark = any_colour(rng) * 0.3
    size = rng.uniform(14.0, 34.0)
    pieces = [
        ball(at, np.full(3, size), dark, lumps=0.03, seed=int(rng.integers(1 << 20)), gloss=0.03),
        capsule(at + 0.8 * size * away, at + 260.0 * away, rng.uniform(8.0, 15.0), dark * 1.5),
    ]
    return Thing("microphone", OCCLUDER, False, tuple(pieces))


def blob(sitting: Sitting, camera: Camera, rng: np.random.Generator) -> Thing:
    """One to three lumps of any colour somewhere between camera and head."""
    aim = sitting.prepared.subject.landmarks68.mean(axis=0)
    pieces = []
    for _ in range(int(rng.integers(1, 4))):
        share = rng.uniform(0.15, 0.5)
        sideways = camera.world_from_camera[:3, :2] @ rng.normal(0, 75.0, 2)
        at = aim + share * (camera.centre - aim) + (1 - share) * sideways
        radii = (1 - share) * rng.uniform(12.0, 60.0) * rng.uniform(0.5, 1.6, 3)
        colour = any_colour(rng)
        pieces.append(
            ball(
                at,
                radii,
                colour,
                lumps=rng.uniform(0.05, 0.5),
                seed=int(rng.integers(1 << 20)),
                rough=rng.uniform(0.0, 0.8),
            )
        )
    return Thing("blob", OCCLUDER, False, tuple(pieces))


def _seen_place(
    sitting: Sitting, camera: Camera, rng: np.random.Generator
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """The point of head or hair that the camera sees nearest to a point drawn at random above the neck, and the
    direction out of the head there.
    """
    person = sitting.person
    target = person.to_head(
        np.array([[rng.normal(0, 45.0), rng.uniform(-80.0, 110.0), rng.normal(0, 60.0)]])
    )[0]
    parts = [part for part in person.prepared.subject.parts if part.label != CLOTH]
    points = np.concatenate([part.vertices[::5] for part in parts])
    towards = camera.centre - target
    towards /= np.linalg.norm(towards)
    offset = points - target
    along = offset @ towards
    aside = np.linalg.norm(offset - along[:, None] * towards, axis=1)
    near = np.flatnonzero(aside < max(6.0, float(aside.min()) + 3.0))
    place = points[near[np.argmax(along[near])]]
    out = place - person.to_head(np.array([[0.0, 20.0, 0.0]]))[0]
    out = out / np.linalg.norm(out) + towards
    return place, out / np.linalg.norm(out)
