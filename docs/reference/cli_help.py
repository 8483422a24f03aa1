"""A hook of mkdocs: puts what each command prints for `--help-all` in the place of `<!-- help: COMMAND -->`."""

from __future__ import annotations

import contextlib
import io
import os
import re
from typing import Any
from unittest.mock import patch

from beit.cli.main import main

MARK = re.compile(r"<!-- help:(?P<command>[ \w]*) -->")
COLUMNS = 86  # what fits beside the navigation


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page with its marks replaced."""
    return MARK.sub(lambda match: f"```text\n{said(match['command'].split())}\n```", markdown)


def said(command: list[str]) -> str:
    """Return what `beit COMMAND --help-all` prints on a terminal of a fixed width."""
    output = io.StringIO()
    width = patch.dict(os.environ, {"COLUMNS": str(COLUMNS)})
    with width, contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        main([*command, "--help-all"])
    return output.getvalue().rstrip()
