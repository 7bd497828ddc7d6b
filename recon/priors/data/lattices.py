"""Distances of all training heads on one lattice: initial codes by principal components, and cheap training steps."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, Int
from scipy.ndimage import map_coordinates

from recon.errors import PriorError
from recon.geometry.frames import BOX_HIGH_MM, BOX_LOW_MM, FACE_RADIUS_MM, LANDMARKS_MM, CanonicalFrame
from recon.priors.data.batches import LatticeBatch
from recon.priors.data.components import Components, closeness, principal_components, spline_values
from recon.priors.data.dataset import HeadData
from recon.priors.network import FeatureGridSDFNetwork

log = logging.getLogger(__name__)

REACH_MM = 8.0
"""Distance from the surface of a head at which a node has 1/e of the weight of one on it."""
FACE_FACTOR = 2.0
"""Factor of the weight of a node near the face."""
OUTER_SHARE, OUTER_MM = 0.15, 100.0
"""Share of the draws that are uniform over the nodes whose mean distance is below this."""


@dataclass(frozen=True)
class Lattices:
    """Signed distances of all heads at the lattice nodes that training may draw.

    Attributes:
        canonical: CanonicalFrame frame.
        spacing_mm: Spacing of the lattice.
        mean: Mean signed distance at every node, mm.
        points: The nodes that may be drawn, canonical unit space.
        distances: Signed distances of the heads there, mm.
        weights: Weights of these nodes; they sum to 1.
        cumulative: Cumulative probability by which nodes are drawn.
    """

    canonical: CanonicalFrame
    spacing_mm: float
    mean: Float32[np.ndarray, "x y z"]
    points: Float32[np.ndarray, "nodes 3"]
    distances: Float16[np.ndarray, "nodes heads"]
    weights: Float[np.ndarray, " nodes"]
    cumulative: Float[np.ndarray, " nodes"]

    def draw(self, count: int, seed: int, step: int) -> LatticeBatch:
        """Nodes of a step with the distances of all heads."""
        at = self.nodes(count, np.random.default_rng([seed, 4, step]), self.cumulative)
        distances = self.distances[at].astype(np.float32) / np.float32(self.canonical.radius_mm)
        return LatticeBatch(torch.from_numpy(self.points[at]), torch.from_numpy(distances))

    def components(self, count: int, seed: int, nodes: int = 150_000) -> Components:
        """Principal components of the heads at nodes drawn by weight."""
        rng = np.random.default_rng([seed, 5])
        at = self.nodes(nodes, rng, np.cumsum(self.weights))
        return principal_components(self.distances[at].T, np.ones(nodes), count)

    @staticmethod
    def nodes(
        count: int, rng: np.random.Generator, cumulative: Float[np.ndarray, " nodes"]
    ) -> Int[np.ndarray, " count"]:
        """Nodes drawn by cumulative probability, in the order of memory."""
        at = np.searchsorted(cumulative, rng.uniform(size=count) * cumulative[-1], side="right")
        result: np.ndarray = np.sort(np.minimum(at, len(cumulative) - 1))
        return result


def read_lattices(data: HeadData) -> Lattices:
    """Reads the lattices of all heads, in two passes over the shards.

    Raises:
        PriorError: The data have no lattices, or they do not cover the box.
    """
    if data.lattice_mm is None:
        raise PriorError(
            "these data have no lattices: train from samples alone (size.lattice_share=0), "
            "or make samples with `SampleCounts(lattice_mm=3.0)`"
        )
    low, high = np.array(BOX_LOW_MM), np.array(BOX_HIGH_MM)
    shape = tuple(int(n) for n in np.round((high - low) / data.lattice_mm) + 1)
    mean, close = np.zeros(shape, np.float32), np.zeros(np.prod(shape), np.float32)
    for shard, heads in enumerate(data.shards):
        lattice = data.lattice(shard)
        if lattice.shape[1:] != shape:
            raise PriorError(
                f"shard {shard} holds lattices of shape {lattice.shape[1:]}, expected {shape} "
                f"({data.lattice_mm:g} mm over the box)"
            )
        share = len(heads) / len(data.names)
        mean += share * lattice.mean(axis=0, dtype=np.float32)
        close += share * closeness(lattice.reshape(len(heads), -1), REACH_MM)
    chosen = np.flatnonzero(mean.ravel() < OUTER_MM)
    places = low + np.stack(np.unravel_index(chosen, shape), axis=1) * data.lattice_mm
    distances = np.empty((len(chosen), len(data.names)), np.float16)
    for shard, heads in enumerate(data.shards):
        distances[:, heads[0] : heads[-1] + 1] = data.lattice(shard).reshape(len(heads), -1)[:, chosen].T
    log.info("lattices of %d heads: %d nodes each, %.1f GB", *distances.T.shape, distances.nbytes / 1e9)

    face = np.linalg.norm(places - LANDMARKS_MM["nose_tip"], axis=1) < FACE_RADIUS_MM
    weights = close[chosen].astype(np.float64) * np.where(face, FACE_FACTOR, 1.0)
    weights /= weights.sum()
    probability = (1 - OUTER_SHARE) * weights + OUTER_SHARE / len(chosen)
    points = (places - data.canonical.centre_mm) / data.canonical.radius_mm
    return Lattices(
        data.canonical,
        data.lattice_mm,
        mean,
        points.astype(np.float32),
        distances,
        weights,
        np.cumsum(probability),
    )


def start_from_components(
    network: FeatureGridSDFNetwork, lattices: Lattices, seed: int
) -> Float32[torch.Tensor, "heads latent"]:
    """Sets the network's mean head, and returns codes of the heads from their principal components.

    Components beyond those that the heads have are 0.
    """
    found = lattices.components(network.latent_size, seed)
    log.info(
        "principal components explain %s of the variance",
        ", ".join(
            f"{found.explained[:n].sum():.3f} (first {n})"
            for n in (1, 8, 32, 128)
            if n <= len(found.explained)
        ),
    )
    cells = np.array(network.mean.shape) - 2
    # The lattice's nodes sit on the corners of its cells, the mean head's values in the middle of its own.
    steps = (np.array(BOX_HIGH_MM) - BOX_LOW_MM) / cells / lattices.spacing_mm
    axes = [(np.arange(n) + 0.5) * step for n, step in zip(cells, steps, strict=True)]
    centres = map_coordinates(lattices.mean, np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest")
    _set_mean(network, centres / lattices.canonical.radius_mm)
    codes = torch.zeros(len(found.codes), network.latent_size)
    codes[:, : found.codes.shape[1]] = torch.from_numpy(found.codes)
    return codes


def start_from_sphere(network: FeatureGridSDFNetwork, radius: float) -> None:
    """Sets the network's mean head to a sphere about the middle of the canonical ball, canonical unit space."""
    low, high = network.low.numpy(), network.high.numpy()
    cells = np.array(network.mean.shape) - 2
    axes = [a + (np.arange(n) + 0.5) / n * (b - a) for a, b, n in zip(low, high, cells, strict=True)]
    _set_mean(network, np.linalg.norm(np.meshgrid(*axes, indexing="ij"), axis=0) - radius)


def _set_mean(network: FeatureGridSDFNetwork, centres: Float[np.ndarray, "x y z"]) -> None:
    with torch.no_grad():
        network.mean.values.copy_(torch.from_numpy(spline_values(centres)).reshape(-1, 1))
