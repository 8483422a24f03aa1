"""A hook of mkdocs: what opens the notebooks in Colab, which reads them from GitHub.

Where `repo_url` of mkdocs.yml names a public repository there, `<!-- colab: NAME -->` becomes the link that opens
`notebooks/NAME.ipynb`, and `<!-- colab: install -->` the line that installs the package in it; until then nothing is
shown.
"""

from __future__ import annotations

import re
from typing import Any

MARK = re.compile(r"<!-- colab: (?P<name>\w+) -->")
GITHUB = re.compile(r"https://github\.com/(?P<repository>[\w.-]+/[\w.-]+?)(?:\.git)?/?")
INSTALL = "install"


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """Return a page with its marks replaced."""
    found = GITHUB.fullmatch(config.get("repo_url") or "")
    return MARK.sub(lambda mark: "" if found is None else _shown(mark["name"], found["repository"]), markdown)


def _shown(name: str, repository: str) -> str:
    if name == INSTALL:
        line = f"pip install 'beit[train] @ git+https://github.com/{repository}'"
        return f"In Colab the package comes first, in a cell of its own: `!{line}`."
    address = f"https://colab.research.google.com/github/{repository}/blob/main/docs/notebooks/{name}.ipynb"
    return f"[open in Colab]({address})"
