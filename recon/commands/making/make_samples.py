"""Make training samples of synthetic heads: headrecon-make-samples out=samples split=train n=480."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from recon.commands import command_line
from recon.commands.command_line import exit_codes
from recon.errors import ConfigError
from recon.run_folders import occupied
from recon.synth.datasets.sample_files import write_samples
from recon.synth.datasets.samples import SampleCounts
from recon.synth.model.identity import SPLITS

log = logging.getLogger("make_samples")


def command(cfg: DictConfig) -> None:
    """Heads in, shards of samples out; exit code 1 on bad input."""
    logging.getLogger().setLevel(logging.INFO)  # a line for each shard
    with exit_codes(log, "stopped; the same command goes on from here"):
        run(cfg)


def run(cfg: DictConfig) -> None:
    """Makes heads and writes their samples."""
    if cfg.split not in SPLITS or cfg.n < 1:
        raise ConfigError(f"split={cfg.split} n={cfg.n}: expected one of {SPLITS} and at least one head")
    counts = SampleCounts(cfg.surface, cfg.near, cfg.volume, cfg.lattice_mm)
    seeds = range(cfg.first, cfg.first + cfg.n)
    if not 0 <= cfg.wide <= 1:
        raise ConfigError(f"wide={cfg.wide}: it is a share of the heads, from 0 to 1")
    with occupied(Path(cfg.out) / cfg.split):
        manifest = write_samples(
            cfg.out,
            cfg.split,
            seeds,
            counts=counts,
            spacing_mm=cfg.truth_mm,
            workers=cfg.workers,
            wide=float(cfg.wide),
            template=bool(cfg.template),
        )
    print(f"{manifest}\nnext: headrecon-pretrain prior={'pca' if cfg.template else 'deepsdf'} data={cfg.out}")


def main() -> None:
    """Run the command with the options of `sys.argv`."""
    command_line.run("make_samples", command)


if __name__ == "__main__":
    main()
