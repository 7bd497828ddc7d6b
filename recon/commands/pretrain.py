"""Train a shape prior, or the network that sees portraits.

headrecon-pretrain prior=deepsdf data=FOLDER size=small
headrecon-pretrain prior=pca data=FOLDER
headrecon-pretrain network=portrait data=FOLDER
"""

import logging
import os
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

# As in recon/commands/train.py: to be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)`")

from recon.commands import command_line
from recon.errors import ReconError
from recon.processes import first_process
from recon.run_folders import claimed, discard_if_empty
from recon.systems import config, run
from recon.systems.options.stored import whole
from recon.systems.pretraining import config as pretraining_config

log = logging.getLogger("pretrain")


def command(cfg: DictConfig) -> None:
    """Heads in; training; a prior, its errors on unseen heads, and pictures out."""
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    try:
        resumed = cfg.resume is not None
        stored = whole(folder / "config.yaml") if resumed else nullcontext()
        with _claimed(folder, resumed=resumed) as folder, stored:
            cfg = pretraining_config.settle(cfg, list(job.overrides.task))
            training = config.build(cfg.training, kind="training of a prior")
            training.run(cfg, folder, lambda: run.record(cfg, list(job.overrides.task), folder))
    except ReconError as error:
        log.error("%s", error)
        if first_process():
            discard_if_empty(folder, "pretrain.log")
        sys.exit(1)
    except KeyboardInterrupt as stop:
        if not first_process():
            sys.exit(command_line.code_of(stop))
        command_line.end_of_run(log, stop, "headrecon-pretrain", folder)


def _claimed(folder: Path, *, resumed: bool) -> AbstractContextManager[Path]:
    """The folder, claimed by the first of the processes that share it."""
    return claimed(folder, resumed=resumed) if first_process() else nullcontext(folder)


def main() -> None:
    """Run the command with the options of `sys.argv`."""
    pretraining_config.register_resolvers()
    command_line.run("pretrain", command)


if __name__ == "__main__":
    main()
