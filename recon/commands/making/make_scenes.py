"""Make synthetic heads in the H3DS layout: headrecon-make-scenes split=train n=100 out=heads."""

import logging
import time
from pathlib import Path

from omegaconf import DictConfig

from recon.commands import command_line
from recon.commands.command_line import exit_codes
from recon.errors import ConfigError
from recon.run_folders import occupied
from recon.synth.datasets import batch
from recon.synth.datasets.named import SET_NAME, differing_files, named_recipes
from recon.threads import cores

log = logging.getLogger("make_scenes")


def command(cfg: DictConfig) -> None:
    """People in, scenes out; exit code 1 on bad input."""
    with exit_codes(log, "stopped; the same command goes on from here"):
        run(cfg)


def run(cfg: DictConfig) -> None:
    """Makes what is missing and prints a line for each scene."""
    if int(cfg.n) < 1:
        raise ConfigError(f"n={cfg.n}: how many people, at least 1")
    settings = batch.SceneSettings(
        views=cfg.views,
        size=cfg.size,
        passes=tuple(str(name) for name in cfg.passes),
        truth_vertices=cfg.truth_vertices,
    )
    if cfg.split == SET_NAME:
        if cfg.people != "usual" or cfg.turned or cfg.style:
            raise ConfigError(
                f"split={SET_NAME} is ten given people: people, turned and style are of other splits"
            )
        recipes = named_recipes()
    else:
        recipes = batch.split_recipes(
            cfg.split, cfg.n, first=cfg.first, style=cfg.style, people=cfg.people, turned=cfg.turned
        )
    out = Path(cfg.out)
    workers = cfg.workers or cores()
    started, made = time.perf_counter(), 0
    with occupied(out):
        for scene in batch.make_scenes(out, recipes, settings, workers=workers):
            made += scene.new
            if scene.new:
                each = (time.perf_counter() - started) / made
                rest = f"{each:.0f} s each, {_clock(each * (scene.total - scene.done))} left"
            else:
                rest = "there already"
            print(f"[{scene.done}/{scene.total}] {out / scene.name}: {scene.family}, {rest}", flush=True)
    print(f"{len(recipes)} scenes in {out}; {made} new in {_clock(time.perf_counter() - started)}")
    if cfg.split == SET_NAME:
        _compare(differing_files(batch.read_manifest(out)))
    print(f"next: headrecon scene={out / recipes[0]['name']} views=3")


def _compare(differing: dict[str, list[str]] | None) -> None:
    """Says whether the benchmark's people are the published ones to the last byte."""
    if differing is None:
        print("no hashes are published for these settings")
        return
    count = sum(map(len, differing.values()))
    print(
        "all files are the published ones" if count == 0 else f"{count} files differ from the published ones:"
    )
    for name, files in differing.items():
        if files:
            print(f"  {name}: {', '.join(files[:3])}{' ...' if len(files) > 3 else ''}")


def _clock(seconds: float) -> str:
    minutes = round(seconds) // 60
    return (
        f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {round(seconds) % 60} s"
    )


def main() -> None:
    """Run the command with the options of `sys.argv`."""
    command_line.run("make_scenes", command)


if __name__ == "__main__":
    main()
