"""Whole synthetic people: `make_subject(seed)` draws identity, expression, hair and clothes and builds them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import trimesh

from recon.errors import ConfigError
from recon.synth.body.bust import Bust, draw_bust, garment_mesh
from recon.synth.body.neck import draw_turn, turned_on_neck
from recon.synth.body.truth import mark_regions, nearest_vertices, union_mesh
from recon.synth.hair.build import Growth, Skin, build_hair, collision_field
from recon.synth.hair.parameters import HairStyle
from recon.synth.hair.scalp import Hairline, draw_hairline, scalp_mask
from recon.synth.hair.styles import SHORT_FAMILIES, draw_beard, draw_style
from recon.synth.hair.wide_styles import draw_long_beard, draw_receded_hairline
from recon.synth.model.expression import with_wide_expression
from recon.synth.model.head_model import H3DS_LANDMARKS, HeadModel, load_head_model
from recon.synth.model.identity import HeadShape, Identity, draw_identity, generator, shape_head
from recon.synth.model.regions import beard_distance_mm, brow_mask, ear_zone, face_zone, lip_mask, nose_zone
from recon.synth.parts import CLOTH, EYE, SKIN, Part, Strands, Subject

_WIDE = 2
"""Purpose of the random generator of wide people."""

_TURN = 5
"""Purpose of the random generator of heads that are turned on their necks."""

_LONG_BEARDS = 0.12


def make_subject(
    seed: int,
    *,
    split: str = "train",
    style: str | None = None,
    model: HeadModel | None = None,
    spacing_mm: float = 1.5,
    wide: bool = False,
) -> Subject:
    """Draws and builds one synthetic person. The same arguments give the same bytes.

    Args:
        seed: Which person of the split; not negative.
        split: "train", "val" or "test"; no identity or style parameter of one split occurs in another.
        style: Hair family, one of `recon.synth.hair.WIDE_SHARES`; drawn by default.
        model: Head model; by default the one of `load_head_model()`.
        spacing_mm: Grid spacing of the truth's distance field.
        wide: Draw from wider people: more families of hair, long beards, strong expressions. The shape of the
            head stays that of the seed.

    Raises:
        ConfigError: Unknown split or style, negative seed, or no head model.
    """
    model = model or load_head_model()
    recipe = draw_recipe(seed, split=split, style=style, model=model, wide=wide)
    return build_subject(recipe, model=model, spacing_mm=spacing_mm)


def draw_recipe(
    seed: int,
    *,
    split: str = "train",
    style: str | None = None,
    model: HeadModel | None = None,
    wide: bool = False,
    expressive: bool = False,
    turned: bool = False,
) -> dict[str, Any]:
    """Draws everything about one person, without building it; arguments as for `make_subject`.

    Args:
        seed: Which person of the split; not negative.
        split: "train", "val" or "test".
        style: Hair family; drawn by default.
        model: Head model; by default the one of `load_head_model()`.
        wide: Draw from wider people.
        expressive: Draw from wide expressions, and everything else as usual; the seed chooses the same person.
        turned: Turn the head on its neck, up to 30 degrees to a side and 20 up, down or to a shoulder.

    Returns:
        A JSON-ready dictionary: name, seed, split, identity, hair (None for a bald head), beard (or None),
        bust and person (age in years, melanin and redness of the skin, hair colour, in [0, 1]); with `turned`
        also body_turn, the rotation vector of the body against the head in radians.
    """
    model = model or load_head_model()
    identity = draw_identity(model, seed, split)
    if wide or expressive:
        identity = with_wide_expression(model, identity, seed, split)
    rng = generator(seed, split, purpose=_WIDE if wide else 1)
    age = float(rng.uniform(18, 75))
    hair, beard = _draw_growths(rng, split, style, age, wide)
    kind = "wide-" * wide + "expressive-" * (expressive and not wide) + "turned-" * turned
    turn = draw_turn(generator(seed, split, purpose=_TURN)).round(6).tolist() if turned else None
    return {
        "name": f"{split}-{kind}{seed:06d}",
        "seed": seed,
        "split": split,
        "identity": identity.recipe(),
        "hair": hair,
        "beard": beard,
        "bust": draw_bust(rng).recipe(),
        "person": {
            "age_years": age,
            "melanin": float(rng.beta(1.3, 1.8)),
            "redness": float(rng.uniform()),
            "hair_melanin": float(rng.beta(2.0, 1.2)),
            "hair_redness": float(rng.uniform() ** 2),
            "hair_grey": float(np.clip((age - 38) / 40, 0, 1) * rng.uniform()),
            "stubble": float(max(rng.uniform(-1.2, 1.0), 0.0)),
        },
        **({} if turn is None else {"body_turn": turn}),
    }


def _draw_growths(
    rng: np.random.Generator, split: str, style: str | None, age: float, wide: bool
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Draws the recipes of hair and beard, each None where there is none."""
    drawn = draw_style(rng, split, style, wide=wide)
    short = drawn is None or drawn.family in (*SHORT_FAMILIES, "undercut", "receding")
    hair = None
    if drawn is not None:
        if drawn.family == "receding":
            hairline = draw_receded_hairline(rng)
        else:
            hairline = draw_hairline(rng, float(np.clip((age - 25) / 60, 0, 0.8)) * (1.0 if short else 0.15))
        hair = Growth(drawn, hairline, None, int(rng.integers(2**31))).recipe()
    if wide and rng.uniform() < _LONG_BEARDS:
        long_beard, coverage = draw_long_beard(rng, split)
        return hair, Growth(long_beard, None, coverage, int(rng.integers(2**31))).recipe()
    beard = None
    if rng.uniform() < (0.28 if short else 0.06):
        beard = Growth(*_beard(rng, split), int(rng.integers(2**31))).recipe()
    return hair, beard


def build_subject(
    recipe: Mapping[str, Any], *, model: HeadModel | None = None, spacing_mm: float | None = 1.5
) -> Subject:
    """Builds the person of a recipe (see `draw_recipe`).

    Args:
        recipe: Everything that was drawn.
        model: Head model; by default the one of `load_head_model()`.
        spacing_mm: Grid spacing of the truth's distance field; None leaves out truth and regions, as photographs
            need neither.

    Raises:
        ConfigError: The recipe lacks a part, or there is no head model.
    """
    model = model or load_head_model()
    try:
        identity = Identity.from_recipe(recipe["identity"])
        bust = Bust.from_recipe(recipe["bust"])
        hair, beard = (
            Growth.from_recipe(r) if r is not None else None for r in (recipe["hair"], recipe["beard"])
        )
        seed, name = int(recipe["seed"]), str(recipe["name"])
        turn = np.asarray(recipe.get("body_turn", np.zeros(3)), dtype=np.float64).reshape(3)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"not a subject's recipe ({error}); `draw_recipe` makes one") from error
    shape = shape_head(model, identity)
    topology = model.refinement
    neck = next(cap for cap in topology.caps if cap.name == "neck")
    garment = garment_mesh(bust, shape.skin, topology.faces, neck.loop)
    cloth = np.asarray(garment.vertices), np.asarray(garment.faces, dtype=np.int64)

    canonical = topology.canonical
    inside_mm = hair.inside_mm(model, canonical) if hair is not None else np.full(len(canonical), -1.0)
    parts = [_skin_part(model, shape, inside_mm, hair), *_eye_parts(model, shape), _cloth_part(*cloth)]
    strands = None
    skin = Skin(shape.skin, topology.faces, canonical, topology.faces[topology.cap_of_face == 0])
    grown = [growth for growth in (hair, beard) if growth is not None]
    if grown:
        scalp = Hairline().distance_mm(canonical) > 5.0
        body = collision_field(skin, cloth, scalp, max(growth.style.reach_mm() for growth in grown))
    for growth in grown:
        part, curves = build_hair(growth, skin, body, growth.inside_mm(model, canonical))
        parts.append(part)
        strands = curves if growth is hair else strands
    landmarks = {key: shape.landmarks68[index] for key, index in H3DS_LANDMARKS.items()}
    marks, drawn = shape.landmarks68, dict(recipe)
    subject = Subject(seed, name, tuple(parts), trimesh.Trimesh(), landmarks, marks, {}, {}, strands, drawn)
    if spacing_mm is not None:
        subject = with_truth(subject, union_mesh([(part.vertices, part.faces) for part in parts], spacing_mm))
    return turned_on_neck(subject, turn) if turn.any() else subject


def build_subject_without_hair(
    recipe: Mapping[str, Any], *, model: HeadModel | None = None
) -> tuple[Subject, HeadShape]:
    """Builds the person of a recipe without hair on the head and without truth, which is all that portraits need.

    Returns:
        The person, and the surfaces of the head.

    Raises:
        ConfigError: The recipe lacks a part, or there is no head model.
    """
    model = model or load_head_model()
    try:
        identity, bust = Identity.from_recipe(recipe["identity"]), Bust.from_recipe(recipe["bust"])
        beard = Growth.from_recipe(recipe["beard"]) if recipe["beard"] is not None else None
        seed, name = int(recipe["seed"]), str(recipe["name"])
    except (KeyError, TypeError) as error:
        raise ConfigError(f"not a subject's recipe ({error}); `draw_recipe` makes one") from error
    shape, topology = shape_head(model, identity), model.refinement
    neck = next(cap for cap in topology.caps if cap.name == "neck")
    garment = garment_mesh(bust, shape.skin, topology.faces, neck.loop)
    cloth = np.asarray(garment.vertices), np.asarray(garment.faces, dtype=np.int64)
    bare = np.full(len(topology.canonical), -1.0)
    parts = [_skin_part(model, shape, bare, None), *_eye_parts(model, shape), _cloth_part(*cloth)]
    if beard is not None:
        parts.append(_grown(beard, model, shape, cloth)[0])
    subject = Subject(
        seed, name, tuple(parts), trimesh.Trimesh(), {}, shape.landmarks68, {}, {}, None, dict(recipe)
    )
    return subject, shape


def _grown(
    growth: Growth, model: HeadModel, shape: HeadShape, cloth: tuple[np.ndarray, np.ndarray]
) -> tuple[Part, Strands]:
    """Grows the hair or beard of one growth on a head."""
    topology = model.refinement
    skin = Skin(shape.skin, topology.faces, topology.canonical, topology.faces[topology.cap_of_face == 0])
    scalp = Hairline().distance_mm(topology.canonical) > 5.0
    body = collision_field(skin, cloth, scalp, growth.style.reach_mm())
    return build_hair(growth, skin, body, growth.inside_mm(model, topology.canonical))


def with_truth(subject: Subject, truth: trimesh.Trimesh) -> Subject:
    """Returns the subject with another mesh of the same surface as truth; landmarks and regions follow it."""
    vertices = np.asarray(truth.vertices)
    return replace(
        subject,
        truth=truth,
        landmark_vertices=nearest_vertices(vertices, subject.landmarks),
        regions=mark_regions(vertices, subject.parts, subject.landmarks["nose_tip"]),
    )


def _beard(rng: np.random.Generator, split: str) -> tuple[HairStyle, None, str]:
    style, coverage = draw_beard(rng, split)
    return style, None, coverage


def _skin_part(model: HeadModel, shape: HeadShape, inside_mm: np.ndarray, hair: Growth | None) -> Part:
    canonical = model.refinement.canonical
    scalp = scalp_mask(inside_mm) if hair is not None else np.zeros(len(canonical))
    mouth = next(cap for cap in model.refinement.caps if cap.name == "mouth")
    inner = np.zeros(len(canonical))
    inner[mouth.loop] = 0.5
    inner[mouth.apex] = 1.0
    beard = np.clip(beard_distance_mm(model, canonical) / 10.0, 0, 1)
    in_face = np.zeros(len(canonical), dtype=bool)
    in_face[: model.refinement.matrix.shape[0]] = model.refinement.matrix @ model.face_vertex > 0.5
    scalars = {
        "scalp": scalp,
        "face": face_zone(canonical, in_face, inside_mm),
        "nose": nose_zone(canonical),
        "ear": ear_zone(canonical),
        "stubble": beard,
        "brow": brow_mask(model, canonical),
        "lip": lip_mask(model, canonical),
        "mouth": inner,
    }
    return Part(
        "skin",
        shape.skin,
        model.refinement.faces,
        canonical.astype(np.float32),
        np.zeros(canonical.shape, dtype=np.float32),
        SKIN,
        {name: value.astype(np.float32) for name, value in scalars.items()},
    )


def _eye_parts(model: HeadModel, shape: HeadShape) -> list[Part]:
    parts = []
    for side, name in enumerate(("eye_left", "eye_right")):
        vertices, faces = shape.eyes[side], model.eye_refinement[side][0]
        arm = vertices - shape.eye_centres[side]
        gaze = shape.irises[side] - shape.eye_centres[side]
        cosine = arm @ gaze / np.maximum(np.linalg.norm(arm, axis=1) * np.linalg.norm(gaze), 1e-9)
        from_axis = np.arccos(np.clip(cosine, -1, 1)) * np.linalg.norm(arm, axis=1)
        neutral = model.eye_refinement[side][1] @ model.eyes[side]
        parts.append(
            Part(
                name,
                vertices,
                faces,
                neutral.astype(np.float32),
                np.zeros(vertices.shape, dtype=np.float32),
                EYE,
                {"gaze_mm": from_axis.astype(np.float32)},
            )
        )
    return parts


def _cloth_part(vertices: np.ndarray, faces: np.ndarray) -> Part:
    still = np.zeros(vertices.shape, dtype=np.float32)
    return Part("cloth", vertices, faces, vertices.astype(np.float32), still, CLOTH)
