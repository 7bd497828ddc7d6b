"""Close-ups of finished runs on synthetic people: python tools/closeups.py scenes=FOLDER runs=FOLDER names=[aldo,chen].

A row for each person, and for eye, ear, nostrils, lips and back of the head the photograph beside the mesh in its
colours beside its surface in grey, lit from the upper left; the inside of a surface, which holes show, is red. Places
are those of the true landmarks and ears under the true cameras, in that photograph of the scene, given to the run or
not, which shows the place best.

Options, as `name=value`: scenes (folder of scenes that `headrecon-make-scenes` made), runs (folder of run folders,
named as the people, or as a benchmark names them: aldo-0), before and after (two such folders, for two blocks, in place
of runs), names (people; null for all that the folders have), out (PNG), tile (pixels of one picture), limit_mb (of the
file).
"""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recon import scene as scenes
from recon.commands.command_line import options_of, run_tool, say
from recon.errors import ConfigError
from recon.evaluation import read_mesh
from recon.evaluation.evaluator import LEAST_EARS
from recon.files import replacing
from recon.geometry.drawing import vertex_normals
from recon.geometry.frames import transform
from recon.geometry.raster import rasterise
from recon.rendering.visibility import mesh_visibility
from recon.scene import Camera, Scene
from recon.synth import load_head_model
from recon.synth.model.identity import Identity, shape_head

DEFAULTS = {
    "scenes": None, "runs": None, "before": None, "after": None, "names": None, "out": "docs/results/closeups.png",
    "tile": 128, "limit_mb": 1.5,
}  # fmt: skip
PARTS = {"eye": 44.0, "ear": 78.0, "nostrils": 44.0, "lips": 66.0, "back": 250.0}
"""Parts, with the height of their windows, mm."""
_SAMPLES = 3
_LIGHT = np.array([-0.55, -0.6, -0.58])  # towards the light, in the camera's frame: from the upper left
_CLAY, _INSIDE = np.array([0.80, 0.79, 0.77]), np.array([0.85, 0.15, 0.15])
_MARGIN, _LABEL = 22, 66


@dataclass(frozen=True)
class Place:
    """A place of a person.

    Attributes:
        centre: World, mm.
        points: Vertices of the truth by which it is told how well a photograph shows the place.
    """

    centre: Float[np.ndarray, "3"]
    points: Bool[np.ndarray, " vertices"]


@dataclass(frozen=True, eq=False)
class Window:
    """A square piece of a photograph.

    Attributes:
        view: Number of the view.
        camera: Its camera.
        middle: Pixel in the middle, x and y.
        side_px: Side, pixels of the photograph.
    """

    view: int
    camera: Camera
    middle: Float[np.ndarray, "2"]
    side_px: float


def places(scene: Scene) -> dict[str, Place]:
    """Where the parts of a synthetic person are; a part that hair covers is left out.

    Raises:
        ConfigError: The scene is not one of a synthetic person.
    """
    recipe_file, truth = scene.root / "recipe.json", scene.ground_truth
    if truth is None or not recipe_file.is_file():
        raise ConfigError(
            f"{scene.root}: expected a scene of headrecon-make-scenes with its recipe.json and full_head.obj"
        )
    recipe = json.loads(recipe_file.read_text(encoding="utf-8"))
    world_from_canonical = np.array(recipe["world_from_canonical"])
    landmarks = shape_head(load_head_model(), Identity.from_recipe(recipe["subject"]["identity"])).landmarks68
    mesh = truth.mesh()
    vertices = transform(np.linalg.inv(world_from_canonical), np.asarray(mesh.vertices, float))
    normals = vertex_normals(vertices, np.asarray(mesh.faces))
    found = {
        "eye": _near(vertices, landmarks[42:48].mean(axis=0), 16.0),
        "nostrils": _near(vertices, landmarks[31:36].mean(axis=0), 14.0, normals[:, 1] < -0.3),
        "lips": _near(vertices, landmarks[48:68].mean(axis=0), 28.0),
        "back": Place(np.array([0.0, 20.0, -80.0]), (vertices[:, 2] < -40.0) & (vertices[:, 1] > -70.0)),
    }
    if "ears" in truth.regions() and len(truth.region("ears")) >= LEAST_EARS:
        ears = np.zeros(len(vertices), dtype=bool)
        ears[truth.region("ears")] = True
        sides = [ears & (vertices[:, 0] > 0), ears & (vertices[:, 0] < 0)]
        best = max(sides, key=lambda side: int(side.sum()))
        middle = (vertices[best].min(axis=0) + vertices[best].max(axis=0)) / 2
        found["ear"] = Place(middle, best)
    return {
        name: Place(transform(world_from_canonical, place.centre[None])[0], place.points)
        for name, place in found.items()
    }


def _near(
    vertices: np.ndarray, centre: np.ndarray, radius_mm: float, also: np.ndarray | bool = True
) -> Place:
    """The vertices about a point."""
    return Place(centre, (np.linalg.norm(vertices - centre, axis=1) < radius_mm) & also)


def windows(scene: Scene, where: Mapping[str, Place]) -> dict[str, Window]:
    """For each part the photograph that shows most of it, head-on and large."""
    assert scene.ground_truth is not None
    mesh = scene.ground_truth.mesh()
    vertices = np.asarray(mesh.vertices, float)
    normals = vertex_normals(vertices, np.asarray(mesh.faces))
    best: dict[str, tuple[float, Window]] = {}
    for view in scene.views:
        camera = view.camera
        seen = mesh_visibility(mesh, normals, camera).seen
        away = camera.centre - vertices
        distance = np.linalg.norm(away, axis=1)
        facing = np.maximum((normals * away).sum(axis=1) / distance, 0.0) * seen
        size = (camera.intrinsics[0, 0] / distance) ** 2
        for name, place in where.items():
            score = float((facing * size)[place.points].sum())
            pixels, depth = camera.project(place.centre[None])
            side = PARTS[name] * camera.intrinsics[0, 0] / depth[0]
            if name not in best or score > best[name][0]:
                best[name] = (score, Window(view.index, camera, pixels[0], float(side)))
    return {name: window for name, (_, window) in best.items()}


def photographed(scene: Scene, window: Window, tile: int) -> Image.Image:
    """The window of the photograph; beyond the picture its edge goes on."""
    pixels = np.rint(scene.views[window.view].image() * 255).astype(np.uint8)
    margin = int(np.ceil(window.side_px))
    padded = Image.fromarray(np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="edge"))
    low, high = window.middle + margin - window.side_px / 2, window.middle + margin + window.side_px / 2
    low, high = np.clip(low, 0, padded.size), np.clip(high, 0, padded.size)
    box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    return padded.resize((tile, tile), Image.Resampling.BICUBIC, box=box)


def rendered(mesh: trimesh.Trimesh, window: Window, tile: int) -> tuple[Image.Image, Image.Image]:
    """The window of a mesh: in the colours of its vertices, and as a grey surface."""
    vertices, faces = np.asarray(mesh.vertices, float), np.asarray(mesh.faces)
    side = tile * _SAMPLES
    pixels, depth = window.camera.project(vertices)
    points = np.column_stack([(pixels - window.middle) * side / window.side_px + side / 2, depth])
    drawn = rasterise(points, faces, side, side)
    hit = drawn.face >= 0
    corners, weights = faces[drawn.face[hit]], drawn.weights[hit]
    normals = vertex_normals(vertices, faces) @ window.camera.world_from_camera[:3, :3]
    across = np.einsum("pk,pkc->pc", weights, normals[corners])
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    side_light = np.maximum(across @ (_LIGHT / np.linalg.norm(_LIGHT)), 0.0)
    light = 0.20 + 0.30 * np.maximum(-across[:, 2], 0.0) + 0.50 * side_light
    a, b, c = points[corners, :2].transpose(1, 0, 2)
    (ux, uy), (vx, vy) = (b - a).T, (c - a).T
    inside = ux * vy - uy * vx > 0  # outward triangles run clockwise where y goes down
    colours = _colours(mesh) / 255.0
    coloured, grey = np.ones((side, side, 3)), np.ones((side, side, 3))
    coloured[hit] = np.einsum("pk,pkc->pc", weights, colours[corners])
    grey[hit] = np.where(inside[:, None], _INSIDE, _CLAY * light[:, None])
    return _averaged(coloured, tile), _averaged(grey, tile)


def _colours(mesh: trimesh.Trimesh) -> Float[np.ndarray, "vertices 3"]:
    """Colours of the vertices, sRGB, 0 to 255.

    Raises:
        ConfigError: The mesh has none.
    """
    visual = mesh.visual
    if not isinstance(visual, trimesh.visual.ColorVisuals) or visual.kind != "vertex":
        raise ConfigError("a mesh.ply has no colours of its vertices, which every finished run gives it")
    return np.asarray(visual.vertex_colors, float)[:, :3]


def _averaged(large: Float[np.ndarray, "h w 3"], tile: int) -> Image.Image:
    """A picture of tile x tile pixels from one of so many samples for each."""
    small = large.reshape(tile, _SAMPLES, tile, _SAMPLES, 3).mean(axis=(1, 3))
    return Image.fromarray(np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8))


def run_mesh(runs: Path, name: str) -> trimesh.Trimesh:
    """The mesh of a person's run, with colours.

    Raises:
        ConfigError: There is none.
    """
    for folder in (runs / name, runs / f"{name}-0"):
        if (folder / "mesh.ply").is_file():
            return read_mesh(folder / "mesh.ply")
    raise ConfigError(f"{runs} has no run of {name}: expected {name}/mesh.ply or {name}-0/mesh.ply")


def row(scene: Scene, mesh: trimesh.Trimesh, shown: Mapping[str, Window], tile: int) -> Image.Image:
    """The pictures of one person, three for each part."""
    strip = Image.new("RGB", (_LABEL + 3 * tile * len(PARTS), tile), "white")
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(14)
    pen.text((4, tile // 2 - 8), scene.name, fill="black", font=font)
    for number, part in enumerate(PARTS):
        left = _LABEL + 3 * tile * number
        if part not in shown:
            pen.text((left + 8, tile // 2 - 8), "covered by hair", fill="black", font=font)
            continue
        window = shown[part]
        for column, picture in enumerate((photographed(scene, window, tile), *rendered(mesh, window, tile))):
            strip.paste(picture, (left + column * tile, 0))
        pen.line((left, 0, left, tile), fill="white", width=3)
    return strip


def sheet(blocks: Mapping[str, Sequence[Image.Image]], tile: int) -> Image.Image:
    """Blocks of rows under one another, with headings."""
    width = next(strip.width for strips in blocks.values() for strip in strips)
    height = sum(_MARGIN + sum(strip.height + 2 for strip in strips) for strips in blocks.values())
    page = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    top = 0
    for title, strips in blocks.items():
        pen.text((4, top + 3), title, fill="black", font=font)
        for number, part in enumerate(PARTS):
            text = f"{part}: photograph, render, surface"
            pen.text((_LABEL + 3 * tile * number + 4, top + 3), text, fill="black", font=font)
        top += _MARGIN
        for strip in strips:
            page.paste(strip, (0, top))
            top += strip.height + 2
    return page


def encoded(page: Image.Image, limit_bytes: float) -> bytes:
    """The page as a PNG within a limit: in full colour, else with 256 colours, else smaller."""
    picture = page
    for _ in range(20):
        for version in (picture, picture.quantize(256, dither=Image.Dither.NONE)):
            buffer = io.BytesIO()
            version.save(buffer, "PNG", optimize=True)
            if len(buffer.getvalue()) <= limit_bytes:
                return buffer.getvalue()
        smaller = (picture.width * 9 // 10, picture.height * 9 // 10)
        picture = page.resize(smaller, Image.Resampling.LANCZOS)
    raise ConfigError(f"limit_mb: no readable sheet fits into {limit_bytes / 1e6:g} MB")


def main(arguments: list[str]) -> None:
    """Draws the sheet."""
    cfg = options_of(DEFAULTS, arguments)
    folders = {"before": cfg.before, "after": cfg.after} if cfg.before or cfg.after else {"": cfg.runs}
    if not cfg.scenes or not all(folders.values()):
        raise ConfigError("scenes=FOLDER and runs=FOLDER, or before=FOLDER and after=FOLDER, are missing")
    root, tile = Path(cfg.scenes), int(cfg.tile)
    runs = {title: Path(folder) for title, folder in folders.items()}
    names = cfg.names or [
        path.parent.name
        for path in sorted(root.glob("*/recipe.json"))
        if all(
            (f / path.parent.name).is_dir() or (f / f"{path.parent.name}-0").is_dir() for f in runs.values()
        )
    ]
    if not names:
        raise ConfigError(f"names: no person of {root} has a run in {', '.join(map(str, runs.values()))}")
    blocks: dict[str, list[Image.Image]] = {title: [] for title in runs}
    for name in names:
        scene = scenes.open(root / name)
        shown = windows(scene, places(scene))
        say(f"{name}: " + ", ".join(f"{part} in view {window.view}" for part, window in shown.items()))
        for title, folder in runs.items():
            blocks[title].append(row(scene, run_mesh(folder, name), shown, tile))
    with replacing(Path(cfg.out)) as temporary:
        temporary.write_bytes(encoded(sheet(blocks, tile), float(cfg.limit_mb) * 1e6))
    say(f"wrote {cfg.out}")


if __name__ == "__main__":
    run_tool(main, __doc__)
