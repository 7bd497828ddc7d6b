"""Fetch the public ICT-FaceKit Light head model and pack it: headrecon-get-head-model.

One pinned commit of github.com/ICT-VGL/ICT-FaceKit (MIT licence, about 120 MB) is downloaded, checked against a known
hash, and packed (15 MB) to where `recon.synth` looks for it.
"""

import logging
import shutil
from pathlib import Path

from omegaconf import DictConfig

from recon.commands import command_line
from recon.commands.command_line import exit_codes
from recon.errors import ConfigError
from recon.synth.model.download import URL, get_head_model
from recon.synth.model.head_model import default_path, load_head_model

log = logging.getLogger("get_head_model")


def command(cfg: DictConfig) -> None:
    """Download in, packed model out; exit code 1 if that fails."""
    with exit_codes(log):
        run(cfg)


def run(cfg: DictConfig) -> None:
    """Makes the model unless it is there."""
    out = Path(cfg.out) if cfg.out else default_path()
    if out.exists() and not cfg.force:
        load_head_model(out)
        print(f"{out} is there already (force=true makes it again)")
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out.parent).free
    if free < 50 << 20:
        raise ConfigError(f"{out.parent} has {free >> 20} MB left, 50 are needed")
    print("converting takes half a minute")
    get_head_model(out, cfg.source, cfg.url or URL)
    model = load_head_model(out)
    print(f"{out}: {len(model.skin)} skin vertices, {len(model.skin_identity)} identity directions")
    print(
        "MIT licence, (c) 2020 USC Institute for Creative Technologies; the notice is packed with the model"
    )


def main() -> None:
    """Run the command with the options of `sys.argv`."""
    command_line.run("get_head_model", command)


if __name__ == "__main__":
    main()
