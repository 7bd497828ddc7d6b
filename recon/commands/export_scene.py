"""Write a scene in the layout of another program: headrecon-export-scene scene=PATH format=colmap out=FOLDER."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from recon import scene as scenes
from recon.commands import command_line
from recon.commands.command_line import exit_codes
from recon.commands.validate import open_scene
from recon.errors import ConfigError
from recon.scene.export import export_colmap, export_idr, export_nerfstudio

log = logging.getLogger("export_scene")
FORMATS = ("idr", "colmap", "nerfstudio")


def command(cfg: DictConfig) -> None:
    """Scene in, folder in another layout out; exit code 1 on bad input."""
    with exit_codes(log):
        run(cfg)


def run(cfg: DictConfig) -> None:
    """Checks the views and writes them."""
    if cfg.format not in FORMATS:
        raise ConfigError(f"format={cfg.format}: choose one of {', '.join(FORMATS)}")
    if cfg.unit and cfg.format == "idr":
        raise ConfigError("unit=true: the IDR layout holds both, world_mat in mm and scale_mat")
    (scene, chosen), out = open_scene(cfg), Path(cfg.out)
    chosen = scene.available() if chosen is None else chosen
    scenes.validate(scene, chosen)
    if cfg.format == "idr":
        folder = export_idr(scene, out, chosen)
    else:
        export = export_colmap if cfg.format == "colmap" else export_nerfstudio
        folder = export(scene, out, chosen, unit=cfg.unit)
    print(f"wrote {len(dict.fromkeys(chosen))} views to {folder}")


def main() -> None:
    """Run the command with the options of `sys.argv`."""
    command_line.run("export_scene", command)


if __name__ == "__main__":
    main()
