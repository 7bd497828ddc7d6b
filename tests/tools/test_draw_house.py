"""docs/house.svg is the house as it stands: its rooms and what they import."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from tools.draw_house import arrows_of, drawing, places_of, rooms_of, small_modules

ROOT = Path(__file__).parents[2]
FLOORS = (("low", "deep"), ("middle",), ("high", "unbuilt"))
FILES = {
    "low/__init__.py": '"""Low things. And more."""\n',
    "low/a.py": "import recon.deep\n",
    "deep.py": '"""Deep."""\n',
    "middle/__init__.py": '"""Middle."""\nfrom recon.low import a\nfrom recon import deep\n',
    "high/__init__.py": '"""High & <mighty>."""\nimport recon.middle, recon.deep\nfrom recon.low.a import b\n',
}


def seen(svg):
    """Rooms and arrows of a picture."""
    rooms = re.findall(r'class="room" id="(\w+)"', svg)
    return sorted(rooms), sorted(re.findall(r'data-from="(\w+)" data-to="(\w+)"', svg))


@pytest.fixture
def rooms(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "recon" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return rooms_of(tmp_path / "recon", FLOORS)


def test_the_picture_in_the_docs_shows_the_house_as_it_is():
    now = drawing(rooms_of(ROOT / "recon"))
    there = (ROOT / "docs" / "house.svg").read_text(encoding="utf-8")
    assert seen(there) == seen(now), "run make house"
    assert len(seen(now)[0]) > 10


def test_rooms_are_read_from_their_files(rooms):
    assert {name: (room.floor, room.files) for name, room in rooms.items()} == {
        "low": (0, 2), "deep": (0, 1), "middle": (1, 1), "high": (2, 1)
    }  # fmt: skip
    assert rooms["low"].about == "Low things." and rooms["low"].lines == 2
    assert rooms["high"].imports == {"middle", "low", "deep"} and rooms["deep"].imports == set()


def test_arrows_that_others_imply_and_those_to_small_modules_are_left_out(rooms):
    assert small_modules(rooms) == ["deep"]
    assert arrows_of(rooms) == [("middle", "low"), ("high", "middle")]


def test_nothing_in_the_drawing_touches(rooms):
    real = rooms_of(ROOT / "recon")
    for found in (rooms, real):
        for floor in places_of(found, arrows_of(found)):
            sides = [(place.x - place.width / 2, place.x + place.width / 2) for place in floor]
            assert all(right < left for (_, right), (left, _) in pairwise(sides))
            assert sides[0][0] >= 0 and sides[-1][1] <= 900


def test_the_same_house_is_drawn_alike_and_text_is_escaped(rooms):
    assert drawing(rooms) == drawing(rooms)
    assert "High &amp; &lt;mighty&gt;." in drawing(rooms)
