"""Makes the pictures of docs/photos.md: python tools/photos_pictures.py.

Synthetic people are photographed well, and badly in every way that the page names; `train.py` reconstructs each set of
three, and the words below a bad photograph are the warnings of that run. Writes photos_good.jpg (three photographs and
their check sheet) and photos_bad.jpg to docs/, and what was run to `work`. Needs the head model ($H3D_HEAD_MODEL) and
MediaPipe's networks; about ten minutes on two cores. Options, as `name=value`: out, work (photographs and runs that are
there are not made again), person and other (seeds), split, quality (of JPEG).
"""

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from recon.calibration import SHEET
from recon.commands.command_line import options_of, run_tool, say
from recon.errors import ReconError
from recon.scene import Camera
from recon.synth import HeadModel, build_subject, draw_recipe, expose, load_head_model, prepare, shape_head
from recon.synth.datasets.backdrops import Cutout, hand
from recon.synth.datasets.cameras import look_at
from recon.synth.datasets.portraits import to_canonical
from recon.synth.model.identity import Identity
from recon.synth.render import Lamp, PreparedSubject, Room, appearance_of
from recon.synth.render.room import direction
from recon.synth.render.sensor import develop

DEFAULTS = {
    "out": "docs", "work": "runs/photos_pictures", "person": 9019, "other": 9018, "split": "val", "quality": 84,
}  # fmt: skip
WIDTH, HEIGHT = 720, 960
FRONT, RIGHT, LEFT = 0.0, -45.0, 45.0
DISTANCE_MM, HEIGHT_MM = 1000.0, 420.0
AIM_MM = np.array([0.0, 0.0, 20.0])
CHIN_MM, BROW_MM = np.array([0.0, -78.0, 70.0]), np.array([0.0, 35.0, 90.0])
"""Canonical frame."""
COVER_MM = np.array(
    [[-70, 2, 25], [0, 14, 110], [70, 2, 25], [62, -62, 30], [0, -92, 80], [-62, -62, 30]], float
)
"""Corners of a cloth over mouth and nose, canonical frame."""
SMILE = {"mouthSmile": 0.9, "cheekSquint": 0.7, "mouthUpperUp": 0.5, "mouthLowerDown": 0.5}
QUICK = (
    "preset=cpu",
    "steps=1",
    "mesh.resolution=192",
    "render.heldout=0",
    "render.step=8",
    "evaluate=false",
)
"""Options of a run whose warnings alone are wanted."""
TILE, MARGIN = 300, 12

Picture = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Bad:
    """A photograph that goes wrong, as the frontal one of a set of three.

    Attributes:
        title: What is wrong, in a few words.
        take: Makes the photograph.
    """

    title: str
    take: Callable[["Studio"], Picture]


class Studio:
    """A synthetic person before a camera.

    Args:
        recipe: Of the person.
        model: Head model.
    """

    def __init__(self, recipe: dict[str, Any], model: HeadModel) -> None:
        self.recipe, self.model = recipe, model

    @cached_property
    def person(self) -> PreparedSubject:
        """The person in daylight."""
        subject = build_subject(self.recipe, model=self.model, spacing_mm=5.0)
        return prepare(subject, appearance_of(self.recipe))

    def camera(self, yaw_deg: float) -> Camera:
        """A camera at the height of the eyes."""
        pose = look_at(AIM_MM, yaw_deg, 2.0, DISTANCE_MM, 0.0)
        focal = HEIGHT * DISTANCE_MM / HEIGHT_MM
        return Camera(
            np.array([[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1.0]]), pose, WIDTH, HEIGHT
        )

    def photograph(self, yaw_deg: float, person: PreparedSubject | None = None) -> Picture:
        """The person before the blurred room."""
        person = person or self.person
        return develop(
            expose(person, self.camera(yaw_deg)).linear, person.appearance.sensor, (int(yaw_deg) % 360,)
        )

    def pixels_of(self, points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 2"]:
        """Pixels of points of the canonical frame in the frontal photograph."""
        shape = shape_head(self.model, Identity.from_recipe(self.recipe["identity"]))
        return self.camera(FRONT).transformed(to_canonical(shape, self.model)).project(points)[0]

    def with_expression(self, weights: dict[str, float]) -> "Studio":
        """The same person with another expression."""
        identity = self.recipe["identity"]
        both = {f"{stem}_{side}": weight for stem, weight in weights.items() for side in "LR"}
        return Studio(
            self.recipe | {"identity": identity | {"expression": both | {"jawOpen": 0.25}}}, self.model
        )


def smiling(studio: Studio) -> Picture:
    """A broad smile, the mouth a little open."""
    return studio.with_expression(SMILE).photograph(FRONT)


def lit_from_the_side(studio: Studio) -> Picture:
    """One lamp at the side in a dark room."""
    subject = build_subject(studio.recipe, model=studio.model, spacing_mm=5.0)
    appearance = appearance_of(studio.recipe)
    lamp = Lamp(direction(85.0, 15.0), np.array([1.5, 1.4, 1.25]), 4.0)
    room = Room((0.05 * appearance.room.panorama).astype(np.float32), (lamp,))
    return studio.photograph(FRONT, prepare(subject, replace(appearance, room=room)))


def with_hand(studio: Studio) -> Picture:
    """A hand at the chin."""
    exposure = expose(studio.person, studio.camera(FRONT))
    chin, brow = studio.pixels_of(np.stack([CHIN_MM, BROW_MM]))
    size = float(np.linalg.norm(chin - brow))
    cutout = Cutout(exposure.foreground(), exposure.coverage, exposure.hair_coverage, tuple(chin), size)
    return develop(hand(cutout, np.random.default_rng(3)).light, studio.person.appearance.sensor, (7,))


def covered(studio: Studio) -> Picture:
    """A cloth over mouth and nose."""
    page = Image.fromarray(studio.photograph(FRONT))
    cloth = Image.new("L", page.size, 0)
    ImageDraw.Draw(cloth).polygon([tuple(p) for p in studio.pixels_of(COVER_MM).tolist()], fill=255)
    page.paste((176, 200, 214), mask=cloth.filter(ImageFilter.GaussianBlur(1.5)))
    return np.asarray(page)


def cut_off(studio: Studio) -> Picture:
    """The upper border goes through the forehead."""
    (brow,) = studio.pixels_of(BROW_MM[None])
    return studio.photograph(FRONT)[round(brow[1]) - 30 :]


def far_away(studio: Studio) -> Picture:
    """The same photograph from so far that the face has some fifty pixels."""
    small = Image.fromarray(studio.photograph(FRONT)).resize(
        (WIDTH // 5, HEIGHT // 5), Image.Resampling.LANCZOS
    )
    side = (WIDTH - small.width) // 2
    return np.pad(np.asarray(small), ((HEIGHT - small.height, 0), (side, side), (0, 0)), mode="edge")


def blurred(studio: Studio) -> Picture:
    """Out of focus."""
    return np.asarray(Image.fromarray(studio.photograph(FRONT)).filter(ImageFilter.GaussianBlur(6)))


def bad_photographs(other: Studio) -> dict[str, Bad]:
    """What the page shows, by the names of their folders."""
    return {
        "hand": Bad("a hand at the face", with_hand),
        "covered": Bad("mouth and nose covered", covered),
        "smile": Bad("a smile in one photograph", smiling),
        "side_light": Bad("light from one side alone", lit_from_the_side),
        "cut_off": Bad("the head is cut off", cut_off),
        "small": Bad("the face is small", far_away),
        "blurred": Bad("out of focus", blurred),
        "other": Bad("another person in the set", lambda studio: other.photograph(FRONT)),
    }


def main(arguments: Sequence[str]) -> None:
    """Photographs, reconstructs, and draws both pictures."""
    cfg = options_of(DEFAULTS, arguments)
    work, out = Path(cfg.work), Path(cfg.out)
    model = load_head_model()
    person, other = (
        Studio(draw_recipe(seed, split=cfg.split, model=model), model) for seed in (cfg.person, cfg.other)
    )
    good = work / "good"
    for name, yaw in (("right", RIGHT), ("front", FRONT), ("left", LEFT)):
        taken(good / f"{name}.jpg", partial(person.photograph, yaw))
    run = reconstructed(good, work)
    save(good_sheet(good, run), out / "photos_good.jpg", cfg.quality)
    tiles = []
    for name, bad in bad_photographs(other).items():
        folder = work / name
        taken(folder / "front.jpg", partial(bad.take, person))
        for side in ("left", "right"):
            (folder / f"{side}.jpg").write_bytes((good / f"{side}.jpg").read_bytes())
        words = warnings_in(reconstructed(folder, work))
        say(f"{bad.title}: {' '.join(words)}")
        tiles.append(tile(Image.open(folder / "front.jpg"), bad.title, words))
    save(in_rows(tiles, 4), out / "photos_bad.jpg", cfg.quality)


def taken(path: Path, take: Callable[[], Picture]) -> None:
    """Takes a photograph that is not there yet."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(take()).save(path, quality=93)
        say(f"took {path}")


def reconstructed(photographs: Path, work: Path) -> Path:
    """The run folder of a set of photographs, made where it is not there.

    Raises:
        ReconError: It failed in another way than by bad photographs.
    """
    run = work / "runs" / photographs.name
    if not (run / "train.log").is_file():
        command = [
            sys.executable,
            str(ROOT / "train.py"),
            f"scene={photographs}",
            f"hydra.run.dir={run}",
            *QUICK,
        ]
        done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603  # its own
        if done.returncode not in (0, 1):
            raise ReconError(done.stderr or done.stdout)
        run.mkdir(parents=True, exist_ok=True)  # a refused run leaves nothing behind
        (run / "train.log").write_text(done.stdout)
    return run


def warnings_in(run: Path) -> list[str]:
    """Warnings and errors of a run, as its log has them."""
    lines = (run / "train.log").read_text().splitlines()
    found = [match[1] for line in lines if (match := re.fullmatch(r"\S+ [WE] (.*)", line))]
    return list(dict.fromkeys(found)) or ["(nothing is said)"]


def good_sheet(folder: Path, run: Path) -> Image.Image:
    """Three photographs above their check sheet."""
    (sheet,) = (run / "scene").glob(f"*/{SHEET}")
    below = Image.open(sheet).convert("RGB")
    side = below.width // 3
    page = Image.new("RGB", (below.width, side * HEIGHT // WIDTH + below.height), "white")
    for column, name in enumerate(("right", "front", "left")):
        picture = Image.open(folder / f"{name}.jpg").resize((side, side * HEIGHT // WIDTH))
        page.paste(picture, (column * side, 0))
    page.paste(below, (0, page.height - below.height))
    return page.resize((1100, round(1100 * page.height / page.width)), Image.Resampling.LANCZOS)


def tile(photograph: Image.Image, title: str, words: Sequence[str]) -> Image.Image:
    """A photograph with a title above and words below."""
    heading, font = ImageFont.load_default(16), ImageFont.load_default(13)
    lines = [line for text in words for line in textwrap.wrap(text, 46)]
    box = (TILE, TILE * HEIGHT // WIDTH)
    photograph = photograph.convert("RGB")
    photograph.thumbnail(box, Image.Resampling.LANCZOS)
    page = Image.new("RGB", (TILE, 28 + box[1] + 10 + 17 * len(lines)), "white")
    page.paste(photograph, ((TILE - photograph.width) // 2, 28 + (box[1] - photograph.height) // 2))
    pen = ImageDraw.Draw(page)
    pen.text((2, 4), title, fill="black", font=heading)
    for number, line in enumerate(lines):
        pen.text((2, 28 + box[1] + 6 + 17 * number), line, fill=(70, 70, 70), font=font)
    return page


def in_rows(tiles: Sequence[Image.Image], columns: int) -> Image.Image:
    """Tiles side by side, each row as high as its highest."""
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(each.height for each in row) + MARGIN for row in rows]
    page = Image.new("RGB", (columns * (TILE + MARGIN), sum(heights)), "white")
    for number, row in enumerate(rows):
        for column, each in enumerate(row):
            page.paste(each, (column * (TILE + MARGIN) + MARGIN // 2, sum(heights[:number])))
    return page


def save(page: Image.Image, path: Path, quality: int) -> None:
    """Writes a JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path, quality=quality, optimize=True, progressive=True)
    say(f"wrote {path}, {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    run_tool(main, __doc__)
