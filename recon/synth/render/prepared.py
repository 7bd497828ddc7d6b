"""Subjects prepared for photographs: everything that does not depend on the view is merged, baked and painted."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from recon.synth.hair.curves import Curves, surface_normals
from recon.synth.hair.face_hair import grow_brows, grow_lashes
from recon.synth.hair.scalp import Hairline
from recon.synth.hair.surface_strands import Hull, bare_share, grow_hairline, hair_curves
from recon.synth.model import face_map
from recon.synth.parts import BEARD, BROW, EYE, HAIR, LASH, SKIN, Part, Subject
from recon.synth.render.appearance import Appearance
from recon.synth.render.eyes import eye_frame
from recon.synth.render.light import Bake, bake, diffuse_over
from recon.synth.render.shading import normalised
from recon.synth.render.skin import paint_skin


@dataclass(frozen=True)
class PreparedSubject:
    """A subject ready to be photographed.

    Attributes:
        subject: The person.
        appearance: Its colours and its room.
        vertices: Positions of all parts, then of all curves, mm.
        normals: Unit normals.
        faces: Triangles of all parts.
        segments: Segments of all curves.
        segment_width_mm: Width of each segment.
        kind: Number of the surface that each primitive belongs to: parts first, then curves.
        labels: Label of every surface.
        attributes: Vertex attributes, float32 columns named by `columns`.
        columns: Slices of `attributes` by name.
        bake: Light at the vertices of the parts.
    """

    subject: Subject
    appearance: Appearance
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


def prepare(subject: Subject, appearance: Appearance, *, strands: bool = True) -> PreparedSubject:
    """Merges, bakes and paints a subject.

    Args:
        subject: The person.
        appearance: Colours and room.
        strands: Whether to draw the subject's strands over its hair surface.

    Returns:
        Arrays that all views share.
    """
    parts = subject.parts
    normals = [surface_normals(part.vertices, part.faces) for part in parts]
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    vertices = np.concatenate([part.vertices for part in parts])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts[:-1], strict=True)])
    light = bake(vertices, np.concatenate(normals), faces, appearance.room)
    light = _soften(light, parts, starts)
    normals = [
        normalised(diffuse_over(normal, part.faces, 8)) if part.label == HAIR else normal
        for part, normal in zip(parts, normals, strict=True)
    ]
    hairs, anchors = _grow(subject, appearance, parts, normals, light, starts, strands)
    columns, attributes = _attributes(subject, normals, light, appearance)
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
    return PreparedSubject(
        subject=subject,
        appearance=appearance,
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
    appearance: Appearance,
    parts: tuple[Part, ...],
    normals: list[np.ndarray],
    light: Bake,
    starts: np.ndarray,
    strands: bool,
) -> tuple[list[Curves], list[np.ndarray]]:
    """Single hairs, and for each of their vertices the merged vertex that lends its light."""
    names = [part.name for part in parts]
    present = {part.label for part in parts}
    skin, seed = names.index("skin"), appearance.hair.seed
    grown: list[tuple[Curves, int]] = []
    if BROW not in present:
        brows = grow_brows(subject, parts[skin].vertices, normals[skin], density=1.0, seed=seed)
        grown.append((brows, skin))
    if LASH not in present:
        lashes = grow_lashes(subject, parts[skin].vertices, normals[skin], seed=seed)
        grown.append((lashes, skin))
    if strands and subject.strands is not None and "hair" in names:
        hair = names.index("hair")
        hull = _hull(parts[hair], normals[hair], light.openness[starts[hair] : starts[hair + 1]])
        curves = hair_curves(subject, hull, seed=seed)
        grown.append((curves, hair))
        exposed = light.openness[starts[skin] : starts[skin + 1]] > 0.15
        length = float(np.clip(0.5 * _median_length(subject), 2.0, 13.0))
        fine = grow_hairline(parts[skin], normals[skin], exposed, hull, length_mm=length, seed=seed)
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
    subject: Subject, normals: list[np.ndarray], light: Bake, appearance: Appearance
) -> tuple[dict[str, slice], np.ndarray]:
    """One float32 row per vertex of the parts, and where each attribute stands in it."""
    parts = subject.parts
    own = [_painted(subject, part, appearance) for part in parts]
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


def _painted(subject: Subject, part: Part, appearance: Appearance) -> dict[str, np.ndarray]:
    """The part's own scalars, pigments where it is skin, and where hair lets the skin through."""
    if part.label == SKIN:
        return part.scalars | paint_skin(part.canonical, appearance.skin)
    if part.label not in (HAIR, BEARD):
        return part.scalars
    if part.label == BEARD:
        inside = 12.0 * face_map.beard(part.canonical) - 3.0
    elif (recipe := subject.recipe.get("hair")) and isinstance(recipe, Mapping) and recipe.get("hairline"):
        inside = Hairline(**recipe["hairline"]).distance_mm(part.canonical.astype(np.float64))
    else:
        inside = np.full(len(part.vertices), np.inf)
    bare = bare_share(part, subject, inside)[:, None]
    extra = {
        "bare": diffuse_over(bare, part.faces, 20)[:, 0],
        "scalp": np.full(len(part.vertices), 0.6, np.float32),
    }
    return part.scalars | paint_skin(part.canonical, appearance.skin) | extra


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
