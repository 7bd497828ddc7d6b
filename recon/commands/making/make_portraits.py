"""Make portraits of synthetic people: headrecon-make-portraits split=train n=600 out=portraits."""

import logging

from omegaconf import DictConfig

from recon.commands import command_line
from recon.commands.command_line import exit_codes
from recon.synth.portraits.make import PortraitSettings, make_portraits

log = logging.getLogger("make_portraits")


def command(cfg: DictConfig) -> None:
    """People in, shards of portraits out; exit code 1 on bad input."""
    with exit_codes(log, "stopped; the same command goes on from here"):
        run(cfg)


def run(cfg: DictConfig) -> None:
    """Makes what is missing and prints a line for each shard."""
    settings = PortraitSettings(
        views=cfg.views,
        size=cfg.size,
        people_per_shard=cfg.people_per_shard,
        held_out=tuple(str(family) for family in cfg.held_out),
        twins=cfg.twins,
    )
    seeds = range(cfg.first, cfg.first + cfg.n)
    portraits, seconds = 0, 0.0
    for shard in make_portraits(cfg.out, cfg.split, seeds, settings, workers=cfg.workers):
        portraits, seconds = portraits + shard.portraits, seconds + shard.seconds
        each, size = seconds / portraits, shard.path.stat().st_size / shard.portraits
        hours = (shard.total - shard.done) * shard.seconds / cfg.workers / 3600
        print(
            f"[{shard.done}/{shard.total}] {shard.path}: {each:.3f} s and {size / 1000:.0f} kB a portrait, "
            f"{hours:.1f} h left",
            flush=True,
        )
    print(f"{portraits} new portraits in {cfg.out}\nnext: headrecon-pretrain network=portrait data={cfg.out}")


def main() -> None:
    """Run the command with the options of `sys.argv`."""
    command_line.run("make_portraits", command)


if __name__ == "__main__":
    main()
