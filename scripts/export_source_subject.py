"""Make a source subject of a run, for prior=pretrained_epoch: python scripts/export_source_subject.py run=RUNFOLDER
out=FILE.
"""

import logging
import sys
from dataclasses import replace
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from recon.errors import ConfigError, ReconError
from recon.priors.source_subjects import save_source_subject, source_subject_of_run
from recon.systems.commands import exit_codes
from recon.systems.run import open_scene

log = logging.getLogger("export_source_subject")


@hydra.main(config_path="../conf", config_name="export_source_subject", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Run folder in, source subject out; exit code 1 on bad input."""
    with exit_codes(log):
        run(cfg)


def run(cfg: DictConfig) -> None:
    """Writes the source subject and prints what it is."""
    out = Path(cfg.out).expanduser()
    if out.suffix != ".safetensors":
        raise ConfigError(f"out={cfg.out}: expected a file name that ends in .safetensors")
    source_subject = source_subject_of_run(Path(cfg.run).expanduser())
    scene = source_subject.about["scene"]
    about = dict(source_subject.about) | {
        "world_from_unit": world_from_unit(Path(cfg.run).expanduser() / "config.yaml"),
        "licence": cfg.licence or f"not stated; the terms of the photographs of scene {scene} apply",
    }
    source_subject = replace(source_subject, about=about, adam=source_subject.adam if cfg.optimizer else None)
    digest = save_source_subject(out, source_subject)
    moments = "with" if source_subject.adam else "without"
    print(
        f"{out}: {scene}, {about['steps']} steps, {moments} Adam's moments, {out.stat().st_size / 1e6:.1f} MB"
    )
    print(f"sha256 {digest}")
    print(f"next: python train.py scene=demo views=3 method=baseh3dnet prior.source_subject={out}")


def world_from_unit(config: Path) -> list[list[float]] | None:
    """The frame of the run's scene, or None if the scene is no longer there."""
    try:
        cfg = OmegaConf.load(config)
        assert isinstance(cfg, DictConfig)
        scene, _ = open_scene(cfg)
    except ReconError as error:
        log.warning("the source subject will not say how large its unit sphere is: %s", error)
        return None
    return scene.scale_mat.tolist()


if __name__ == "__main__":
    from recon.systems.config import register_resolvers

    register_resolvers()
    main()
