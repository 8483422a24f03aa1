"""The page about the source names the rooms that the import contract has, and files that exist."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "beit"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
TABLE = re.findall(r"^\| `(\w+)` \| (?:.+?) \| (.+?) \|$", PAGE, flags=re.MULTILINE)


def layers():
    """The rooms of each layer, from the top, as pyproject.toml has them."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    contract = next(contract for contract in tool["contracts"] if contract["id"] == "layers")
    return [[room.strip() for room in re.split(r"[|:]", layer)] for layer in contract["layers"]]


def test_the_rooms_are_those_of_the_contract():
    assert sorted(room for room, _ in TABLE) == sorted(room for layer in layers() for room in layer)


def test_every_room_of_the_source_is_in_the_contract():
    # `included` holds the weights of the package and no Python
    modules = [path for path in SOURCE.iterdir() if path.suffix == ".py" or any(path.rglob("*.py"))]
    found = {path.stem for path in modules if not path.name.startswith("__")}
    assert found == {room for layer in layers() for room in layer}


def test_rooms_stand_in_the_order_of_their_layers():
    height = {room: row for row, layer in enumerate(layers()) for room in layer}
    rows = [height[room] for room, _ in TABLE]
    assert rows == sorted(rows)


def test_files_to_begin_with_exist():
    named = [(room, file) for room, files in TABLE for file in re.findall(r"`([\w/]+\.py)`", files)]
    assert len(named) > 20
    assert [f"{room}/{file}" for room, file in named if not (SOURCE / room / file).is_file()] == []


def test_other_files_on_the_page_exist():
    text = PAGE.split("## A picture's way")[1]
    files = set(re.findall(r"`([\w/]+\.py)`", text))
    assert len(files) > 15
    missing = [file for file in files if not list(SOURCE.rglob(file)) and not (ROOT / file).is_file()]
    assert missing == []


def test_files_in_the_picture_exist():
    drawn = (ROOT / "docs" / "pictures" / "architecture.py").read_text(encoding="utf-8")
    files = re.findall(r'"([\w/]+/\w+\.py)"', drawn)
    assert len(files) == 10
    assert [file for file in files if not (SOURCE / file).is_file()] == []
