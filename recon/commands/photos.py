"""Make a scene of photographs without cameras and masks: headrecon-photos PHOTOGRAPHS… out=FOLDER."""

import logging
import os
from pathlib import Path

from omegaconf import DictConfig

# As in recon/commands/train.py: to be set before torch and numpy are imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from recon.commands import command_line
from recon.commands.command_line import exit_codes
from recon.perception import photographs_at
from recon.systems.photographs import calibrate

log = logging.getLogger("photos")


def command(cfg: DictConfig) -> None:
    """Photographs in, a scene with cameras, masks and a check sheet out; exit code 1 on bad input."""
    with exit_codes(log):
        run(cfg)


def run(cfg: DictConfig) -> None:
    """Finds cameras and masks, writes the scene, and prints what became of each photograph."""
    found = photographs_at(list(map(Path, cfg.photographs)))
    for unused, reason in found.unused.items():
        log.warning("%s is not used: %s", unused, reason)
    calibrated = calibrate(cfg, found.photographs, Path(cfg.out), overwrite=bool(cfg.overwrite))
    for line in calibrated.lines():
        print(line)
    root = calibrated.scene.root
    print(f"look at {root / 'calibration.png'}, then: headrecon scene={root}")


def main() -> None:
    """Run the command with the options of `sys.argv`."""
    command_line.run("photos", command)


if __name__ == "__main__":
    main()
