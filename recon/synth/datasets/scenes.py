"""Scenes in the H3DS layout: a subject with its appearance, photographed along a camera path and written."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float

from recon.geometry.frames import transform
from recon.scene import Camera, h3ds
from recon.synth.body.subject import with_truth
from recon.synth.datasets.cameras import Orbit, unit_sphere
from recon.synth.parts import Subject
from recon.synth.render.appearance import Appearance
from recon.synth.render.passes import encode, render_passes
from recon.synth.render.photograph import expose
from recon.synth.render.prepared import PreparedSubject, prepare


def draw_placement(rng: np.random.Generator) -> Float[np.ndarray, "4 4"]:
    """Draws world_from_canonical as scans have it: y down, face towards -z, turned, origin anywhere.

    Args:
        rng: Generator, consumed.

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


def write_subject_scene(
    root: Path | str,
    subject: Subject,
    appearance: Appearance,
    orbit: Orbit,
    placement: Float[np.ndarray, "4 4"],
    *,
    passes: Sequence[str] = ("rgb", "mask"),
    truth: trimesh.Trimesh | None = None,
    tags: Sequence[str] = (),
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Photographs a subject and writes the scene.

    Args:
        root: H3DS root, made where it does not exist.
        subject: Person, canonical head frame.
        appearance: Its colours and room.
        orbit: Views, canonical head frame.
        placement: world_from_canonical, rigid.
        passes: Names of the passes to render; beyond "rgb" and "mask", which every scene has, each goes to a
            folder of its name, `<pass>/<pass>_0000.png` and so on (see `recon.synth.render.passes.encode`).
        truth: Mesh to write as ground truth in place of the subject's own, for a smaller file.
        tags: Tags for the root's config.
        overwrite: Whether a scene of this name is replaced.
        **options: Options passed on to `recon.scene.h3ds.write_scene`.

    Returns:
        The scene's folder; `recipe.json` in it says what was drawn.

    Raises:
        SceneError: The scene exists.
        ConfigError: Unknown pass.
    """
    renderer = _SceneRenderer(prepare(subject, appearance), orbit.cameras, tuple(passes))
    written = subject if truth is None else with_truth(subject, truth)
    described = describe(subject, appearance, orbit, placement)
    renderer.files["recipe.json"] = (json.dumps(described, indent=1) + "\n").encode()
    return h3ds.write_scene(
        root,
        subject.name,
        images=renderer.images(),
        masks=renderer.masks(),
        cameras=[camera.transformed(placement) for camera in orbit.cameras],
        scale_mat=unit_sphere(_placed(subject.truth, placement)),
        mesh=trimesh.Trimesh(_placed(written.truth, placement), written.truth.faces, process=False),
        landmarks=written.landmark_vertices,
        regions=written.regions,
        default_views=orbit.default_views,
        tags=tags,
        jpeg_quality=appearance.sensor.jpeg,
        extras=renderer.write_files,
        overwrite=overwrite,
        **options,
    )


def _placed(mesh: trimesh.Trimesh, placement: np.ndarray) -> np.ndarray:
    """Vertices of a mesh in the world."""
    return transform(placement, np.asarray(mesh.vertices))


class _SceneRenderer:
    """Renderer of a scene, one picture at a time, so that a scene's pictures are never in memory together.

    The writer takes image 0, mask 0, image 1, mask 1, ...: the image renders the view, the mask is kept for it.
    """

    def __init__(self, prepared: PreparedSubject, cameras: Sequence[Camera], passes: tuple[str, ...]) -> None:
        self.prepared, self.cameras = prepared, cameras
        self.extra = tuple(name for name in passes if name not in ("rgb", "mask"))
        self.files: dict[str, bytes] = {}
        self._mask: np.ndarray | None = None

    def images(self) -> Iterator[np.ndarray]:
        for index, camera in enumerate(self.cameras):
            shown = render_passes(expose(self.prepared, camera), ("rgb", "mask", *self.extra))
            self._mask = shown["mask"]
            for name in self.extra:
                self.files[f"{name}/{name}_{index:04d}.png"] = encode(shown[name])
            yield shown["rgb"]

    def masks(self) -> Iterator[np.ndarray]:
        for _ in self.cameras:
            assert self._mask is not None
            yield self._mask

    def write_files(self, folder: Path) -> None:
        """Writes the recipe and the further passes."""
        for name, content in self.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)


def describe(
    subject: Subject, appearance: Appearance, orbit: Orbit, placement: Float[np.ndarray, "4 4"]
) -> dict[str, Any]:
    """Returns what was drawn, ready for JSON: the subject's recipe, appearance, lamps, azimuths, placement."""
    groups = {name: asdict(getattr(appearance, name)) for name in ("skin", "hair", "eyes", "cloth", "sensor")}
    lamps = [
        {"direction": lamp.direction.round(4).tolist(), "irradiance": lamp.irradiance.round(4).tolist(),
         "radius_deg": round(lamp.radius_deg, 3)}
        for lamp in appearance.room.lamps
    ]  # fmt: skip
    return {
        "subject": subject.recipe,
        "seed": subject.seed,
        "look": groups,
        "lamps": lamps,
        "azimuth_deg": orbit.azimuth_deg.round(3).tolist(),
        "world_from_canonical": placement.round(9).tolist(),
    }
