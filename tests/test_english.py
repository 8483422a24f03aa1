"""Docstrings begin with the field's term, and names and texts keep to plain words."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "beit"
FILES = sorted(SOURCE.rglob("*.py"))
QUESTION = re.compile(r"(What|How|Whether|Where|Which|Who|Why|When|Tell)\b")
RIDDLE = re.compile(r"(?<![a-z])(tells?|told|telling|facts?|things?|slopes?)(?![a-z])", re.IGNORECASE)
# a method of streams, as Python names it; a file in the published layout of token folders; an argument of matplotlib
ALLOWED = ("def tell(", ".tell()", "facts.json", "facts[.]json", "slope=")


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
    for allowed in ALLOWED:
        text = text.replace(allowed, "")
    return [f"line {number}: {line.strip()}" for number, line in enumerate(text.splitlines(), 1) if RIDDLE.search(line)]


@pytest.mark.parametrize("find", [questions, riddles])
def test_the_source_speaks_plainly(find):
    assert len(FILES) > 300
    found = {str(file.relative_to(SOURCE)): find(file.read_text(encoding="utf-8")) for file in FILES}
    assert {file: lines for file, lines in found.items() if lines} == {}


def test_the_tests_speak_plainly():
    found = {str(file.relative_to(TESTS)): riddles(file.read_text(encoding="utf-8")) for file in TESTS.rglob("*.py")}
    del found["test_english.py"]
    assert len(found) > 250
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
