"""A hook of mkdocs: a page that runs a model of the package in the browser, in the site.

It is written into the built site, and linked in the place of `<!-- static page: TEXT -->`; while the site is only shown
(`mkdocs serve`), neither is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

MARK = re.compile(r"<!-- static page: (?P<text>[^>]+) -->")
MODEL = "beit/nano-cifar10-classifier"
FOLDER = "try"
BUILDS = [False]


def on_startup(command: str, **_: Any) -> None:
    """Note whether the site is built."""
    BUILDS[0] = command in ("build", "gh-deploy")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a text with its marks replaced by links."""
    address = "../" * page.file.dest_uri.count("/") + f"{FOLDER}/index.html"
    link = f'<a href="{address}">\\g<text></a>'
    return MARK.sub(link if BUILDS[0] else "", markdown)


def on_post_build(config: Any, **_: Any) -> None:
    """Write the page."""
    if BUILDS[0]:
        from beit.inference.export import ExportJob, export

        export(ExportJob(MODEL, "web", str(Path(config["site_dir"]) / FOLDER)))
