"""Check a scene before training: python scripts/validate_scene.py PATH [views=3] [--sheet FILE.png]."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from recon import scene as scenes
from recon.errors import ReconError
from recon.scene.scene import parse_views
from recon.scene.sheet import contact_sheet


def main(arguments: list[str] | None = None) -> int:
    """Print every problem, or a table of the views and "ok"; the exit code is 1 on problems."""
    parser = argparse.ArgumentParser(
        description="Check that a scene can be reconstructed; print every problem."
    )
    parser.add_argument("path", help="scene folder (H3DS or IDR layout), or an H3DS id with --h3ds-root")
    parser.add_argument(
        "views", nargs="?", help="views=3, views=[0,18,65] or just the value; default: all views"
    )
    parser.add_argument("--h3ds-root", help="folder of the data set, for ids; default: $H3DS_ROOT")
    parser.add_argument(
        "--pixel-centre", type=float, choices=(0.0, 0.5), help="convention of the files' cameras"
    )
    parser.add_argument("--sheet", type=Path, help="write a contact sheet: mask outlines and the unit sphere")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        scene = scenes.open(options.path, h3ds_root=options.h3ds_root, pixel_centre=options.pixel_centre)
        chosen = scene.select(parse_views(options.views)) if options.views else None
    except ReconError as problem:
        print(f"problem: {problem}")
        return 1
    found = scenes.problems(scene, chosen)
    indices = list(range(len(scene.views))) if chosen is None else chosen
    if options.sheet:
        try:
            contact_sheet(scene, indices).save(options.sheet)
            print(f"wrote {options.sheet}")
        except ReconError as problem:
            print(f"no contact sheet: {problem}")
    for each in found:
        print(f"problem: {each}")
    if found:
        print(f"{len(found)} problem{'s' if len(found) > 1 else ''} in {scene.root}")
        return 1
    print_table(scene, indices)
    print("ok")
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
