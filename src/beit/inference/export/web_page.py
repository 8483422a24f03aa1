"""Files of the page that runs a model in the browser, but for the model."""

from __future__ import annotations

import html
from pathlib import Path

from beit.files import write_bytes, write_text
from beit.inference.page import BROWSER, FOLDER, RUNTIME

_SERVICE, _BROWSER = 'data-answers="service"', 'data-answers="browser"'
_CHARSET, _TITLE = '<meta charset="utf-8">', "<title>beit</title>"
# What a static host cannot say in a header: nothing is loaded from elsewhere. The worker computes, not the page.
_POLICY = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'self'; img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'\">"
)


def write_page(folder: Path, title: str) -> None:
    """Write the page, the program that computes, and its licence.

    Args:
        folder: The exported folder.
        title: Title of the page.
    """
    for source, name in ((FOLDER, "page"), (BROWSER, "page"), (RUNTIME, "runtime")):
        for file in sorted(source.iterdir()):
            if file.name != "index.html":
                write_bytes(folder / name / file.name, file.read_bytes())
    text = (FOLDER / "index.html").read_text(encoding="utf-8")
    text = text.replace(_SERVICE, _BROWSER).replace(_CHARSET, f"{_CHARSET}\n  {_POLICY}")
    write_text(folder / "index.html", text.replace(_TITLE, f"<title>{html.escape(title)} - beit</title>"))
