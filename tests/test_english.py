"""Docstrings begin with the field's term, and names and texts keep to plain words."""

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "beit"

# rooms and files whose names and texts are checked
CHECKED = [
    "data",
    "engine",
    "errors.py",
    "evaluation",
    "files",
    "hub",
    "inference",
    "reports",
    "service",
    "tasks",
    "tokenizer",
]

QUESTION = re.compile(r"(What|How|Whether|Where|Which|Who|Why|When)\b")
RIDDLE = re.compile(r"(?<![a-z])(tells?|telling|told|facts?|things?)(?![a-z])", re.IGNORECASE)
ON_DISK = "facts.json"  # a name in the published layout of token folders


def checked_files():
    places = [SOURCE / name for name in CHECKED]
    return sorted(file for place in places for file in ([place] if place.is_file() else place.rglob("*.py")))


def docstrings(text):
    """Return the docstrings of a module, its classes and its functions, by name."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    return {
        f"{getattr(node, 'name', 'module')}:{getattr(node, 'lineno', 1)}": ast.get_docstring(node) for node in nodes
    }


def questions(text):
    """Return the docstrings of a source text that begin with a question word."""
    return [f"{name} {found[:60]!r}" for name, found in docstrings(text).items() if found and QUESTION.match(found)]


def riddles(text):
    """Return the lines of a source text with a word that says nothing."""
    lines = enumerate(text.replace(ON_DISK, "").splitlines(), 1)
    return [f"line {number}: {line.strip()}" for number, line in lines if RIDDLE.search(line)]


@pytest.mark.parametrize("name", CHECKED)
def test_every_checked_room_exists(name):
    assert (SOURCE / name).exists()


@pytest.mark.parametrize("find", [questions, riddles])
def test_the_source_speaks_plainly(find):
    found = {str(file.relative_to(SOURCE)): find(file.read_text(encoding="utf-8")) for file in checked_files()}
    assert {file: lines for file, lines in found.items() if lines} == {}


def test_what_is_looked_for_is_found():
    assert questions('"""How far it is."""\ndef f():\n    """Whether it is."""') == [
        "module:1 'How far it is.'",
        "f:2 'Whether it is.'",
    ]
    assert questions('"""Early stopping on a held-out metric."""\ndef f():\n    """Return whether it is."""') == []
    assert riddles("x = 1\ncheck_facts(1)\n# as it told us\nnothing = factor = 'facts.json'") == [
        "line 2: check_facts(1)",
        "line 3: # as it told us",
    ]
