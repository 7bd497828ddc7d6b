"""Puts a subject, a look and a walk together and writes the scene in the H3DS layout."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float

from recon.scene import h3ds
from recon.synth.appearance import Look
from recon.synth.cameras import Orbit, unit_sphere
from recon.synth.parts import Subject
from recon.synth.passes import render_passes
from recon.synth.photograph import expose, prepare


@dataclass(frozen=True)
class Pictures:
    """Photographs and masks of a walk, one per view."""

    images: tuple[np.ndarray, ...]
    masks: tuple[np.ndarray, ...]


def draw_placement(rng: np.random.Generator) -> Float[np.ndarray, "4 4"]:
    """world_from_canonical as scans have it: y down, face towards -z, turned, origin anywhere.

    Args:
        rng: consumed.

    Returns:
        A rigid 4x4; nothing downstream may assume an upright, centred or forward-looking head.
    """
    yaw, pitch, roll = np.radians(rng.normal(0.0, [6.0, 4.0, 2.0]))
    cy, sy, cp, sp, cr, sr = (
        np.cos(yaw),
        np.sin(yaw),
        np.cos(pitch),
        np.sin(pitch),
        np.cos(roll),
        np.sin(roll),
    )
    turn = (
        np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    )
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ turn
    matrix[:3, 3] = rng.uniform(-60.0, 60.0, 3) + np.array([0.0, 0.0, rng.uniform(-50.0, 50.0)])
    return matrix


def take_pictures(subject: Subject, look: Look, orbit: Orbit, *, samples: int = 3) -> Pictures:
    """Photographs and masks of every view of a walk."""
    prepared = prepare(subject, look)
    images, masks = [], []
    for camera in orbit.cameras:
        shown = render_passes(expose(prepared, camera, samples=samples), ("rgb", "mask"))
        images.append(shown["rgb"])
        masks.append(shown["mask"])
    return Pictures(tuple(images), tuple(masks))


def write_subject_scene(
    root: Path | str,
    subject: Subject,
    look: Look,
    orbit: Orbit,
    placement: Float[np.ndarray, "4 4"],
    *,
    pictures: Pictures | None = None,
    tags: Sequence[str] = (),
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Writes one scene.

    Args:
        root: H3DS root, made where it does not exist.
        subject: the person, canonical head frame.
        look: its colours and room.
        orbit: the views, canonical head frame.
        placement: world_from_canonical, rigid.
        pictures: taken already; else they are taken here.
        tags: written into the root's config.
        overwrite: replaces a scene of this name.
        **options: passed on to `recon.scene.h3ds.write_scene`.

    Returns:
        The scene's folder; `recipe.json` beside the images says what was drawn.
    """
    taken = take_pictures(subject, look, orbit) if pictures is None else pictures
    vertices = subject.truth.vertices @ placement[:3, :3].T + placement[:3, 3]
    described = describe(subject, look, orbit, placement)

    def write_recipe(folder: Path) -> None:
        (folder / "recipe.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")

    return h3ds.write_scene(
        root,
        subject.name,
        images=taken.images,
        masks=taken.masks,
        cameras=[camera.transformed(placement) for camera in orbit.cameras],
        scale_mat=unit_sphere(np.asarray(vertices)),
        mesh=trimesh.Trimesh(vertices, subject.truth.faces, process=False),
        landmarks=subject.landmark_vertices,
        regions=subject.regions,
        default_views=orbit.default_views,
        tags=tags,
        jpeg_quality=look.sensor.jpeg,
        extras=write_recipe,
        overwrite=overwrite,
        **options,
    )


def describe(
    subject: Subject, look: Look, orbit: Orbit, placement: Float[np.ndarray, "4 4"]
) -> dict[str, Any]:
    """What was drawn, ready for JSON: the subject's recipe, the look, lamps, azimuths, placement."""
    groups = {name: asdict(getattr(look, name)) for name in ("skin", "hair", "eyes", "cloth", "sensor")}
    lamps = [
        {"direction": lamp.direction.round(4).tolist(), "irradiance": lamp.irradiance.round(4).tolist(),
         "radius_deg": round(lamp.radius_deg, 3)}
        for lamp in look.room.lamps
    ]  # fmt: skip
    return {
        "subject": subject.recipe,
        "seed": subject.seed,
        "look": groups,
        "lamps": lamps,
        "azimuth_deg": orbit.azimuth_deg.round(3).tolist(),
        "world_from_canonical": placement.round(9).tolist(),
    }
