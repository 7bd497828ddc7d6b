"""How fast training is, with both renderers: headrecon-benchmark-speed preset=quick out=speed.json."""

import logging
import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recon.commands import command_line
from recon.commands.command_line import exit_codes, interrupt_on_signals, say
from recon.errors import ConfigError
from recon.systems.benchmark import script as benchmark_script
from recon.systems.benchmark.speed import curves as speed_curves
from recon.systems.benchmark.speed import parts as speed_parts
from recon.systems.benchmark.speed import summary as speed_report
from recon.systems.benchmark.speed.parts import PRESETS, Setting
from recon.threads import cores

log = logging.getLogger("benchmark")


def command(cfg: DictConfig) -> None:
    """Measures what is missing in the file; exit code 1 on bad input."""
    interrupt_on_signals()
    with exit_codes(log, "stopped; the same command goes on from here"):
        run(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]


def run(options: dict[str, Any]) -> None:
    """Part after part, each written as soon as it is there."""
    setting, wanted = setting_of(options), parts_of(options)
    out = Path(options.pop("out")).resolve()
    fresh = options.pop("fresh")
    found = {} if fresh else speed_report.read(out, options)
    load = f"{os.getloadavg()[0]:.1f}"
    context = {**benchmark_script.context("headrecon-benchmark-speed"), "load": load}

    def write() -> None:
        speed_report.write(out, options, context, found)

    for name in wanted:
        if name == "curves":
            curves(setting, found, write, out)
        elif name not in found:
            say(f"== {name}")
            found[name] = getattr(speed_parts, name)(setting)
            write()
    print("\n" + out.with_suffix(".md").read_text())
    print(f"written to {out}")


def curves(setting: Setting, found: dict[str, Any], write: Any, out: Path) -> None:
    """The curves that are missing, one after the other, and their plot."""
    done = found.setdefault("curves", {})
    for name in speed_curves.RUNS:
        if name not in done:
            say(f"== curve of {name}")
            done[name] = speed_curves.curve(setting, name)
            write()
            speed_curves.draw(done, out.with_suffix(".png"))


def setting_of(options: dict[str, Any]) -> Setting:
    """What the options ask for.

    Raises:
        ConfigError: an option is of a wrong kind.
    """
    if options["preset"] not in PRESETS:
        raise ConfigError(f"preset={options['preset']}: choose {' or '.join(PRESETS)}")
    for name in ("views", "threads"):
        given = options[name]
        if not (given is None and name == "threads") and (type(given) is not int or given < 1):
            raise ConfigError(f"{name}={given}: expected a number from 1 on")
    overrides = [f"scene={options['scene']}", f"trainer.accelerator={options['device']}", *options["extra"]]
    threads = options["threads"] or cores()
    return Setting(PRESETS[options["preset"]], overrides, options["views"], threads, say)


def parts_of(options: dict[str, Any]) -> list[str]:
    """The parts to measure, in order.

    Raises:
        ConfigError: there is no such part.
    """
    known = PRESETS["full"].parts
    wanted = options.pop("parts") or PRESETS[options["preset"]].parts
    if unknown := set(wanted) - set(known):
        raise ConfigError(f"parts: there is no {sorted(unknown)}; choose from {list(known)}")
    return [name for name in known if name in wanted]


def main() -> None:
    """Run the command with the options of `sys.argv`."""
    command_line.run("speed", command)


if __name__ == "__main__":
    main()
