"""Makes two scenes that are out of distribution for the shipped prior.

`python tools/make_out_of_distribution.py out=out_of_distribution`.

`hat` is a person with a wide-brimmed hat, `bust` a head on a plinth without shoulders; no training head has
either. They test that a method with a prior is not worse than one without where the prior does not apply.
Needs the head model ($H3D_HEAD_MODEL). Options, as `name=value`: out (folder, an H3DS root), views, seed.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon.commands.command_line import options_of, run_tool
from recon.geometry import decimate
from recon.synth import Part, Subject, appearance_of, load_head_model, make_subject, with_truth
from recon.synth.body import union_mesh
from recon.synth.datasets import cameras, scenes
from recon.synth.parts import CLOTH

DEFAULTS = {"out": "out_of_distribution", "views": 40, "seed": 8100}
HAT = (
    (0, 196),
    (70, 194),
    (90, 184),
    (99, 110),
    (103, 88),
    (168, 76),
    (172, 72),
    (166, 68),
    (100, 76),
    (0, 76),
)
PLINTH = (
    (0, -105),
    (60, -105),
    (64, -109),
    (64, -128),
    (78, -134),
    (84, -170),
    (96, -200),
    (96, -225),
    (0, -225),
)
"""Profiles (radius, height) from the axis to the axis, mm, canonical head frame."""


def main(arguments: Sequence[str]) -> None:
    """Draws, photographs and writes both."""
    options = options_of(DEFAULTS, arguments)
    model = load_head_model()
    for number, (name, style) in enumerate((("hat", "buzz"), ("bust", "short"))):
        seed = options.seed + number
        person = make_subject(seed, split="test", style=style, model=model)
        subject = dressed(person, name)
        orbit = cameras.draw_orbit(
            options.views, np.asarray(subject.truth.vertices), np.random.default_rng([seed, 0xCA])
        )
        folder = scenes.write_subject_scene(
            options.out,
            subject,
            appearance_of(subject.recipe, seed),
            orbit,
            scenes.draw_placement(np.random.default_rng([seed, 0xF0])),
            truth=decimate(subject.truth, 60_000),
            tags=("out_of_distribution",),
            overwrite=True,
        )
        print(f"{folder}: {name}")


def dressed(person: Subject, name: str) -> Subject:
    """The person with a hat, or as a bust."""
    if name == "hat":
        parts = (*person.parts, lathe("hat", HAT, (1.0, 1.16), (0.0, -2.0)))
    else:
        parts = tuple(part for part in person.parts if part.name != "cloth")
        parts = (*parts, lathe("plinth", PLINTH, (1.0, 1.0), (0.0, -30.0)))
    truth = union_mesh([(part.vertices, part.faces) for part in parts])
    return with_truth(replace(person, name=name, parts=parts), truth)


def lathe(
    name: str,
    profile: Sequence[tuple[float, float]],
    stretch: tuple[float, float],
    centre: tuple[float, float],
) -> Part:
    """A closed surface of revolution about y, stretched in x and z, as a piece of cloth."""
    points = np.array(profile, dtype=float)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.linspace(0.0, along[-1], int(along[-1] / 2.5))[1:-1]
    radius, height = (np.interp(at, along, points[:, k]) for k in (0, 1))
    turns, rows = 160, len(at)
    angle = np.arange(turns) * 2 * np.pi / turns
    ring = np.stack(
        [
            radius[:, None] * np.sin(angle) * stretch[0] + centre[0],
            np.repeat(height[:, None], turns, axis=1),
            radius[:, None] * np.cos(angle) * stretch[1] + centre[1],
        ],
        axis=-1,
    ).reshape(-1, 3)
    ends = np.array([[centre[0], points[0, 1], centre[1]], [centre[0], points[-1, 1], centre[1]]])
    vertices = np.concatenate([ring, ends])
    row, column = (part.ravel() for part in np.meshgrid(np.arange(rows - 1), np.arange(turns), indexing="ij"))
    a, b = row * turns + column, row * turns + (column + 1) % turns
    sides = np.concatenate([np.stack([a, a + turns, b], 1), np.stack([b, a + turns, b + turns], 1)])
    edge, following = np.arange(turns), (np.arange(turns) + 1) % turns
    top = np.stack([np.full(turns, len(ring)), edge, following], 1)
    last = (rows - 1) * turns
    bottom = np.stack([np.full(turns, len(ring) + 1), last + following, last + edge], 1)
    still = np.zeros(vertices.shape, dtype=np.float32)
    faces = np.concatenate([sides, top, bottom]).astype(np.int64)
    return Part(name, vertices, faces, vertices.astype(np.float32), still, CLOTH)


if __name__ == "__main__":
    run_tool(main, __doc__)
