"""Web page of the service: static files, which talk to the HTTP API and to nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beit.inference.page import FOLDER

if TYPE_CHECKING:
    from fastapi import FastAPI

# Stated here, because the type of .js differs between operating systems and browsers insist on it.
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

HEADERS = {
    # Pictures are shown from memory (blob:) and from the service's answers (data:); all else is a file of the page.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # a new version of the package shows at once
}


def mount_page(app: FastAPI) -> None:
    """Serve the page at `/` and its parts at `/page/<file>`.

    Only the files that the package holds now are served, by name: no path of a request reaches the file system.

    Args:
        app: The service, which answers `/v1/...`.
    """
    from fastapi import HTTPException
    from fastapi.responses import FileResponse

    files = {path.name: path for path in FOLDER.iterdir() if path.suffix in CONTENT_TYPES}

    def part(name: str) -> FileResponse:
        if name not in files:
            raise HTTPException(404, f"the page has no file {name!r}; expected one of {', '.join(sorted(files))}")
        return FileResponse(files[name], media_type=CONTENT_TYPES[files[name].suffix], headers=HEADERS)

    def home() -> FileResponse:
        return part("index.html")

    app.add_api_route("/", home, methods=["GET", "HEAD"], include_in_schema=False, response_model=None)
    app.add_api_route("/page/{name}", part, methods=["GET", "HEAD"], include_in_schema=False, response_model=None)
