"""Train a shape prior.

headrecon-pretrain prior=deepsdf data=FOLDER size=small
headrecon-pretrain prior=pca data=FOLDER
"""

import logging
import os
import sys
import warnings
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

# As in recon/commands/train.py: to be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)`")

from recon.commands import command_line
from recon.errors import ReconError
from recon.systems import config, run
from recon.systems.pretraining import config as pretraining_config

log = logging.getLogger("pretrain")


def command(cfg: DictConfig) -> None:
    """Heads in; training; a prior, its errors on unseen heads, and pictures out."""
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    try:
        cfg = pretraining_config.settle(cfg, list(job.overrides.task))
        training = config.build(cfg.training, kind="training of a prior")
        finished = training.run(cfg, folder, lambda: run.record(cfg, list(job.overrides.task), folder))
    except ReconError as error:
        log.error("%s", error)
        run.discard_if_empty(folder, "pretrain.log")
        sys.exit(1)
    if not finished:
        log.warning("stopped at a signal; go on with: headrecon-pretrain resume=%s", folder)
        sys.exit(130)


def main() -> None:
    """Run the command with the options of `sys.argv`."""
    pretraining_config.register_resolvers()
    command_line.run("pretrain", command)


if __name__ == "__main__":
    main()
