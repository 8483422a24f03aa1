"""Files of classes, as people and annotation programs write them."""

import pytest

from beit.data import read_classes
from beit.errors import DataError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n", "names 1 classes; expected 2 to 255"),
        ("a\nb\na\n", "names 'a' twice"),
        ("a 1 2 3\nb\n", "gives colours, but none for 'b'"),
        ("a 1 2 3\nb 1 2 3\n", "one colour to two classes"),
        ("1 a\n2 b\n", "numbers its classes 1, 2; expected 0, 1, 2 and so on"),
        ("Pixel Value, Class\n0, a\n2, b\n", "numbers its classes 0, 2; expected 0, 1, 2"),
    ],
)
def test_class_files_that_make_no_sense(tmp_path, text, message):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_classes(str(tmp_path / "classes.txt"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("sky\nroad side\n", ["sky", "road side"]),
        ("\ufeffsky\r\nroad side\r\n\r\n", ["sky", "road side"]),
        ("Pixel Value, Class\n0, sky\n1, road side\n", ["sky", "road side"]),
        ("0: sky\n1: road side\n", ["sky", "road side"]),
        ("# of the street\n0\tsky\n1\troad side\n", ["sky", "road side"]),
        ("3 series\nsky\n", ["3 series", "sky"]),
        ("class\nlabel\n", ["class", "label"]),
    ],
)
def test_names_alone(tmp_path, text, names):
    (tmp_path / "classes.txt").write_text(text)
    named = read_classes(str(tmp_path / "classes.txt"))
    assert (named.names, named.colours) == (names, None)


@pytest.mark.parametrize(
    "text",
    [
        "sky 1 2 3\nroad side 4 5 255\nignored 0 0 0\n",
        "name,r,g,b\nsky,1,2,3\nroad side,4,5,255\nignored,0,0,0\n",
        "name, red, green, blue\nsky, 1, 2, 3\nroad side, 4, 5, 255\nignored, 0, 0, 0\n",
        "# label:color_rgb:parts:actions\nsky:1,2,3::\nroad side:4,5,255:left,right:turn\nignored:0,0,0::\n",
        "0 sky 1 2 3\n1 road side 4 5 255\n2 ignored 0 0 0\n",
    ],
)
def test_names_with_colours(tmp_path, text):
    (tmp_path / "classes.txt").write_text(text)
    named = read_classes(str(tmp_path / "classes.txt"))
    assert named.names == ["sky", "road side"]
    assert named.colours == {(1, 2, 3): 0, (4, 5, 255): 1, (0, 0, 0): 255}


def test_numbers_beyond_those_of_colours_are_part_of_a_name(tmp_path):
    (tmp_path / "classes.txt").write_text("route 300 301 302\nroute 1\n")
    assert read_classes(str(tmp_path / "classes.txt")).names == ["route 300 301 302", "route 1"]
