"""What a template adds to prior=pca: its deformation of space, and a fine lattice about face and ears."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32
from torch import Tensor

from recon.fields import Deformation
from recon.geometry.frames import BOX_LOW_MM
from recon.priors import CanonicalFrame
from recon.priors.data.dataset import HeadData, SampleFolder
from recon.priors.pca.principal import GridComponents, fine_components
from recon.synth.datasets.sample_files import TEMPLATE_FILE
from recon.synth.datasets.template import Template, read_template

JUDGED_NODES = 20_000
"""Number of nodes at which it is measured how far each component moves the surface."""


@dataclass(frozen=True)
class TemplateDetail:
    """Deformation and fine lattice of a shape model.

    Attributes:
        arguments: Arguments of the `PCAShapeModel`.
        state: Tensors of its state.
    """

    arguments: Mapping[str, Any]
    state: Mapping[str, Tensor]


def template_of(data: HeadData) -> Template | None:
    """The template that the lattices of samples were taken to; None where there is none.

    Raises:
        SceneError: The file of the template is missing or cannot be read.
    """
    if not isinstance(data, SampleFolder) or not data.has_template:
        return None
    return read_template(data.folder.parent / TEMPLATE_FILE)


def lattice_arguments(
    canonical: CanonicalFrame, origin_mm: Sequence[float], shape: Sequence[int], spacing_mm: float
) -> dict[str, Any]:
    """Box and cells, in canonical unit space, of a grid whose inner values sit on the nodes of a lattice.

    Args:
        canonical: Canonical frame.
        origin_mm: First node of the lattice, canonical mm.
        shape: Nodes along x, y, z.
        spacing_mm: Spacing of the nodes.
    """
    first = (np.array(origin_mm) - canonical.centre_mm) / canonical.radius_mm
    spacing = spacing_mm / canonical.radius_mm
    low = first - spacing / 2
    return {
        "low": low.tolist(),
        "high": (low + np.array(shape) * spacing).tolist(),
        "cells": [int(n) for n in shape],
    }


def detailed(
    template: Template,
    scale: Float32[np.ndarray, " modes"],
    data: SampleFolder,
    found: GridComponents,
    workers: int,
) -> tuple[TemplateDetail, GridComponents]:
    """Makes deformation and fine lattice, and sorts all components by how far they move the surface.

    Args:
        template: The template.
        scale: Root mean squares of the codes of the deformation, which have unit variance in the shape model.
        data: The heads.
        found: Components of the whole lattice, those of the deformation first.
        workers: Number of threads.
    """
    canonical = data.canonical
    rescaled = {}
    first = 0
    for name in ("identity", "expression"):
        modes = getattr(template.deformation, name)
        own = torch.from_numpy(scale[first : first + modes.modes]).repeat(3)
        rescaled[name] = (modes.rows.float() * own).half()
        first += modes.modes
    order = np.argsort(-_energies(template.arguments, rescaled, found, canonical, data.lattice_mm or 0.0))
    order = order.copy()
    found = replace(
        found,
        rows_mm=_columns(found.rows_mm, order),
        codes=found.codes[:, order],
        projection=found.projection[order],
        windows=found.windows[order],
    )
    radius, fine = canonical.radius_mm, template.fine
    places = fine.origin + np.argwhere(template.inside) * fine.spacing_mm
    mean, rows = fine_components(data.of_all("fine"), template.inside, places, found, workers)
    place = np.argsort(order)[:first]
    arguments = {
        "deformation": {**template.arguments, "components": [int(n) for n in place]},
        "fine": {
            **lattice_arguments(canonical, fine.origin.tolist(), fine.shape, fine.spacing_mm),
            "band": int(template.inside.sum()),
        },
    }
    padded = np.pad(template.inside, 1)
    zero = np.zeros((1, rows.shape[1]), np.float16)
    state = {
        **{f"deformation.{name}.rows": rows_of for name, rows_of in rescaled.items()},
        "fine.mean": torch.from_numpy(mean / np.float32(radius)),
        "fine.rows": torch.from_numpy(np.concatenate([rows, zero])).div_(radius),
        "fine.nodes": torch.from_numpy(np.flatnonzero(padded).astype(np.int32)),
    }
    return TemplateDetail(arguments, state), found


def _energies(
    arguments: Mapping[str, Any],
    rescaled: Mapping[str, Tensor],
    found: GridComponents,
    canonical: CanonicalFrame,
    spacing_mm: float,
) -> Float[np.ndarray, " components"]:
    """Mean squares of how far components move the surface, by the weights of the band."""
    deformation = Deformation(arguments["identity"], arguments["expression"])
    for name, rows in rescaled.items():
        getattr(deformation, name).rows.copy_(rows)
    band = found.band
    rng = np.random.default_rng(0)
    chance = band.weights / band.weights.sum()
    chosen = np.sort(rng.choice(len(band.weights), JUDGED_NODES, p=chance))
    nodes = np.argwhere(band.inside)[chosen]
    slope = np.stack(np.gradient(band.mean_mm, spacing_mm), axis=-1)[tuple(nodes.T)]
    places = (np.array(BOX_LOW_MM) + nodes * spacing_mm - canonical.centre_mm) / canonical.radius_mm
    points = torch.from_numpy(places).float()
    still = deformation.of(torch.zeros(deformation.modes))
    by_point = torch.from_numpy(slope).float()
    moved = still.by_code(points, by_point, by_point).numpy() * canonical.radius_mm
    changes = found.rows_mm[chosen].astype(np.float32)
    changes[:, : moved.shape[1]] += moved
    result: np.ndarray = (changes**2).mean(axis=0)
    return result


def _columns(rows: Float16[np.ndarray, "n k"], order: np.ndarray) -> Float16[np.ndarray, "n k"]:
    """Columns in another order; in blocks, since the array is large."""
    for start in range(0, len(rows), 65_536):
        rows[start : start + 65_536] = rows[start : start + 65_536][:, order]
    return rows
