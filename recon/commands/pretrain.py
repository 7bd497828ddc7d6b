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
from recon.systems import run
from recon.systems.pretraining import config as pretraining_config
from recon.systems.pretraining import outputs as pretraining_outputs
from recon.systems.pretraining import pca as pretraining_pca
from recon.systems.pretraining import run as pretraining_run

log = logging.getLogger("pretrain")


def command(cfg: DictConfig) -> None:
    """Heads in; training; a prior, its errors on unseen heads, and pictures out."""
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    try:
        cfg = pretraining_config.settle(cfg, list(job.overrides.task))
        if cfg.kind == "pca":
            components = pretraining_pca.prepare(cfg, folder)
            run.record(cfg, list(job.overrides.task), folder)
            pretraining_pca.write(components, pretraining_pca.build(components))
            return
        task = pretraining_run.prepare(cfg, folder)
        run.record(cfg, list(job.overrides.task), folder)
        finished = pretraining_run.train(task)
        if finished and task.first_process:
            pretraining_outputs.write(task)
    except ReconError as error:
        log.error("%s", error)
        pretraining_run.discard_if_empty(folder)
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
