"""The index of the decisions has every entry once, under a room that there is."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
INDEX, ENTRIES = re.split(r"^## Index by room$(.*?)(?=^## )", PAGE, flags=re.MULTILINE | re.DOTALL)[1:]


def plain(title):
    return title.replace("\\", "")


def test_every_entry_is_in_the_index_once():
    titles = re.findall(r"^## (.+)$", ENTRIES, flags=re.MULTILINE)
    assert len(titles) > 100
    assert sorted(map(plain, re.findall(r"^- \[(.+)\]\(#", INDEX, flags=re.MULTILINE))) == sorted(titles)


def test_rooms_of_the_index_exist():
    rooms = [room for line in re.findall(r"^\*\*(`.+`)\*\*$", INDEX, flags=re.MULTILINE) for room in line.split(", ")]
    places = [ROOT, ROOT / "src" / "beit"]
    assert len(rooms) > 15
    assert [
        room
        for room in (name.strip("`") for name in rooms)
        if not any((place / file).exists() for place in places for file in (room, f"{room}.py"))
    ] == []
