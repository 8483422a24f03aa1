"""README.md is short, and no text installs a package that is not published."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = ("*.md", "*.py", "*.ipynb", "*.yaml")
UNPUBLISHED = re.compile(r"pip install[^`\n]*[ '\"]beit\b(?!\[\w+\] @ )")  # a name alone, without an address


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 200


def test_the_readme_names_every_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert [extra for extra in extras if extra != "dev" and extra not in README] == []


@pytest.mark.parametrize("place", ["src", "docs", "examples", "recipes"])
def test_beit_is_installed_from_the_checkout(place):
    """Not by name: it is not on PyPI, and `pip install 'beit[...]'` fails."""
    paths = [path for pattern in TEXTS for path in (ROOT / place).rglob(pattern)]
    assert [str(path) for path in (*paths, *ROOT.glob("*.md")) if UNPUBLISHED.search(path.read_text("utf-8"))] == []


def test_an_installation_by_name_is_found():
    for wrong in ("pip install beit", "pip install 'beit[train]'", "pip install -U beit pyarrow"):
        assert UNPUBLISHED.search(wrong)
    for right in ("pip install -e '.[train]'", "needs beit and `pip install pyarrow`"):
        assert not UNPUBLISHED.search(right)
