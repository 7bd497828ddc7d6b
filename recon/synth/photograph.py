"""Takes pictures of a subject: `prepare` once, then `expose` once per camera.

`prepare` merges the subject's surfaces and single hairs, bakes the light and paints what does not depend on
the view. `expose` rasterises, shades fragment by fragment and adds up linear light; `recon.synth.passes`
turns the result into named images, `recon.synth.sensor` into a photograph. Everything happens in the
canonical head frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from recon.scene import Camera
from recon.synth import curves as curve_module
from recon.synth import face_map
from recon.synth.appearance import Look
from recon.synth.curves import Curves, Hull, surface_normals
from recon.synth.eyes import eye_frame, shade_eye
from recon.synth.hair_scalp import Hairline
from recon.synth.hair_shading import fibre_light, shade_hair, shade_strands
from recon.synth.light import Bake, bake, diffuse_over
from recon.synth.noise import streaks
from recon.synth.parts import BEARD, BROW, CLOTH, EYE, HAIR, LASH, SKIN, Part, Subject
from recon.synth.raster import Buffers, Fragments, draw, interpolate, sample, splat
from recon.synth.shading import Points, Shaded, normalised, shade_cloth
from recon.synth.skin import paint_skin, shade_skin

FIBRES = (BROW, LASH)


@dataclass(frozen=True)
class Prepared:
    """A subject ready to be photographed.

    Attributes:
        subject: the person.
        look: its colours and its room.
        vertices: (v, 3) of all parts, then of all curves.
        normals: (v, 3) unit.
        faces: (f, 3) of all parts.
        segments: (s, 2) of all curves.
        segment_width_mm: (s,).
        kind: (f + s,) number of the surface that a primitive belongs to: parts first, then curves.
        labels: label of every surface.
        attributes: (v, c) float32 columns named by `columns`.
        columns: slices of `attributes` by name.
        bake: the light at the vertices of the parts.
    """

    subject: Subject
    look: Look
    vertices: Float[np.ndarray, "v 3"]
    normals: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    segments: Int[np.ndarray, "s 2"]
    segment_width_mm: Float[np.ndarray, " s"]
    kind: Int[np.ndarray, " primitives"]
    labels: tuple[int, ...]
    attributes: Float[np.ndarray, "v c"]
    columns: dict[str, slice]
    bake: Bake


@dataclass(frozen=True)
class Exposure:
    """What one camera saw, before it becomes files.

    Attributes:
        prepared: the subject.
        camera: the camera, canonical head frame.
        buffers: nearness and primitive per sub-pixel.
        linear: (h, w, 3) linear light with background.
        albedo: (h, w, 3) linear albedo, black where there is nothing.
        coverage: (h, w) share of each pixel that the subject covers.
        hair_coverage: (h, w) share that its hair covers.
    """

    prepared: Prepared
    camera: Camera
    buffers: Buffers
    linear: Float[np.ndarray, "h w 3"]
    albedo: Float[np.ndarray, "h w 3"]
    coverage: Float[np.ndarray, "h w"]
    hair_coverage: Float[np.ndarray, "h w"]

    def at_centres(self, name: str) -> Float[np.ndarray, "h w c"]:
        """A vertex attribute of `Prepared.columns` at the pixel centres; zeros where there is nothing."""
        values = self.prepared.attributes[:, self.prepared.columns[name]]
        step = self.buffers.samples
        rows, columns = (np.arange(n) * step + step // 2 for n in (self.camera.height, self.camera.width))
        return sample(self.buffers, rows, columns, values)


def prepare(subject: Subject, look: Look, *, strands: bool = True) -> Prepared:
    """Merges, bakes and paints a subject.

    Args:
        subject: the person.
        look: colours and room.
        strands: draws the subject's strands over its hair surface.

    Returns:
        Arrays that all views share.
    """
    parts = subject.parts
    normals = [surface_normals(part.vertices, part.faces) for part in parts]
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    vertices = np.concatenate([part.vertices for part in parts])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts[:-1], strict=True)])
    light = bake(vertices, np.concatenate(normals), faces, look.room)
    light = _soften(light, parts, starts)
    normals = [
        normalised(diffuse_over(normal, part.faces, 8)) if part.label == HAIR else normal
        for part, normal in zip(parts, normals, strict=True)
    ]
    hairs, anchors = _grow(subject, look, parts, normals, light, starts, strands)
    columns, attributes = _attributes(subject, normals, light, look)
    blocks, segments, kinds = [attributes], [], []
    point_count = len(vertices)
    for k, (hair, anchor) in enumerate(zip(hairs, anchors, strict=True)):
        block = attributes[anchor].copy()
        block[:, columns["tangent"]] = hair.tangent
        for name, values in hair.scalars.items():
            block[:, columns[f"scalar {name}"]] = values[:, None]
        blocks.append(block)
        segments.append(hair.segments + point_count)
        kinds.append(np.full(len(hair.segments), len(parts) + k))
        point_count += len(hair.vertices)
    merged = np.concatenate(blocks)
    return Prepared(
        subject=subject,
        look=look,
        vertices=np.concatenate([vertices, *(hair.vertices for hair in hairs)]),
        normals=merged[:, columns["normal"]].astype(np.float64),
        faces=faces,
        segments=np.concatenate([np.zeros((0, 2), np.int64), *segments]),
        segment_width_mm=np.concatenate([np.zeros(0), *(hair.width_mm for hair in hairs)]),
        kind=np.concatenate([np.repeat(np.arange(len(parts)), [len(part.faces) for part in parts]), *kinds]),
        labels=(*(part.label for part in parts), *(hair.label for hair in hairs)),
        attributes=merged,
        columns=columns,
        bake=light,
    )


def expose(prepared: Prepared, camera: Camera, *, samples: int = 3) -> Exposure:
    """Renders one view.

    Args:
        prepared: the subject.
        camera: in the canonical head frame.
        samples: sub-pixels per pixel along one axis, odd.

    Returns:
        Linear light and what the passes need.
    """
    buffers = draw(
        prepared.vertices,
        prepared.faces,
        camera,
        segments=prepared.segments,
        segment_width_mm=prepared.segment_width_mm,
        samples=samples,
    )
    labels = np.array(prepared.labels)[prepared.kind]
    group = np.where(np.isin(labels, (HAIR, BEARD, *FIBRES)), -1, prepared.kind)
    fragments = buffers.resolve(group)
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
    hair = (labels[fragments.primitive] == HAIR).astype(np.float32)[:, None]
    return Exposure(
        prepared=prepared,
        camera=camera,
        buffers=buffers,
        linear=linear,
        albedo=splat(fragments, albedo, height, width),
        coverage=coverage,
        hair_coverage=splat(fragments, hair, height, width)[..., 0],
    )


def _soften(light: Bake, parts: tuple[Part, ...], starts: np.ndarray) -> Bake:
    """Lets baked light spread a little over each surface; noise of the shadow maps goes with it."""
    ambient, openness, lamps = light.ambient.copy(), light.openness.copy(), light.lamps.copy()
    for part, start, stop in zip(parts, starts[:-1], starts[1:], strict=True):
        both = np.concatenate([light.ambient, light.openness[:, None], light.lamps], axis=1)[start:stop]
        rounds = 1 if part.label == EYE else 2
        soft = diffuse_over(both, part.faces, rounds)
        ambient[start:stop], openness[start:stop], lamps[start:stop] = soft[:, :3], soft[:, 3], soft[:, 4:]
    return Bake(ambient, openness, lamps, light.harmonics)


def _grow(
    subject: Subject,
    look: Look,
    parts: tuple[Part, ...],
    normals: list[np.ndarray],
    light: Bake,
    starts: np.ndarray,
    strands: bool,
) -> tuple[list[Curves], list[np.ndarray]]:
    """Single hairs, and for each of their vertices the merged vertex that lends its light."""
    names = [part.name for part in parts]
    present = {part.label for part in parts}
    skin, seed = names.index("skin"), look.hair.seed
    grown: list[tuple[Curves, int]] = []
    if BROW not in present:
        brows = curve_module.grow_brows(subject, parts[skin].vertices, normals[skin], density=1.0, seed=seed)
        grown.append((brows, skin))
    if LASH not in present:
        lashes = curve_module.grow_lashes(subject, parts[skin].vertices, normals[skin], seed=seed)
        grown.append((lashes, skin))
    if strands and subject.strands is not None and "hair" in names:
        hair = names.index("hair")
        hull = _hull(parts[hair], normals[hair], light.openness[starts[hair] : starts[hair + 1]])
        curves = curve_module.hair_curves(subject, hull, seed=seed)
        grown.append((curves, hair))
        exposed = light.openness[starts[skin] : starts[skin + 1]] > 0.15
        length = float(np.clip(0.5 * _median_length(subject), 2.0, 13.0))
        fine = curve_module.grow_hairline(
            parts[skin], normals[skin], exposed, hull, length_mm=length, seed=seed
        )
        if fine is not None:
            grown.append((fine, hair))
    return [curves for curves, _ in grown], [curves.anchor + starts[owner] for curves, owner in grown]


def _hull(part: Part, normals: np.ndarray, openness: np.ndarray) -> Hull:
    index = np.flatnonzero(openness > 0.08)
    return Hull(part.vertices[index], normals[index], _combed(part, normals)[index].astype(np.float64), index)


def _median_length(subject: Subject) -> float:
    """Median length of the subject's strands, mm."""
    assert subject.strands is not None
    points, offsets = subject.strands.points, subject.strands.offsets
    step = np.linalg.norm(np.diff(points, axis=0), axis=1)
    total = np.concatenate([[0.0], np.cumsum(step)])
    return float(np.median(total[offsets[1:] - 1] - total[offsets[:-1]]))


def _attributes(
    subject: Subject, normals: list[np.ndarray], light: Bake, look: Look
) -> tuple[dict[str, slice], np.ndarray]:
    """One float32 row per vertex of the parts, and where each attribute stands in it."""
    parts = subject.parts
    own = [_painted(subject, part, look) for part in parts]
    names = sorted({name for scalars in own for name in scalars} | {"strand", "lock", "layer", "along"})
    zeros = [np.zeros(len(part.vertices), np.float32) for part in parts]
    named: dict[str, np.ndarray] = {
        "canonical": np.concatenate([_texture_place(part) for part in parts]),
        "position": np.concatenate([part.vertices for part in parts]),
        "normal": np.concatenate(normals),
        "tangent": np.concatenate(
            [_texture_axis(part, normal) for part, normal in zip(parts, normals, strict=True)]
        ),
        "ambient": light.ambient,
        "openness": light.openness[:, None],
        "lamps": light.lamps,
    }
    for name in names:
        values = [scalars.get(name, zero) for scalars, zero in zip(own, zeros, strict=True)]
        named[f"scalar {name}"] = np.concatenate(values)[:, None]
    columns, at = {}, 0
    for name, column in named.items():
        columns[name] = slice(at, at + column.shape[1])
        at += column.shape[1]
    return columns, np.concatenate([values.astype(np.float32) for values in named.values()], axis=1)


def _painted(subject: Subject, part: Part, look: Look) -> dict[str, np.ndarray]:
    """The part's own scalars, pigments where it is skin, and where hair lets the skin through."""
    if part.label == SKIN:
        return part.scalars | paint_skin(part.canonical, look.skin)
    if part.label not in (HAIR, BEARD):
        return part.scalars
    if part.label == BEARD:
        inside = 12.0 * face_map.beard(part.canonical) - 3.0
    elif (recipe := subject.recipe.get("hair")) and isinstance(recipe, Mapping) and recipe.get("hairline"):
        inside = Hairline(**recipe["hairline"]).distance_mm(part.canonical.astype(np.float64))
    else:
        inside = np.full(len(part.vertices), np.inf)
    bare = curve_module.bare_share(part, subject, inside)[:, None]
    extra = {
        "bare": diffuse_over(bare, part.faces, 20)[:, 0],
        "scalp": np.full(len(part.vertices), 0.6, np.float32),
    }
    return part.scalars | paint_skin(part.canonical, look.skin) | extra


def _texture_place(part: Part) -> np.ndarray:
    """Coordinates for texture: canonical ones, or an eyeball's own frame, which looks where the eye looks."""
    return eye_frame(part)[0] if part.label == EYE else part.canonical


def _texture_axis(part: Part, normal: np.ndarray) -> np.ndarray:
    """Direction of growth, or the gaze of an eye."""
    if part.label == HAIR:
        return _combed(part, normal)
    if part.label != EYE:
        return part.tangent
    return np.broadcast_to(eye_frame(part)[1].astype(np.float32), part.vertices.shape)


def _combed(part: Part, normal: np.ndarray) -> np.ndarray:
    """The part's directions of growth, smoothed over neighbours and laid along the surface."""
    smooth = diffuse_over(part.tangent, part.faces, 12)
    smooth -= np.einsum("ij,ij->i", smooth, normal)[:, None] * normal
    return normalised(smooth).astype(np.float32)


def _points(prepared: Prepared, camera: Camera, fragments: Fragments, kind: int) -> Points:
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


def _shade(points: Points, label: int, prepared: Prepared, *, curve: bool) -> Shaded:
    look, light = prepared.look, prepared.bake
    if label == SKIN:
        return shade_skin(points, look, light)
    if label == EYE:
        return shade_eye(points, look, light)
    if label in (HAIR, BEARD):
        if label == BEARD:
            look = replace(look, hair=replace(look.hair, albedo=look.hair.brow))
        return shade_strands(points, look, light) if curve else _thinning_hair(points, look, light)
    if label in FIBRES:
        dark = 0.35 if label == LASH else 1.0
        albedo = np.broadcast_to(np.array(look.hair.brow, np.float32) * dark, (len(points), 3)).copy()
        still = np.zeros(len(points), np.float32)
        shine = 0.1 if label == LASH else 0.4
        lit = fibre_light(points, points.tangent, albedo, light, look.room.lamps, shine=shine, wobble=still)
        return Shaded(lit, albedo)
    if label == CLOTH:
        return shade_cloth(points, look.cloth, light, look.room)
    return shade_skin(points, look, light)


def _thinning_hair(points: Points, look: Look, light: Bake) -> Shaded:
    """Hair that gives way to skin where it is bare."""
    hair = shade_hair(points, look, light)
    bare = points.scalars["bare"]
    near = np.flatnonzero(bare > 0.01)
    if not len(near):
        return hair
    skin = shade_skin(points.take(near), look, light)
    # Streak by streak: a hair is there or it is not.
    wisp = streaks(points.position[near], points.tangent[near], 0.5, 4.0, look.hair.seed + 9)
    share = np.clip(0.5 + 2.2 * (bare[near] - 0.5) + 0.35 * wisp, 0.0, 1.0)[:, None].astype(np.float32)
    for mixed, under in ((hair.colour, skin.colour), (hair.albedo, skin.albedo)):
        mixed[near] = mixed[near] * (1 - share) + under * share
    return hair


def _background(prepared: Prepared, camera: Camera) -> np.ndarray:
    """The blurred room: looked up at every eighth pixel, which is finer than its blur, and interpolated."""
    step = 8
    rows, columns = -(-camera.height // step) + 1, -(-camera.width // step) + 1
    u, v = np.meshgrid(np.arange(columns) * float(step), np.arange(rows) * float(step))
    _, directions = camera.rays(np.stack([u.ravel(), v.ravel()], axis=1))
    coarse = prepared.look.room.radiance(directions).reshape(rows, columns, 3)
    fine = coarse
    for axis, size in ((0, camera.height), (1, camera.width)):
        at = (np.arange(size) + 0.5) / step
        low = at.astype(np.int64)
        share = (at - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        fine = fine.take(low, axis) * (1 - share) + fine.take(low + 1, axis) * share
    return fine
