"""Patterns of file names."""

import pytest

from beit.files import expanded, is_pattern


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.tar", ["a.tar"]),
        ("*.tar", ["*.tar"]),
        ("a-{08..10}.tar", ["a-08.tar", "a-09.tar", "a-10.tar"]),
        ("{a,b}/{0..1}", ["a/0", "a/1", "b/0", "b/1"]),
        ("{a}", ["a"]),
        ("{a", ["{a"]),
        ("{2..1}", []),
    ],
)
def test_braces_are_listed_in_order(pattern, expected):
    assert expanded(pattern) == expected


@pytest.mark.parametrize("name", ["*.tar", "a?.tar", "a[0-9].tar", "{a,b}.tar", "{00..99}.tar"])
def test_a_pattern_is_one_unless_a_file_has_that_name(tmp_path, name):
    assert is_pattern(str(tmp_path / name))
    (tmp_path / name).write_bytes(b"")
    assert not is_pattern(str(tmp_path / name))


@pytest.mark.parametrize("name", ["a.tar", "pictures", "{a.tar", "a}"])
def test_other_names_are_none(tmp_path, name):
    assert not is_pattern(str(tmp_path / name))
