"""Make a source subject of a run, for prior=pretrained_epoch: headrecon-export-source-subject run=RUNFOLDER
out=FILE.
"""

import logging
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from recon.commands import command_line
from recon.commands.command_line import exit_codes
from recon.errors import ConfigError, ReconError
from recon.priors.source_subjects import save_source_subject, source_subject_of_run
from recon.systems.options.stored import read_config
from recon.systems.run import open_scene

log = logging.getLogger("export_source_subject")


def command(cfg: DictConfig) -> None:
    """Run folder in, source subject out; exit code 1 on bad input."""
    with exit_codes(log):
        run(cfg)


def run(cfg: DictConfig) -> None:
    """Writes the source subject and prints what it is."""
    out = Path(cfg.out)
    if out.suffix != ".safetensors":
        raise ConfigError(f"out={cfg.out}: expected a file name that ends in .safetensors")
    source_subject = source_subject_of_run(Path(cfg.run))
    scene = source_subject.about["scene"]
    about = dict(source_subject.about) | {
        "world_from_unit": world_from_unit(Path(cfg.run) / "config.yaml"),
        "licence": cfg.licence or f"not stated; the terms of the photographs of scene {scene} apply",
    }
    source_subject = replace(source_subject, about=about, adam=source_subject.adam if cfg.optimizer else None)
    digest = save_source_subject(out, source_subject)
    moments = "with" if source_subject.adam else "without"
    print(
        f"{out}: {scene}, {about['steps']} steps, {moments} Adam's moments, {out.stat().st_size / 1e6:.1f} MB"
    )
    print(f"sha256 {digest}")
    print(f"next: headrecon scene=demo views=3 method=baseh3dnet prior.source_subject={out}")


def world_from_unit(config: Path) -> list[list[float]] | None:
    """The frame of the run's scene, or None if the scene is no longer there."""
    try:
        scene, _ = open_scene(read_config(config))
    except ReconError as error:
        log.warning("the source subject will not say how large its unit sphere is: %s", error)
        return None
    return scene.scale_mat.tolist()


def main() -> None:
    """Run the command with the options of `sys.argv`."""
    command_line.run("export_source_subject", command)


if __name__ == "__main__":
    main()
