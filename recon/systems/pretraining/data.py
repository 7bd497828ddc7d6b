"""Batches of shape pretraining as a Lightning data module."""

from typing import Literal

from recon.priors.data.batches import Batch, PointSampler
from recon.priors.data.lattices import Lattices
from recon.systems.data import StepData

Supervision = Literal["distances", "surface"]


class HeadBatches(StepData):
    """Lattice nodes first, then points.

    Every process draws the whole batch and takes its part, so that several train on what one would.

    Args:
        sampler: Of points.
        supervision: What points are trained on.
        lattices: Of all heads, or None.
        nodes: Lattice nodes of a step.
        lattice_steps: Steps on lattices, before any on points.
        seed: Of the draws of nodes.
    """

    def __init__(
        self,
        sampler: PointSampler,
        supervision: Supervision,
        lattices: Lattices | None,
        nodes: int,
        lattice_steps: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.sampler, self.supervision = sampler, supervision
        self.lattices, self.nodes, self.lattice_steps, self.seed = lattices, nodes, lattice_steps, seed

    def draw(self, step: int) -> Batch:
        """The whole batch of a step."""
        if step < self.lattice_steps:
            assert self.lattices is not None
            return self.lattices.draw(self.nodes, self.seed, step)
        self.lattices = None  # two gigabytes that are not needed any more
        return getattr(self.sampler, self.supervision)(step)

    def batch(self, step: int) -> Batch:
        """This process's part of a step's batch."""
        assert self.trainer is not None
        return self.draw(step).part(self.trainer.global_rank, self.trainer.world_size)
