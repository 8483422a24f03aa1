"""English of the rooms of models and checkpoints: field terms in docstrings, names and messages."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "src" / "beit"
ROOMS = ("models_torch", "models_flax", "weights", "geometry", "image")
FILES = ("__init__.py", "__main__.py", "config.py", "config_checks.py", "catalog.py", "outputs.py")
QUESTION = re.compile(r"(What|How|Whether|Where|Which|Who|Why|Tell)\b")
BANNED = re.compile(r"(?<![a-z])(tells?|told|telling|facts?|things?|slopes?)(?![a-z])", re.IGNORECASE)
ALLOWED = ("def tell(", ".tell()")  # the position in a stream, as Python names it

SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")) + [ROOT / name for name in FILES]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_begin_with_a_field_term_and_no_question(path):
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, documented)]
    first_lines = [text.splitlines()[0] for node in nodes if (text := ast.get_docstring(node))]
    assert first_lines
    assert [line for line in first_lines if QUESTION.match(line)] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_private_vocabulary(path):
    text = path.read_text("utf-8")
    for allowed in ALLOWED:
        text = text.replace(allowed, "")
    assert [line for line in text.splitlines() if BANNED.search(line)] == []
