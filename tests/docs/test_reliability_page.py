"""Every test that the page of promises names exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


@cache
def _names_in(path):
    """The names of the test functions in a file, also of those in classes, read without importing it."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions) and node.name.startswith("test_")}


def test_every_promise_names_a_test():
    assert len(ROWS) > 50
    assert [row for row in ROWS if "::test_" not in row] == []


def test_nothing_else_is_named_like_a_test():
    assert len(re.findall(r"::", PAGE)) == len(NAMED) + PAGE.count("`path::name`")


@pytest.mark.parametrize("path", sorted({path for path, _ in NAMED}))
def test_named_tests_exist(path):
    assert (ROOT / path).is_file()
    assert {name for named, name in NAMED if named == path} - _names_in(path) == set()
