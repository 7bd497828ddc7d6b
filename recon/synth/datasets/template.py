"""The template of synthetic heads: the deformation that takes heads to it, and the fine lattice about face and ears.

Identities and expressions are those of the head model; both become linear displacements of space
(`recon.fields.Deformation`), so that distances of all heads can be compared where lids, lips and ears coincide.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.spatial import cKDTree

from recon.errors import SceneError
from recon.fields import Deformation
from recon.fields.stored import check_arguments, check_deformation, check_finite
from recon.files import replacing
from recon.geometry.distance_grid import RegularGrid
from recon.geometry.frames import (
    BOX_HIGH_MM,
    BOX_LOW_MM,
    UNIT_CENTRE_MM,
    UNIT_RADIUS_MM,
    similarity,
)
from recon.reading import number, numbers, reading
from recon.synth.datasets.displacements import (
    DENSITY_MM,
    Lattice,
    density_weights,
    fitted_displacements,
    without_similarity,
)
from recon.synth.model.expression import with_wide_expression
from recon.synth.model.head_model import HeadModel, load_head_model
from recon.synth.model.identity import HeadShape, Identity, draw_identity, shape_head

FORMAT = "headrecon-template-2"
FILE = "template.safetensors"
IDENTITIES, EXPRESSIONS = 64, 20
"""Numbers of components of identity and expression."""
FACE_WEIGHT = 3.0
"""Weight of the face in choosing the components of identity, relative to the rest of the head."""
FINE_MM, FINE_REACH_MM, FINE_EDGE_MM = 1.2, 3.4, 10.0
"""Spacing of the fine lattice, the distance from the template's skin up to which it has values, and the width of the
rim of face and ears over which it fades."""
IDENTITY_CELL_MM, EXPRESSION_CELL_MM = 12.0, 8.0
"""Cells of the lattices of displacements."""
EXPRESSION_LOW_MM, EXPRESSION_HIGH_MM = (-104.0, -160.0, -32.0), (104.0, 120.0, 168.0)
"""Box of the expressions' displacements."""
MOVED_MM = 0.2
"""Vertices that no expression moves further need no displacement."""
FIRST_SEED = 100_000
"""First seed of the expressions: none of them is that of a training head."""
REST = {"eyeBlink_L": 0.19, "eyeBlink_R": 0.19}
"""Expression of the template: the upper lids cover the top of the irises."""
RIDGE = 3e-4
"""Ridge of codes that are fitted to a head's vertices, mm²: what its components cannot follow is not forced on them."""


@dataclass(frozen=True)
class Template:
    """The template of synthetic heads.

    Attributes:
        arguments: Arguments of the deformation.
        deformation: Deformation of heads to the template, canonical unit space.
        fine: The fine lattice, canonical mm.
        inside: Whether a node of the fine lattice has values.
        window: Factor from 0 to 1 of these values, by which the fine lattice fades at the edge of the face.
    """

    arguments: Mapping[str, Any]
    deformation: Deformation
    fine: RegularGrid
    inside: Bool[np.ndarray, "x y z"]
    window: Float[np.ndarray, " band"]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        state = self.deformation.state_dict()
        content = hashlib.sha256(json.dumps(self.arguments, sort_keys=True).encode())
        for name in sorted(state):
            content.update(state[name].numpy().tobytes())
        content.update(np.packbits(self.inside).tobytes())
        content.update(self.window.astype(np.float32).tobytes())
        return content.hexdigest()

    def code_of(
        self,
        skin: Float[np.ndarray, "fine 3"],
        neutral: Float[np.ndarray, "fine 3"],
        rest: Float[np.ndarray, "fine 3"],
    ) -> Float[np.ndarray, " modes"]:
        """The code of the deformation of a head, by least squares over vertices of its skin.

        Args:
            skin: Vertices of the head, canonical mm.
            neutral: Vertices of the same identity without expression, canonical mm.
            rest: Vertices of the template.
        """
        chosen = np.arange(0, len(rest), 7)
        at = torch.from_numpy(to_unit(rest[chosen])).float()
        modes = self.deformation.identity.at(at).double().numpy() * UNIT_RADIUS_MM
        w = _ridge(modes, neutral[chosen] - rest[chosen])
        code = torch.zeros(self.deformation.modes, dtype=torch.float64)
        code[: len(w)] = torch.from_numpy(w)
        undone, _ = self.deformation.of(code).to_template(torch.from_numpy(to_unit(skin[chosen])))
        modes = self.deformation.expression.at(undone.float()).double().numpy() * UNIT_RADIUS_MM
        # What is left of the identity is no expression.
        left, _ = self.deformation.of(code).to_template(torch.from_numpy(to_unit(neutral[chosen])))
        e = _ridge(modes, (left - undone).numpy() * UNIT_RADIUS_MM)
        return np.concatenate([w, e])

    def to_template(
        self, points: Float[np.ndarray, "points 3"], code: Float[np.ndarray, " modes"]
    ) -> Float[np.ndarray, "points 3"]:
        """Points of a head on the template, canonical mm."""
        head = self.deformation.of(torch.from_numpy(code).double())
        found = head.to_template(torch.from_numpy(to_unit(points)))[1].numpy()
        result: np.ndarray = found * UNIT_RADIUS_MM + np.asarray(UNIT_CENTRE_MM)
        return result


def to_unit(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Canonical mm to canonical unit space."""
    result: np.ndarray = (points - np.asarray(UNIT_CENTRE_MM)) / UNIT_RADIUS_MM
    return result


def _ridge(
    modes: Float[np.ndarray, "points 3 modes"], wanted: Float[np.ndarray, "points 3"]
) -> Float[np.ndarray, " modes"]:
    matrix = modes.reshape(-1, modes.shape[2])
    normal = matrix.T @ matrix / len(modes) + RIDGE * np.eye(modes.shape[2])
    result: np.ndarray = np.linalg.solve(normal, matrix.T @ wanted.reshape(-1) / len(modes))
    return result


def rest_skin(model: HeadModel) -> Float[np.ndarray, "fine 3"]:
    """Vertices of the template's skin: the mean head of the model with resting lids, canonical mm."""
    return shape_head(model, Identity(np.zeros(len(model.skin_identity)), REST)).skin


def at_rest(model: HeadModel, identity: Identity) -> tuple[HeadShape, Float[np.ndarray, "4 4"]]:
    """A head without its expression, in its own frame, and the similarity from that frame to the canonical one by its
    landmarks: an expression does not move a head.
    """
    shape = shape_head(model, Identity(identity.identity, REST))
    return shape, similarity(shape.landmarks68, rest_skin(model)[model.landmarks])


def fit_template(model: HeadModel | None = None, *, expressions: int = 120) -> Template:
    """Fits the template's deformation to the head model; the same model gives the same template.

    Args:
        model: Head model; by default the one of `load_head_model()`.
        expressions: Number of expressions from which its components are learned.
    """
    model = model or load_head_model()
    skin = rest_skin(model)
    own = model.refinement.matrix.shape[0]
    face = model.refinement.matrix @ model.face_vertex > 0.5
    places = _lattice_arguments(
        np.array(BOX_LOW_MM) - IDENTITY_CELL_MM, np.array(BOX_HIGH_MM), IDENTITY_CELL_MM
    )
    modes = _identity_modes(model, skin[:own], face)
    density = DENSITY_MM / UNIT_RADIUS_MM
    fitted = fitted_displacements(Lattice(**places), to_unit(skin[:own]), modes.reshape(own, -1), density)
    identity = fitted.reshape(-1, *modes.shape[1:])
    local = _lattice_arguments(np.array(EXPRESSION_LOW_MM), np.array(EXPRESSION_HIGH_MM), EXPRESSION_CELL_MM)
    expression = _expression_modes(model, skin[:own], Lattice(**local, closed=True), expressions)
    arguments = {
        "identity": {**places, "modes": identity.shape[1]},
        "expression": {**local, "modes": expression.shape[1]},
    }
    deformation = Deformation(**arguments).requires_grad_(False)
    for part, found in ((deformation.identity, identity), (deformation.expression, expression)):
        rows = found.transpose(0, 2, 1).reshape(len(found), -1) / UNIT_RADIUS_MM
        part.rows.copy_(torch.from_numpy(rows).half())
    return Template(arguments, deformation, *_fine_lattice(skin[:own], face))


def _lattice_arguments(low_mm: np.ndarray, high_mm: np.ndarray, cell_mm: float) -> dict[str, Any]:
    """Corners and cells of a lattice that covers a box, canonical unit space."""
    cells = np.ceil((high_mm - low_mm) / cell_mm - 1e-9).astype(int) + 1
    return {
        "low": to_unit(low_mm).tolist(),
        "high": to_unit(low_mm + cells * cell_mm).tolist(),
        "cells": cells.tolist(),
    }


def _identity_modes(
    model: HeadModel, skin: Float[np.ndarray, "points 3"], face: Bool[np.ndarray, " points"]
) -> Float[np.ndarray, "points modes 3"]:
    """Principal components of the displacements of identities, mm, for codes of unit variance."""
    matrix = model.refinement.matrix
    modes = np.stack([matrix @ direction.astype(np.float64) for direction in model.skin_identity], axis=1)
    modes = without_similarity(modes, skin, model.landmarks)
    weights = density_weights(skin, DENSITY_MM) * np.where(face, FACE_WEIGHT, 1.0)
    flat = modes.transpose(1, 0, 2).reshape(modes.shape[1], -1)
    weighted = flat * np.sqrt(np.repeat(weights, 3))
    values, vectors = np.linalg.eigh(weighted @ weighted.T)
    order = np.argsort(values)[::-1][:IDENTITIES]
    result: np.ndarray = np.einsum("km,pkd->pmd", _signed(vectors[:, order]), modes)
    return result


def _signed(vectors: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
    """Vectors whose largest entry is positive: signs of eigenvectors are arbitrary."""
    result: np.ndarray = vectors * np.sign(
        vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    )
    return result


def _expression_modes(
    model: HeadModel, skin: Float[np.ndarray, "points 3"], lattice: Lattice, count: int
) -> Float[np.ndarray, "nodes modes 3"]:
    """Components of the displacements that undo expressions, mm, for codes of unit mean square; no expression is 0."""
    moves = np.linalg.norm(model.skin_expression, axis=2).max(axis=0) > MOVED_MM
    chosen = np.flatnonzero(model.refinement.matrix @ moves.astype(float) > 0.5)[::2]
    fields = []
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        drawn = with_wide_expression(model, draw_identity(model, seed, "train"), seed, "train").expression
        moved = shape_head(model, Identity(np.zeros(len(model.skin_identity)), drawn)).skin[chosen]
        found = fitted_displacements(
            lattice, to_unit(moved), skin[chosen] - moved, DENSITY_MM / UNIT_RADIUS_MM
        )
        fields.append(found.ravel())
    flat = np.stack(fields).astype(np.float64)
    values, vectors = np.linalg.eigh(flat @ flat.T)
    order = np.argsort(values)[::-1][:EXPRESSIONS]
    components = _signed(vectors[:, order]).T @ flat / np.sqrt(count)
    return components.reshape(len(order), -1, 3).transpose(1, 0, 2)


def _fine_lattice(
    skin: Float[np.ndarray, "points 3"], face: Bool[np.ndarray, " points"]
) -> tuple[RegularGrid, Bool[np.ndarray, "x y z"], Float[np.ndarray, " band"]]:
    """The fine lattice about face and ears, its nodes near the skin, and the window by which it fades."""
    inner = skin[face]
    grid = RegularGrid.around(inner.min(axis=0), inner.max(axis=0), FINE_MM, FINE_REACH_MM + 2 * FINE_MM)
    nodes = np.stack(np.meshgrid(*(grid.axis(axis) for axis in range(3)), indexing="ij"), axis=-1)
    distance, nearest = cKDTree(inner).query(nodes.reshape(-1, 3), distance_upper_bound=FINE_REACH_MM)
    inside = np.isfinite(distance)
    from_edge, _ = cKDTree(skin[~face]).query(inner)
    rim = np.clip(from_edge[nearest[inside]] / FINE_EDGE_MM, 0, 1)
    layer = np.clip((FINE_REACH_MM - distance[inside]) / FINE_MM, 0, 1)
    window = _smooth_step(rim) * _smooth_step(layer)
    return grid, inside.reshape(grid.shape), window.astype(np.float32)


def _smooth_step(t: np.ndarray) -> np.ndarray:
    result: np.ndarray = t * t * (3 - 2 * t)
    return result


def write_template(path: Path, template: Template) -> None:
    """Writes a template."""
    metadata = {
        "format": FORMAT,
        "arguments": json.dumps(template.arguments),
        "origin_mm": json.dumps(template.fine.origin.tolist()),
        "spacing_mm": json.dumps(template.fine.spacing_mm),
    }
    tensors = {
        **template.deformation.state_dict(),
        "inside": torch.from_numpy(template.inside),
        "window": torch.from_numpy(template.window),
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata)


def read_template(path: Path) -> Template:
    """Reads a template.

    Raises:
        SceneError: The file is missing or of another format.
    """
    with reading(path, SceneError, "a template", "remove it, and it is made anew"):
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise SceneError(
                    f"{path} has format {metadata.get('format')!r}, expected {FORMAT!r}; make it anew"
                )
            arguments = check_arguments(json.loads(metadata["arguments"]))
            check_deformation(arguments, {name: file.get_slice(name).get_shape() for name in file.keys()})
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        inside, window = tensors.pop("inside").numpy(), tensors.pop("window").numpy()
        deformation = Deformation(**arguments).requires_grad_(False)
        deformation.load_state_dict(tensors)
        check_finite({**tensors, "window": torch.from_numpy(window)})
        if inside.dtype != bool or inside.ndim != 3 or window.shape != (int(inside.sum()),):
            raise ValueError("its fine lattice and the window of it do not fit each other")
        origin = numbers(json.loads(metadata["origin_mm"]), (3,), "origin_mm")
        spacing = number(json.loads(metadata["spacing_mm"]), "spacing_mm", positive=True)
        x, y, z = inside.shape
    return Template(arguments, deformation, RegularGrid(origin, spacing, (x, y, z)), inside, window)
