"""Draw the rooms of recon/ and what they import: python tools/draw_house.py writes docs/house.svg.

Rooms stand on the floors of tools/floors.py. An arrow says "imports"; what other arrows lead to as well has no arrow of
its own. Small modules that several floors import stand at the bottom, without arrows. The same imports give the same
bytes. Options, as `name=value`: out (file).
"""

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from textwrap import wrap
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from recon.commands.command_line import options_of, run_tool
from recon.files import replacing
from tools.floors import FLOORS

WIDTH, MARGIN, GAP, BETWEEN = 900, 24, 22, 44
"""Pixels: of the picture, at its sides, between the boxes of a floor, and between floors."""
BOX, LANE, LINE, LETTER = 250, 8, 15, 6.5
"""Pixels: widest box, width of an arrow that passes a floor, height of a line of text, mean width of a letter."""
ROOMY = 190
"""Pixels: in a narrower box the number of lines would run into the name."""
FILLS = ("#f3efe6", "#eaf1e4", "#e2f0ea", "#e0eff3", "#e2e9f6", "#e5e7f6", "#e8e4f5", "#f3e4f1", "#f8e6e6")
"""Colours of the floors, from the lowest."""


@dataclass
class Room:
    """A folder or a module of recon/.

    Attributes:
        name: of the folder or module.
        floor: number in `FLOORS`.
        about: first sentence of its docstring.
        files: number of Python files.
        lines: of all of them.
        imports: rooms that it imports.
    """

    name: str
    floor: int
    about: str
    files: int
    lines: int
    imports: set[str] = field(default_factory=set)


@dataclass(eq=False)
class Place:
    """A box, or the lane of an arrow that passes a floor, in the drawing.

    Attributes:
        name: of the room, or of the arrow.
        width: pixels.
        x: of its middle, pixels.
        above: places on the next floor that drawn lines come from.
        below: places on the next floor that drawn lines go to.
    """

    name: str
    width: float
    x: float = WIDTH / 2
    above: list["Place"] = field(default_factory=list)
    below: list["Place"] = field(default_factory=list)


def rooms_of(package: Path, floors: Sequence[Sequence[str]] = FLOORS) -> dict[str, Room]:
    """The rooms of a package by name, from the lowest floor on; those that are not built are left out."""
    found = {}
    for number, floor in enumerate(floors):
        for name in floor:
            folder, module = package / name, package / f"{name}.py"
            paths = [module] if module.is_file() else sorted(folder.rglob("*.py"))
            if not paths:
                continue
            texts = [path.read_text(encoding="utf-8") for path in paths]
            about = ast.get_docstring(
                ast.parse(texts[paths.index(folder / "__init__.py") if folder.is_dir() else 0])
            )
            sentence = " ".join((about or "").replace("`", "").split()).partition(". ")[0].rstrip(".") + "."
            found[name] = Room(name, number, sentence, len(paths), sum(text.count("\n") for text in texts))
            imported = {other for text in texts for other in _imported(text, package.name)}
            found[name].imports = imported - {name}
    for room in found.values():
        room.imports &= set(found)
    return found


def _imported(text: str, package: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith(f"{package}."))


def small_modules(rooms: Mapping[str, Room]) -> list[str]:
    """Rooms of one file that more than two others import."""
    users = {name: sum(name in room.imports for room in rooms.values()) for name in rooms}
    return [name for name, room in rooms.items() if room.files == 1 and users[name] > 2]


def arrows_of(rooms: Mapping[str, Room]) -> list[tuple[str, str]]:
    """Imports between rooms, small modules apart, that are not implied by others."""
    left_out = set(small_modules(rooms))
    direct = {name: room.imports - left_out for name, room in rooms.items() if name not in left_out}

    def reached(name: str) -> set[str]:
        return direct[name].union(*(reached(other) for other in direct[name]))

    return [
        (name, other)
        for name in direct
        for other in sorted(direct[name])
        if not any(other in reached(between) for between in direct[name] - {other})
    ]


def places_of(rooms: Mapping[str, Room], arrows: Sequence[tuple[str, str]]) -> list[list[Place]]:
    """Boxes and lanes of each floor that is built, from the highest, each at its x."""
    left_out = set(small_modules(rooms))
    levels = sorted({room.floor for name, room in rooms.items() if name not in left_out}, reverse=True)
    floors: list[list[Place]] = [[] for _ in levels]
    boxes: dict[str, Place] = {}
    for name, room in rooms.items():
        if name not in left_out:
            boxes[name] = Place(name, 0.0)
            floors[levels.index(room.floor)].append(boxes[name])
    counts = [len(floor) for floor in floors]
    for upper, lower in arrows:
        first, last = (levels.index(rooms[name].floor) for name in (upper, lower))
        chain = [
            boxes[upper],
            *(Place(f"{upper} {lower}", LANE) for _ in range(first + 1, last)),
            boxes[lower],
        ]
        for place, number in zip(chain[1:-1], range(first + 1, last), strict=True):
            floors[number].append(place)
        for above, below in pairwise(chain):
            above.below.append(below)
            below.above.append(above)
    for floor, count in zip(floors, counts, strict=True):
        room_left = WIDTH - 2 * MARGIN - (len(floor) - 1) * GAP - (len(floor) - count) * LANE
        for place in floor[:count]:
            place.width = min(BOX * (1.5 if count == 1 else 1), room_left / count)
    for turn in range(12):
        for floor in floors if turn % 2 == 0 else floors[::-1]:
            wanted = {place: _mean_x((place.above, place.below)[turn % 2] or [place]) for place in floor}
            floor.sort(key=lambda place: (wanted[place], place.name))
            _set_apart(floor, wanted)
    return floors


def _mean_x(places: Sequence[Place]) -> float:
    return sum(place.x for place in places) / len(places)


def _set_apart(floor: Sequence[Place], wanted: Mapping[Place, float]) -> None:
    """Gives each place of a floor the x nearest to the wanted one (least squares) at which they do not touch."""
    offsets = [0.0]
    for left, right in pairwise(floor):
        offsets.append(offsets[-1] + (left.width + right.width) / 2 + GAP)
    groups: list[list[float]] = []  # of equal shift: sum and number, by pooling neighbours that touch
    for place, offset in zip(floor, offsets, strict=True):
        groups.append([wanted[place] - offset, 1])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            total, count = groups.pop()
            groups[-1] = [groups[-1][0] + total, groups[-1][1] + count]
    shifts = [total / count for total, count in groups for _ in range(int(count))]
    least = MARGIN + floor[0].width / 2
    most = WIDTH - MARGIN - floor[-1].width / 2 - offsets[-1]
    for place, offset, shift in zip(floor, offsets, shifts, strict=True):
        place.x = round(offset + min(max(shift, least), most), 1)


def drawing(rooms: Mapping[str, Room]) -> str:
    """The picture, SVG."""
    arrows = arrows_of(rooms)
    floors = places_of(rooms, arrows)
    shapes: list[str] = []
    top, spans = float(MARGIN), dict[Place, tuple[float, float]]()
    for floor in floors:
        texts = {place: _text(rooms[place.name], place.width) for place in floor if place.name in rooms}
        height = 34 + LINE * max(map(len, texts.values()))
        for place, lines in texts.items():
            shapes += _box(place, rooms[place.name], lines, top, height)
        spans |= {place: (top, top + height) for place in floor}
        top += height + BETWEEN
    lines = [_arrow(chain, spans) for chain in _chains(floors, arrows)]
    small = small_modules(rooms)
    notes = (
        f"{', '.join(small)}: small modules that every floor may import",
        "An arrow says: imports. What other arrows lead to as well has no arrow of its own.",
    )
    shapes.append(
        f'<g class="small"><rect x="{MARGIN}" y="{top:g}" width="{WIDTH - 2 * MARGIN}" height="50" rx="6" '
        f'fill="#f4f4f4" stroke="#bbb"/>'
    )
    for number, note in enumerate(notes):
        shapes.append(f'<text x="{MARGIN + 12}" y="{top + 20 + 18 * number:g}">{escape(note)}</text>')
    shapes.append("</g>")
    whole = top + 50 + MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {whole:g}" width="{WIDTH}" '
        f'height="{whole:g}" font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#222">\n'
        "<title>The rooms of recon/ and what they import</title>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#667"/></marker></defs>\n<rect width="100%" height="100%" fill="white"/>\n'
    )
    return head + "\n".join([*lines, *shapes]) + "\n</svg>\n"


def _text(room: Room, width: float) -> list[str]:
    return wrap(room.about, int((width - 24) / LETTER))


def _box(place: Place, room: Room, lines: Sequence[str], top: float, height: float) -> Iterator[str]:
    left = place.x - place.width / 2
    size = f"{room.files} file{'s' if room.files > 1 else ''}"
    if place.width >= ROOMY:
        size += f", {max(round(room.lines, -2), 100):,} lines"
    yield (
        f'<g class="room" id="{room.name}"><rect x="{left:g}" y="{top:g}" width="{place.width:g}" height="{height:g}" '
        f'rx="6" fill="{FILLS[room.floor % len(FILLS)]}" stroke="#889"/>'
    )
    yield f'<text x="{left + 12:g}" y="{top + 21:g}" font-size="15" font-weight="bold">{room.name}</text>'
    yield (
        f'<text x="{left + place.width - 12:g}" y="{top + 21:g}" text-anchor="end" font-size="11" fill="#667">'
        f"{size}</text>"
    )
    for number, line in enumerate(lines):
        yield f'<text x="{left + 12:g}" y="{top + 40 + LINE * number:g}">{escape(line)}</text>'
    yield "</g>"


def _chains(floors: Sequence[Sequence[Place]], arrows: Sequence[tuple[str, str]]) -> Iterator[list[Place]]:
    """The places of each arrow: a box, lanes, a box."""
    boxes = {place.name: place for floor in floors for place in floor if " " not in place.name}
    for upper, lower in arrows:
        chain = [boxes[upper]]
        while chain[-1] is not boxes[lower]:
            lane = f"{upper} {lower}"
            chain.append(next(place for place in chain[-1].below if place.name in (lane, lower)))
        yield chain


def _arrow(chain: Sequence[Place], spans: Mapping[Place, tuple[float, float]]) -> str:
    """A line from the lower side of one box to the upper side of another, straight down where it passes a floor."""
    x, y = _port(chain[0], chain[0].below, chain[1]), spans[chain[0]][1]
    path = f"M{x:g} {y:g}"
    for above, place in pairwise(chain):
        upper, lower = spans[place]
        last = place is chain[-1]
        to = _port(place, place.above, above) if last else place.x
        bend = (upper - y) / 2
        path += f"C{x:g} {y + bend:g} {to:g} {upper - bend:g} {to:g} {upper:g}"
        x, y = to, upper if last else lower
        path += "" if last else f"V{lower:g}"
    ends = f'data-from="{chain[0].name}" data-to="{chain[-1].name}"'
    look = 'fill="none" stroke="#667" stroke-width="1.4" marker-end="url(#tip)"'
    return f'<path class="arrow" {ends} d="{path}" {look}/>'


def _port(box: Place, others: Sequence[Place], other: Place) -> float:
    """Where on a side of a box the line to one of its neighbours begins or ends, x."""
    if len(others) == 1:
        inner = box.width / 2 - 20
        return round(min(max(other.x, box.x - inner), box.x + inner), 1)
    order = sorted(others, key=lambda place: (place.x, place.name))
    return round(box.x + box.width * ((order.index(other) + 1) / (len(order) + 1) - 0.5), 1)


def main(arguments: list[str]) -> None:
    """Reads recon/ and writes the picture."""
    options = options_of({"out": str(ROOT / "docs" / "house.svg")}, arguments)
    with replacing(Path(options.out)) as temporary:
        temporary.write_text(drawing(rooms_of(ROOT / "recon")), encoding="utf-8")
    print(options.out)


if __name__ == "__main__":
    run_tool(main, __doc__)
