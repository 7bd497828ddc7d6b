"""Photographs of a subject: `recon.synth.render.prepared.prepare` once, then `expose` once per camera.

`expose` rasterises, shades fragment by fragment and adds up linear light; `recon.synth.render.passes`
turns the result into named images, `recon.synth.render.sensor` into a photograph. Everything happens in the
canonical head frame.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from recon.scene import Camera
from recon.synth.parts import BEARD, BROW, CLOTH, EYE, HAIR, LASH, SKIN
from recon.synth.render.appearance import Appearance
from recon.synth.render.eyes import shade_eye
from recon.synth.render.hair_shading import fibre_light, shade_hair, shade_strands
from recon.synth.render.light import Bake
from recon.synth.render.noise import streaks
from recon.synth.render.prepared import PreparedSubject
from recon.synth.render.shading import Points, Shaded, normalised, shade_cloth
from recon.synth.render.skin import shade_skin
from recon.synth.render.zbuffer import Buffers, Fragments, draw, interpolate, sample, splat

FIBRES = (BROW, LASH)


@dataclass(frozen=True)
class Exposure:
    """One view of a subject, before it becomes files.

    Attributes:
        prepared: The subject.
        camera: The camera, canonical head frame.
        buffers: Nearness and primitive per sub-pixel.
        linear: Linear light with background.
        albedo: Linear albedo, black where there is nothing.
        coverage: Share of each pixel that the subject covers.
        hair_coverage: Share of each pixel that its hair covers.
    """

    prepared: PreparedSubject
    camera: Camera
    buffers: Buffers
    linear: Float[np.ndarray, "h w 3"]
    albedo: Float[np.ndarray, "h w 3"]
    coverage: Float[np.ndarray, "h w"]
    hair_coverage: Float[np.ndarray, "h w"]

    def foreground(self) -> Float[np.ndarray, "h w 3"]:
        """Computes linear light of the subject alone, weighted by coverage, to be put before another background."""
        return self.linear - (1.0 - self.coverage)[..., None] * _background(self.prepared, self.camera)

    def at_centres(self, name: str) -> Float[np.ndarray, "h w c"]:
        """Interpolates an attribute of `PreparedSubject.columns` at the pixel centres; zeros where there is nothing."""
        values = self.prepared.attributes[:, self.prepared.columns[name]]
        step = self.buffers.samples
        rows, columns = (np.arange(n) * step + step // 2 for n in (self.camera.height, self.camera.width))
        return sample(self.buffers, rows, columns, values)


def expose(
    prepared: PreparedSubject, camera: Camera, *, samples: int = 3, buffers: Buffers | None = None
) -> Exposure:
    """Renders one view.

    Args:
        prepared: The subject.
        camera: Camera, canonical head frame.
        samples: Sub-pixels per pixel along one axis, odd.
        buffers: What `draw` has filled for this camera; drawn here by default.

    Returns:
        Linear light and the buffers that passes need.
    """
    buffers = buffers or draw(
        prepared.vertices,
        prepared.faces,
        camera,
        segments=prepared.segments,
        segment_width_mm=prepared.segment_width_mm,
        samples=samples,
    )
    labels = np.array(prepared.labels)
    apart = np.isin(labels, (HAIR, BEARD, *FIBRES))
    fragments = buffers.resolve(np.where(apart, -1, np.arange(len(labels)))[prepared.kind])
    colour = np.zeros((len(fragments), 3), np.float32)
    albedo = np.zeros((len(fragments), 3), np.float32)
    kinds = prepared.kind[fragments.primitive]
    for kind, label in enumerate(prepared.labels):
        mine = kinds == kind
        if mine.any():
            points = _points(prepared, camera, fragments.where(mine), kind)
            shaded = _shade(points, label, prepared, curve=kind >= len(prepared.subject.parts))
            colour[mine], albedo[mine] = shaded.colour, shaded.albedo
    height, width = camera.height, camera.width
    coverage = buffers.coverage()
    background = _background(prepared, camera)
    linear = splat(fragments, colour, height, width) + (1.0 - coverage)[..., None] * background
    hair = (labels[kinds] == HAIR).astype(np.float32)[:, None]
    return Exposure(
        prepared=prepared,
        camera=camera,
        buffers=buffers,
        linear=linear,
        albedo=splat(fragments, albedo, height, width),
        coverage=coverage,
        hair_coverage=splat(fragments, hair, height, width)[..., 0],
    )


def _points(prepared: PreparedSubject, camera: Camera, fragments: Fragments, kind: int) -> Points:
    faces = len(prepared.faces)
    curve = kind >= len(prepared.subject.parts)
    corners = prepared.segments if curve else prepared.faces
    values = interpolate(fragments, corners, prepared.attributes, faces if curve else 0)
    column = prepared.columns
    position = values[:, column["position"]]
    view = normalised(camera.centre.astype(np.float32) - position)
    normal = normalised(values[:, column["normal"]])
    away = np.einsum("ij,ij->i", normal, view)
    # A normal that was interpolated past the silhouette is bent back to the horizon.
    normal = normalised(normal - np.minimum(away - 0.02, 0.0)[:, None] * view)
    return Points(
        canonical=values[:, column["canonical"]],
        position=position,
        normal=normal,
        tangent=normalised(values[:, column["tangent"]]),
        view=view,
        ambient=values[:, column["ambient"]],
        openness=values[:, column["openness"]][:, 0],
        lamps=values[:, column["lamps"]],
        pixel_mm=float(np.linalg.norm(camera.centre - position.mean(axis=0)) / camera.intrinsics[0, 0]),
        scalars={
            name.removeprefix("scalar "): values[:, place][:, 0]
            for name, place in column.items()
            if name.startswith("scalar ")
        },
    )


def _shade(points: Points, label: int, prepared: PreparedSubject, *, curve: bool) -> Shaded:
    appearance, light = prepared.appearance, prepared.bake
    if label == SKIN:
        return shade_skin(points, appearance, light)
    if label == EYE:
        return shade_eye(points, appearance, light)
    if label in (HAIR, BEARD):
        if label == BEARD:
            appearance = replace(appearance, hair=replace(appearance.hair, albedo=appearance.hair.brow))
        return (
            shade_strands(points, appearance, light) if curve else _thinning_hair(points, appearance, light)
        )
    if label in FIBRES:
        dark = 0.35 if label == LASH else 1.0
        albedo = np.broadcast_to(np.array(appearance.hair.brow, np.float32) * dark, (len(points), 3)).copy()
        still = np.zeros(len(points), np.float32)
        shine = 0.1 if label == LASH else 0.4
        lit = fibre_light(
            points, points.tangent, albedo, light, appearance.room.lamps, shine=shine, wobble=still
        )
        return Shaded(lit, albedo)
    if label == CLOTH:
        return shade_cloth(points, appearance.cloth, light, appearance.room)
    return shade_skin(points, appearance, light)


def _thinning_hair(points: Points, appearance: Appearance, light: Bake) -> Shaded:
    """Hair that gives way to skin where it is bare."""
    hair = shade_hair(points, appearance, light)
    bare = points.scalars["bare"]
    near = np.flatnonzero(bare > 0.01)
    if not len(near):
        return hair
    skin = shade_skin(points.take(near), appearance, light)
    # Streak by streak: a hair is there or it is not.
    wisp = streaks(points.position[near], points.tangent[near], 0.5, 4.0, appearance.hair.seed + 9)
    share = np.clip(0.5 + 2.2 * (bare[near] - 0.5) + 0.35 * wisp, 0.0, 1.0)[:, None].astype(np.float32)
    for mixed, under in ((hair.colour, skin.colour), (hair.albedo, skin.albedo)):
        mixed[near] = mixed[near] * (1 - share) + under * share
    return hair


def _background(prepared: PreparedSubject, camera: Camera) -> np.ndarray:
    """The blurred room: looked up at every eighth pixel, which is finer than its blur, and interpolated."""
    step = 8
    rows, columns = -(-camera.height // step) + 1, -(-camera.width // step) + 1
    u, v = np.meshgrid(np.arange(columns) * float(step), np.arange(rows) * float(step))
    _, directions = camera.rays(np.stack([u.ravel(), v.ravel()], axis=1))
    coarse = prepared.appearance.room.radiance(directions).reshape(rows, columns, 3)
    fine = coarse
    for axis, size in ((0, camera.height), (1, camera.width)):
        at = (np.arange(size) + 0.5) / step
        low = at.astype(np.int64)
        share = (at - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        fine = fine.take(low, axis) * (1 - share) + fine.take(low + 1, axis) * share
    return fine
