"""One pretraining: from a configuration to a trained shape model of heads on disk."""

import logging
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from recon.errors import ConfigError, PriorError
from recon.geometry.frames import BOX_HIGH_MM, BOX_LOW_MM
from recon.priors import CanonicalFrame, FeatureGridSDFNetwork, ShapeNetwork
from recon.priors.data.batches import PointSampler, ShardPool
from recon.priors.data.dataset import HeadData, SampleFolder
from recon.priors.data.lattices import Lattices, read_lattices, start_from_components, start_from_sphere
from recon.priors.data.scans import ScanFolder
from recon.priors.weights import NETWORKS
from recon.run_folders import CHECKPOINT
from recon.systems.pretraining.auto_decoder import Pretraining, Rates, ShapeObjective
from recon.systems.pretraining.callbacks import AgreedCheckpoint, PriorCurve, PriorProgress, fit
from recon.systems.pretraining.data import HeadBatches, Supervision
from recon.systems.pretraining.validation import Validation

log = logging.getLogger(__name__)

SPHERE_RADIUS = 0.4
"""Radius of the mean head of a feature grid network before training without lattices, canonical unit space."""


@dataclass
class PriorTask:
    """A pretraining, ready to run.

    Attributes:
        cfg: Resolved configuration.
        folder: Folder of the run.
        data: The training heads.
        unseen: Heads to validate on.
        kind: Key of `NETWORKS`.
        arguments: Arguments that the network was made with.
        system: Network, codes and losses.
        batches: The training data.
        started: `time.monotonic()` at the start of the run.
        train_s: Seconds spent training, those of an interrupted run before included.
        stopped_by: Signal that stopped the training; None where it came to its end.
        first_process: Whether this process is the one that writes; known after training.
    """

    cfg: DictConfig
    folder: Path
    data: HeadData
    unseen: HeadData
    kind: str
    arguments: Mapping[str, Any]
    system: Pretraining
    batches: HeadBatches
    started: float
    train_s: float = 0.0
    stopped_by: signal.Signals | None = None
    first_process: bool = True


def prepare(cfg: DictConfig, folder: Path) -> PriorTask:
    """Open and check everything that can fail before any work starts.

    Raises:
        PriorError: If the data cannot be used.
        ConfigError: If the configuration cannot be run.
    """
    started = time.monotonic()
    if cfg.trainer.threads:
        torch.set_num_threads(int(cfg.trainer.threads))
    torch.set_flush_denormal(True)
    data, unseen = open_data(cfg)
    supervision = _supervision(cfg, data)
    log.info(
        "%d training heads of %s, %d unseen, trained on %s",
        len(data.names), cfg.data, len(unseen.names), supervision,
    )  # fmt: skip
    size, steps = cfg.size, int(cfg.max_steps or cfg.size.steps)
    lattice_steps = round(steps * size.lattice_share) if data.lattice_mm is not None else 0

    torch.manual_seed(cfg.seed)
    kind, arguments = network_arguments(size.network, data.canonical)
    network = NETWORKS[kind](**arguments)
    resumed = (folder / CHECKPOINT).is_file()
    lattices = read_lattices(data) if lattice_steps else None
    codes = _start(network, lattices, cfg, len(data.names), resumed)
    log.info(
        "%s network with %d parameters; %d steps, %d of them on lattices",
        kind, sum(p.numel() for p in network.parameters()), steps, lattice_steps,
    )  # fmt: skip
    system = Pretraining(
        network,
        codes,
        data.canonical,
        ShapeObjective(**size.objective),
        Rates(**{**size.rates, "betas": tuple(size.rates.betas)}),
        steps,
        lattice_steps,
    )
    pool = ShardPool(data, cfg.pool, cfg.turn, cfg.seed)
    sigma = cfg.sigma_mm / data.canonical.radius_mm
    sampler = PointSampler(data, pool, size.heads, size.points, sigma, cfg.seed)
    batches = HeadBatches(sampler, supervision, lattices, size.nodes, lattice_steps, cfg.seed)
    return PriorTask(cfg, folder, data, unseen, kind, arguments, system, batches, started)


def open_data(cfg: DictConfig) -> tuple[HeadData, HeadData]:
    """Training heads and unseen heads of the folder that `data=` names.

    Raises:
        PriorError: It holds neither samples nor scans.
    """
    root = Path(cfg.data)
    if not root.is_dir():
        raise PriorError(f"data={cfg.data}: there is no such folder")
    if any(root.glob("*/manifest.json")):
        return SampleFolder(root, cfg.split), SampleFolder(root, cfg.validation.split)
    return (
        ScanFolder(root, held_out=False, points=cfg.scan_points, seed=cfg.seed),
        ScanFolder(root, held_out=True, points=cfg.scan_points, seed=cfg.seed),
    )


def network_arguments(network: DictConfig, canonical: CanonicalFrame) -> tuple[str, dict[str, Any]]:
    """Kind and arguments of the network that the configuration describes; millimetres become cells.

    Raises:
        ConfigError: There is no such kind.
    """
    arguments: dict[str, Any] = OmegaConf.to_container(network)  # type: ignore[assignment]
    kind = arguments.pop("kind")
    if kind not in NETWORKS:
        raise ConfigError(f"size.network.kind={kind}: choose one of {', '.join(NETWORKS)}")
    if kind == "feature_grid":
        low, high = np.array(BOX_LOW_MM), np.array(BOX_HIGH_MM)

        def cells(mm: float) -> list[int]:
            return [int(n) for n in np.maximum(np.round((high - low) / mm), 1)]

        centre, radius = np.array(canonical.centre_mm), canonical.radius_mm
        arguments["low"] = ((low - centre) / radius).tolist()
        arguments["high"] = ((high - centre) / radius).tolist()
        arguments["mean_cells"] = cells(float(arguments.pop("mean_mm")))
        arguments["grids"] = [
            [*cells(float(mm)), int(channels)] for mm, channels in arguments.pop("grids_mm")
        ]
    return kind, arguments


def train(task: PriorTask) -> bool:
    """Train to the end, or to a signal.

    Returns:
        Whether the training is complete.
    """
    settings, validation, folder = task.cfg.trainer, task.cfg.validation, task.folder
    last = AgreedCheckpoint(folder / CHECKPOINT, settings.checkpoint_every)
    callbacks = [
        PriorCurve(folder / "metrics.csv", settings.log_every, last.seconds),
        PriorProgress(task.system.steps),
        last,
        Validation(
            folder / "validation.csv", task.unseen, validation.every, validation.heads, validation.points
        ),
    ]
    fit(task.cfg, folder, task.system, task.system.steps, task.batches, last, callbacks)
    task.train_s, task.first_process, task.stopped_by = (
        last.train_s,
        task.system.trainer.is_global_zero,
        last.stopped_by,
    )
    return last.stopped_by is None


def _supervision(cfg: DictConfig, data: HeadData) -> Supervision:
    wanted = cfg.supervision
    if wanted == "auto":
        wanted = "distances" if data.has_distances else "surface"
    if wanted == "distances" and not data.has_distances:
        raise PriorError(
            f"supervision=distances: {cfg.data} holds raw scans without distances; use supervision=surface"
        )
    if wanted == "surface" and not cfg.size.objective.eikonal_weight > 0:
        raise ConfigError(
            "supervision=surface needs the eikonal loss: size.objective.eikonal_weight=0.1 (IGR, H3D-Net)"
        )
    return wanted


def _start(
    network: ShapeNetwork, lattices: Lattices | None, cfg: DictConfig, heads: int, resumed: bool
) -> torch.Tensor:
    """Initial codes of the heads; also initialises the network from the data."""
    codes = torch.zeros(heads, network.latent_size)
    init = cfg.size.init
    if init == "auto":
        init = "sphere" if lattices is None else "components"
    if init == "components":
        if lattices is None:
            raise ConfigError("size.init=components needs data with lattices and size.lattice_share > 0")
        assert isinstance(network, FeatureGridSDFNetwork)
        network.mean.values.requires_grad_(False)
        if not resumed:
            codes = start_from_components(network, lattices, cfg.seed)
    elif isinstance(network, FeatureGridSDFNetwork):
        # Basis and codes are multiplied with each other: with both at 0 neither would ever learn.
        start_from_sphere(network, SPHERE_RADIUS)
        codes.normal_()
    return codes
