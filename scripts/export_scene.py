"""Export a scene: python scripts/export_scene.py PATH --format idr|colmap|nerfstudio --out FOLDER."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from recon import scene as scenes
from recon.errors import ReconError
from recon.scene.export import export_colmap, export_idr, export_nerfstudio
from recon.scene.scene import parse_views


def main(arguments: list[str] | None = None) -> int:
    """Check the views, then write them in another program's layout; the exit code is 1 on problems."""
    parser = argparse.ArgumentParser(description="Write a scene in the layout of another program.")
    parser.add_argument("path", help="scene folder (H3DS or IDR layout), or an H3DS id with --h3ds-root")
    parser.add_argument(
        "views", nargs="?", help="views=3, views=[0,18,65] or just the value; default: all views"
    )
    parser.add_argument("--format", choices=("idr", "colmap", "nerfstudio"), required=True)
    parser.add_argument("--out", type=Path, required=True, help="new or empty folder")
    parser.add_argument(
        "--unit", action="store_true", help="colmap, nerfstudio: world in the unit sphere, not mm"
    )
    parser.add_argument("--h3ds-root", help="folder of the data set, for ids; default: $H3DS_ROOT")
    parser.add_argument(
        "--pixel-centre", type=float, choices=(0.0, 0.5), help="convention of the files' cameras"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    if options.unit and options.format == "idr":
        parser.error("--unit: the IDR layout holds both, world_mat in mm and scale_mat")
    try:
        scene = scenes.open(options.path, h3ds_root=options.h3ds_root, pixel_centre=options.pixel_centre)
        chosen = scene.select(parse_views(options.views)) if options.views else scene.available()
        scenes.validate(scene, chosen)
        if options.format == "idr":
            folder = export_idr(scene, options.out, chosen)
        else:
            export = export_colmap if options.format == "colmap" else export_nerfstudio
            folder = export(scene, options.out, chosen, unit=options.unit)
    except ReconError as problem:
        print(f"problem: {problem}")
        return 1
    print(f"wrote {len(dict.fromkeys(chosen))} views to {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
