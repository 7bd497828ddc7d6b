"""One portrait: the person's light, things laid before it with their order in depth, and all maps at pixel centres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from recon.compiled import compiled
from recon.geometry.frames import transform
from recon.perception.portrait_maps import (
    BEARD,
    BROWS,
    CLOTHES,
    EAR,
    EYES,
    HAIR,
    LIPS,
    NECK,
    SKIN,
)
from recon.scene import Camera
from recon.synth import parts as surfaces
from recon.synth.portraits.framing import Framing
from recon.synth.portraits.people import Sitting, with_flash
from recon.synth.portraits.pieces import Thing, merged
from recon.synth.render.light import harmonic_basis
from recon.synth.render.noise import fractal
from recon.synth.render.photograph import Exposure, expose
from recon.synth.render.prepared import PreparedSubject
from recon.synth.render.shading import normalised
from recon.synth.render.zbuffer import EMPTY, NEAREST_MM, Buffers, interpolate, sample, splat
from recon.synth.render.zbuffer_kernels import (
    barycentric_weights,
    draw_segments,
    draw_triangles,
    interpolate_values,
)

SAMPLES = 3
BRIGHT = 0.62
"""Linear light of the 95th percentile of the person in a portrait: bright, and below the sensor's end."""
AWAY = -0.35
"""Cosine between a hair's normal and the direction to the camera below which the hair is not drawn."""
PART_OF_LABEL = {
    surfaces.SKIN: SKIN,
    surfaces.HAIR: HAIR,
    surfaces.EYE: EYES,
    surfaces.CLOTH: CLOTHES,
    surfaces.MOUTH: LIPS,
    surfaces.BEARD: BEARD,
    surfaces.BROW: BROWS,
    surfaces.LASH: EYES,
}
_CANONICAL, _NORMAL, _TANGENT = slice(0, 3), slice(3, 6), slice(6, 9)
_LIP, _BROW, _EAR, _MOUTH, _BARE = range(9, 14)


@dataclass(frozen=True, eq=False)
class Stored:
    """A portrait without a background, and its maps: what a shard keeps.

    Attributes:
        light: Linear light of the person and the things before the person, weighted by coverage.
        cover: Share of each pixel through which no background is seen.
        alpha: Share of each pixel that shows the person or what is worn.
        parts: Number of the part at each pixel's centre.
        normals: Unit normals of the person (not of things), camera axes; zeros where there is none.
        canonical: Canonical coordinates of skin, hair and beard, mm; those of hair are its own place in the head's
            canonical frame, those of skin the corresponding point of the mean head.
        strand: Unit direction in the picture of hair and beard, root to tip; zeros elsewhere.
        depth: Distance along the optical axis beyond that of the head's canonical origin, mm.
    """

    light: Float32[np.ndarray, "h w 3"]
    cover: Float32[np.ndarray, "h w"]
    alpha: Float32[np.ndarray, "h w"]
    parts: UInt8[np.ndarray, "h w"]
    normals: Float32[np.ndarray, "h w 3"]
    canonical: Float32[np.ndarray, "h w 3"]
    strand: Float32[np.ndarray, "h w 2"]
    depth: Float32[np.ndarray, "h w"]


@dataclass(frozen=True, eq=False)
class Portrait(Stored):
    """A portrait as it was taken, with what a shard keeps only if it is asked to.

    Attributes:
        twin_light: Light of the person alone.
        twin_alpha: Coverage of the person alone.
        things: Kinds of the things before the person.
    """

    twin_light: Float32[np.ndarray, "h w 3"]
    twin_alpha: Float32[np.ndarray, "h w"]
    things: tuple[str, ...]


def shoot(sitting: Sitting, framing: Framing, things: list[Thing]) -> Portrait:
    """Photographs a person with things before the person.

    Args:
        sitting: Person, light and colours.
        framing: The camera.
        things: What is worn or held.
    """
    camera = framing.camera
    aim = sitting.prepared.subject.landmarks68.mean(axis=0)
    prepared = with_flash(sitting, camera.centre - aim)
    buffers = rasterise(prepared.vertices, prepared.faces, camera, prepared)
    exposure = expose(prepared, camera, buffers=buffers)
    light = _plain_light(exposure) if sitting.person.plain else exposure.linear
    light = (light * sitting.tint).astype(np.float32)
    gain = _gain(light, exposure.coverage)
    light *= gain
    labels, maps = person_maps(sitting, exposure)
    twin_light, twin_alpha = light, exposure.coverage
    cover, alpha = exposure.coverage, exposure.coverage
    if things:
        light, cover, alpha, labels = _laid_before(exposure, light, labels, things, gain * sitting.tint)
    normals, canonical, strand, depth = maps
    return Portrait(
        light=light,
        cover=cover,
        alpha=alpha,
        parts=labels,
        normals=normals,
        canonical=canonical,
        strand=strand,
        depth=depth,
        twin_light=twin_light,
        twin_alpha=twin_alpha,
        things=tuple(thing.kind for thing in things),
    )


def rasterise(
    vertices: np.ndarray, faces: np.ndarray, camera: Camera, curves: PreparedSubject | None = None
) -> Buffers:
    """Draws triangles and the hairs of a subject, as `recon.synth.render.zbuffer.draw` does, in a third of the time."""
    pose = np.linalg.inv(camera.world_from_camera)
    screen = np.empty((len(vertices), 3))
    matrix = camera.intrinsics @ pose[:3]
    _project(np.ascontiguousarray(vertices), matrix, SAMPLES, NEAREST_MM, screen)
    if curves is not None:
        first = sum(len(part.vertices) for part in curves.subject.parts)
        _hide_far_side(curves.vertices, curves.normals, first, camera.centre, AWAY, screen)
    shape = (camera.height * SAMPLES, camera.width * SAMPLES)
    buffer, primitive = np.zeros(shape, np.float32), np.full(shape, EMPTY, np.int32)
    faces32 = np.ascontiguousarray(faces, np.int32)
    draw_triangles(
        screen, faces32, buffer, primitive, curves is not None
    )  # closed surfaces hide their insides
    segments = np.zeros((0, 2), np.int32)
    if curves is not None and len(curves.segments):
        segments = np.ascontiguousarray(curves.segments, np.int32)
        width = curves.segment_width_mm * float(camera.intrinsics[0, 0]) * SAMPLES
        draw_segments(screen, segments, width, len(faces32), buffer, primitive)
    return Buffers(buffer, primitive, SAMPLES, screen, faces32, segments)


@compiled
def _project(vertices, matrix, samples, nearest, screen):  # type: ignore[no-untyped-def]
    """Sub-pixel column and row, and nearness, of every vertex."""
    for i in range(len(vertices)):
        x, y, z = vertices[i]
        depth = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + matrix[2, 3]
        near = 1.0 / depth if depth > nearest else -1.0
        screen[i, 0] = (
            (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3]) * near * samples
        )
        screen[i, 1] = (
            (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3]) * near * samples
        )
        screen[i, 2] = near


@compiled
def _hide_far_side(vertices, normals, first, centre, least, screen):  # type: ignore[no-untyped-def]
    """Leaves out vertices from `first` on whose normals point away from the camera: head and hair are before them."""
    for i in range(first, len(vertices)):
        along, square = 0.0, 0.0
        for k in range(3):
            arm = centre[k] - vertices[i, k]
            along += arm * normals[i, k]
            square += arm * arm
        if along < least * np.sqrt(square):
            screen[i, 2] = -1.0


def person_maps(sitting: Sitting, exposure: Exposure) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Computes parts, and normals, canonical coordinates, strand directions and depth, at the pixel centres."""
    person, camera, buffers = sitting.person, exposure.camera, exposure.buffers
    nearness, primitive = buffers.centres()
    there = np.flatnonzero(primitive != EMPTY)
    rows, columns = np.divmod(there, camera.width)
    values = _sampled(buffers, rows * SAMPLES + SAMPLES // 2, columns * SAMPLES + SAMPLES // 2, person.table)
    labels = np.array(exposure.prepared.labels)[exposure.prepared.kind[primitive.ravel()[there]]]
    parts = np.array([PART_OF_LABEL.get(k, SKIN) for k in range(max(PART_OF_LABEL) + 1)], np.uint8)[labels]
    canonical = values[:, _CANONICAL].copy()
    parts = _finer_parts(parts, canonical, values).astype(np.uint8)

    depth = 1.0 / nearness.ravel()[there].astype(np.float64)
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1)
    ray = pixels @ np.linalg.inv(camera.intrinsics).T
    hairy = np.flatnonzero((parts == HAIR) | (parts == BEARD))
    matrix = person.canonical_from_head @ camera.world_from_camera
    canonical[hairy] = transform(matrix, ray[hairy] * depth[hairy, None])
    canonical[parts == CLOTHES] = 0.0

    turn = camera.world_from_camera[:3, :3].astype(np.float32)
    normals = normalised(values[:, _NORMAL] @ turn)
    tangent = values[hairy][:, _TANGENT] @ turn
    flow = (tangent[:, :2] - ray[hairy, :2] * tangent[:, 2:]) @ camera.intrinsics[:2, :2].T
    strand = np.zeros((len(there), 2), np.float32)
    strand[hairy] = flow / np.maximum(np.linalg.norm(flow, axis=1, keepdims=True), 1e-9)
    origin = transform(camera.camera_from_world, person.to_head(np.zeros((1, 3))))[0, 2]
    maps = []
    for map_values in (parts[:, None], normals, canonical, strand, (depth - origin)[:, None]):
        kind = np.uint8 if map_values.dtype == np.uint8 else np.float32
        whole = np.zeros((camera.height * camera.width, map_values.shape[1]), kind)
        whole[there] = map_values
        maps.append(whole.reshape(camera.height, camera.width, -1))
    return maps[0][..., 0], (*maps[1:4], maps[4][..., 0])


def _sampled(buffers: Buffers, rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Interpolates vertex attributes at some sub-pixels where something was drawn."""
    primitive = buffers.primitive[rows, columns].astype(np.int64)
    where = rows * buffers.primitive.shape[1] + columns
    weights = barycentric_weights(
        where, primitive, buffers.screen, buffers.faces, buffers.segments, buffers.primitive.shape[1]
    )
    out = np.zeros((len(where), values.shape[1]), np.float32)
    triangles = len(buffers.faces)
    for corners, first, chosen in (
        (buffers.faces, 0, primitive < triangles),
        (buffers.segments, triangles, primitive >= triangles),
    ):
        out[chosen] = interpolate_values(primitive[chosen] - first, weights[chosen], corners, values)
    return out


def in_neck(canonical: np.ndarray) -> np.ndarray:
    """Whether points of the mean head lie below the jaw and the hairline of the nape."""
    y, z = canonical[..., 1], canonical[..., 2]
    result: np.ndarray = y < np.interp(z, [-90.0, -20.0, 30.0, 95.0], [-55.0, -45.0, -62.0, -98.0])
    return result


def _finer_parts(parts: np.ndarray, canonical: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Tells lips, brows, ears and neck from skin, and skin from the rim of a hair surface."""
    bare = ((parts == HAIR) | (parts == BEARD)) & (values[..., _BARE] > 0.5)
    parts = np.where(bare, SKIN, parts)
    skin = parts == SKIN
    finer = np.where(in_neck(canonical), NECK, SKIN)
    finer = np.where(values[..., _EAR] > 0.5, EAR, finer)
    finer = np.where((values[..., _LIP] > 0.5) | (values[..., _MOUTH] > 0.25), LIPS, finer)
    return np.where(skin, finer, parts)


def _plain_light(exposure: Exposure) -> np.ndarray:
    """The second renderer: colours without light times Lambert's law, lamps without shadows."""
    prepared = exposure.prepared
    normals = exposure.at_centres("normal")
    normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-9)
    light = harmonic_basis(normals.reshape(-1, 3)) @ prepared.bake.harmonics * 0.8
    for lamp in prepared.appearance.room.lamps:
        cosine = np.clip(normals.reshape(-1, 3) @ lamp.direction, 0.0, None)
        light = light + cosine[:, None] * lamp.irradiance
    result: np.ndarray = exposure.albedo * np.maximum(light, 0.02).reshape(normals.shape)
    return result


def _gain(light: np.ndarray, coverage: np.ndarray) -> float:
    """Factor that brings the brightest parts of the person to `BRIGHT`."""
    inner = light[coverage > 0.99]
    if len(inner) == 0:
        return 1.0
    return float(BRIGHT / max(float(np.percentile(inner.max(axis=1), 95)), 1e-4))


def _laid_before(
    exposure: Exposure, light: np.ndarray, labels: np.ndarray, things: list[Thing], gain: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Light, cover, alpha and parts with things before the person, sub-pixel by sub-pixel where they are nearer."""
    camera, prepared = exposure.camera, exposure.prepared
    mesh = merged(things)
    drawn = rasterise(mesh.vertices, mesh.faces, camera)
    behind = drawn.nearness <= exposure.buffers.nearness
    drawn.primitive[behind] = EMPTY
    drawn.nearness[behind] = 0.0
    fragments = drawn.resolve(np.zeros(len(mesh.faces), np.int64), gap=0.02)
    if len(fragments) == 0:
        return light, exposure.coverage, exposure.coverage, labels
    found = interpolate(
        fragments, mesh.faces, np.concatenate([mesh.vertices, mesh.normals, mesh.table], axis=1)
    )
    colour = _thing_light(found, prepared, camera) * gain
    opacity, worn = found[:, 9:10], found[:, 13:14]
    layer = splat(
        fragments,
        np.concatenate([colour * opacity, opacity, worn * opacity], axis=1),
        camera.height,
        camera.width,
    )
    hidden = layer[..., 3]
    cover = hidden + (1 - hidden) * exposure.coverage
    alpha = layer[..., 4] + (1 - hidden) * exposure.coverage
    mixed = layer[..., :3] + (1 - hidden[..., None]) * light
    rows, columns = (np.arange(n) * SAMPLES + SAMPLES // 2 for n in (camera.height, camera.width))
    centre = sample(drawn, rows, columns, mesh.table)
    shown = (centre[..., 3] > 0.5) & (drawn.centres()[1] != EMPTY)
    labels = np.where(shown, np.rint(centre[..., 6]), labels).astype(np.uint8)
    return mixed.astype(np.float32), cover.astype(np.float32), alpha.astype(np.float32), labels


def _thing_light(found: np.ndarray, prepared: PreparedSubject, camera: Camera) -> Float32[np.ndarray, "n 3"]:
    """Light of things: Lambert's law in the room's light, and a glossy reflection of lamps."""
    position, normal, colour = found[:, :3], found[:, 3:6], found[:, 6:9]
    view = camera.centre - position
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    normal = normal * np.sign(np.einsum("ij,ij->i", normal, view))[:, None]
    uneven = fractal(position.astype(np.float32), 14.0, 77)[:, None] * found[:, 11:12]
    light = np.maximum(harmonic_basis(normal) @ prepared.bake.harmonics, 0.02) * 0.8
    shine = np.zeros((len(found), 1))
    for lamp in prepared.appearance.room.lamps:
        cosine = np.clip(normal @ lamp.direction, 0.0, None)[:, None]
        light = light + 0.8 * cosine * lamp.irradiance
        mirror = 2 * cosine * normal - lamp.direction
        shine = (
            shine + np.clip(np.einsum("ij,ij->i", mirror, view), 0, 1)[:, None] ** 30 * lamp.irradiance.mean()
        )
    result: np.ndarray = (colour * np.exp(uneven) * light + found[:, 10:11] * shine).astype(np.float32)
    return result
