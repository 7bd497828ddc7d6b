"""Check a scene before training: headrecon-validate scene=PATH views=3 sheet=sheet.png."""

import logging
import sys
from pathlib import Path

from omegaconf import DictConfig, ListConfig

from recon import scene as scenes
from recon.commands import command_line
from recon.commands.command_line import exit_codes
from recon.errors import ConfigError, ReconError
from recon.files import save_picture
from recon.reading import cause
from recon.scene.scene import parse_views
from recon.scene.sheet import contact_sheet
from recon.scene.validation import views_to_check

log = logging.getLogger("validate")


def command(cfg: DictConfig) -> None:
    """Scene in, problems out; exit code 1 if there are any."""
    with exit_codes(log):
        sound = run(cfg)
    sys.exit(0 if sound else 1)


def run(cfg: DictConfig) -> bool:
    """Prints every problem, or a table of the views and "ok"; whether the scene is sound and its sheet written."""
    try:
        scene, chosen = open_scene(cfg)
    except ReconError as problem:
        print(f"problem: {problem}")
        return False
    found = scenes.problems(scene, chosen)
    indices = views_to_check(scene) if chosen is None else chosen
    written = cfg.sheet is None or write_sheet(scene, indices, cfg.sheet)
    for each in found:
        print(f"problem: {each}")
    if found:
        print(f"{len(found)} problem{'s' if len(found) > 1 else ''} in {scene.root}")
        return False
    print_table(scene, indices)
    print("ok" if written else "ok, but there is no contact sheet")
    return written


def write_sheet(scene: scenes.Scene, indices: list[int], path: str) -> bool:
    """Draws the contact sheet of some views; whether it could be written, and why not on stderr."""
    try:
        save_picture(contact_sheet(scene, indices), Path(path))
    except (ReconError, OSError, ValueError) as problem:  # Pillow's for an ending that it does not know
        log.error("no contact sheet: sheet=%s: %s", path, cause(problem))
        return False
    print(f"wrote {path}")
    return True


def open_scene(cfg: DictConfig) -> tuple[scenes.Scene, list[int] | None]:
    """The scene that `scene=` names and the views that `views=` selects, None for all.

    Raises:
        ReconError: if there is no such scene, view or convention of cameras.
    """
    if cfg.pixel_centre not in (None, 0.0, 0.5):
        raise ConfigError(f"pixel_centre={cfg.pixel_centre}: expected 0.0, 0.5 or null")
    centre = None if cfg.pixel_centre is None else float(cfg.pixel_centre)
    name = str(cfg.scene)
    scene = scenes.open(cfg.scenes.get(name, name), h3ds_root=cfg.h3ds_root, pixel_centre=centre)
    if cfg.views is None:
        return scene, None
    listed = isinstance(cfg.views, ListConfig)
    return scene, scene.select(list(cfg.views) if listed else parse_views(str(cfg.views)))


def print_table(scene: scenes.Scene, indices: list[int]) -> None:
    """What was checked, one line per view."""
    truth = scene.ground_truth
    print(f"{scene.root}: {len(scene.views)} views, default lists {sorted(scene.default_views) or 'none'}")
    if truth is not None:
        names = ", ".join(truth.regions()) or "none"
        print(
            f"ground truth: {len(truth.mesh().vertices)} vertices, {len(truth.landmarks)} landmarks, regions "
            f"{names}"
        )
    print(f"{'view':>5} {'size':>11} {'focal':>9} {'distance':>9} {'mask':>6}  image")
    to_unit = scene.unit_from_world
    for index in indices:
        view = scene.views[index]
        camera = view.camera
        unit_distance = (camera.centre @ to_unit[:3, :3].T + to_unit[:3, 3]) @ scene.scale_mat[:3, :3].T
        distance = float((unit_distance**2).sum() ** 0.5)
        size = f"{camera.width}x{camera.height}"
        print(
            f"{index:>5} {size:>11} {camera.intrinsics[0, 0]:>9.1f} {distance:>9.1f} "
            f"{view.mask().mean():>6.1%}  {view.image_path.name}"
        )


def main() -> None:
    """Run the command with the options of `sys.argv`."""
    command_line.run("validate", command)


if __name__ == "__main__":
    main()
